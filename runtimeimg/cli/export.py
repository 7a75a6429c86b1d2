"""`runtimeimg export`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.locations import location_of, platform_of
from runtimeimg.cli.options import store_options
from runtimeimg.cli.runoptions import run_options
from runtimeimg.export import TARGETS
from runtimeimg.text import printable

if TYPE_CHECKING:
    from runtimeimg.image import Image
    from runtimeimg.run import RunOptions, RunPlan
    from runtimeimg.stores import StoreOptions

_WITH_USER = ("pod", "deployment", "cri")
# What stands for the caller's directory where nothing is said; a quadlet or a pod runs where no caller is.
_HERE = {"compose": ".", "docker": ".", "podman": "."}


@click.command("export")
@run_options
@click.option("--to", "target", type=click.Choice(TARGETS), required=True, help="What to write.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; the folder for quadlets and cri.")
@click.option("--image", "called", metavar="NAME", help="What the image is called where the document is used.")
@click.option("--service", is_flag=True, help="Add a Service for the ports of a pod or deployment.")
@click.option("--read-only", is_flag=True, help="Make the root file systems of a pod, deployment or cri read-only.")
@click.option("--node-affinity", is_flag=True, help="Ask for nodes that the chosen entry of an index is for.")
@click.option("--platform", help="Platform to take of an index; this machine's by default.")
@store_options
@choosing_stores
def command(
    image: str,
    run: Callable[[str | None], RunOptions],
    target: str,
    output: Path | None,
    called: str | None,
    service: bool,
    read_only: bool,
    node_affinity: bool,
    platform: str | None,
    stores: Callable[[], StoreOptions],
) -> None:
    """Write how IMAGE is run, as its labels say, as documents or commands of other tools."""
    from runtimeimg.export import FOLDERS, export, export_files
    from runtimeimg.export.images import image_for
    from runtimeimg.oci import Reference
    from runtimeimg.run import RunPlan
    from runtimeimg.run.fetch import find

    location, wanted = location_of(image), platform_of(platform)
    name = Reference.parse(called).familiar if called is not None else image_for(location, target)
    chosen = run(_HERE.get(target))
    found = find(location, stores(), wanted)
    if called is None and found.entry is not None and location.reference is not None:
        # A name alone would leave the choice to whoever pulls it.
        pinned = replace(location.reference, tag=None, digest=found.entry.digest)
        name = image_for(replace(location, transport="docker", reference=pinned), target)
    plan = RunPlan.of(found, chosen)
    own = plan.image
    plan = replace(plan, image=name)
    advice: tuple[str, ...] = ()
    for note in plan.notes:
        click.echo(f"runtimeimg: {note}", err=True)
    uid = _user_number(replace(plan, image=own), found, stores()) if target in _WITH_USER else None
    affinity = _affinity(found) if node_affinity else None
    options: dict[str, Any] = {"service": service, "read_only": read_only, "uid": uid, "affinity": affinity}
    if output is not None and target in FOLDERS:
        documents = export_files(plan, target, **options)
        files = {output / name: text for name, text in documents.items()}
        advice = _advice(plan, documents) if target == "cri" else ()
    else:
        text = export(plan, target, **options)
        if output is None:
            click.echo(text, nl=False)
            return
        files = {output: text}
    write_files(files)
    for line in advice:
        click.echo(printable(line), err=True)


def write_files(files: Mapping[Path, str]) -> None:
    """Write documents, each whole or not at all, and say so; folders are made."""
    from runtimeimg.stores.files import write_atomically

    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
        click.echo(f"wrote {path}", err=True)


def _advice(plan: RunPlan, documents: dict[str, str]) -> tuple[str, ...]:
    """Return what to type to start the documents."""
    from runtimeimg.export.cri import command_lines

    return ("to start it, in that folder:", *(f"  {line}" for line in command_lines(documents, plan.image)))


def _affinity(found: Image) -> dict[str, Any]:
    """Return the affinity for the nodes that an image is for, and say which annotations it cannot tell of."""
    from runtimeimg.selection.affinity import node_affinity

    entry = found.entry
    platform = entry.platform if entry is not None and entry.platform is not None else found.platform
    affinity, untold = node_affinity(platform, entry.annotations if entry is not None else {})
    for text in untold:
        click.echo(f"runtimeimg: no label of nodes tells of {printable(text)}", err=True)
    return affinity


def _user_number(plan: RunPlan, image: Image, options: StoreOptions) -> int | None:
    """Return the number of the image's user where only its name is known and the Engine can look it up."""
    if image.image_id is None or not plan.user or plan.user.partition(":")[0].isdecimal():
        return None
    import secrets

    from runtimeimg.run.bodies import Manner
    from runtimeimg.run.owner import Owner
    from runtimeimg.run.users import user_number
    from runtimeimg.stores.engine import Engine

    with Engine.connect(options) as engine:
        return user_number(engine, plan, Manner(run_id=secrets.token_hex(6), owner=str(Owner.current())))
