"""`runtimeimg graph export AUTOMATON|--all --to TARGET`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.export import write_files
from runtimeimg.cli.graph.given import graph_option
from runtimeimg.cli.graph.nodes import artefact_of, automaton_of, instances_of
from runtimeimg.errors import UsageError
from runtimeimg.export import FOLDERS, TARGETS_OPERATED

if TYPE_CHECKING:
    from runtimeimg.configgraph.model import Artefact, Automaton, Variant, View

_ENDINGS = {"pod": "yaml", "deployment": "yaml", "compose": "compose.yaml"}


@click.command("export")
@click.argument("automaton", required=False)
@click.option("--all", "every", is_flag=True, help="Write every automaton of the graph, in files of a folder.")
@click.option("--to", "target", type=click.Choice(TARGETS_OPERATED), required=True, help="What to write.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; the folder for --all, quadlets.")
@click.option("--image", "called", metavar="NAME", help="What the image is called where the document is used.")
@click.option("--service", is_flag=True, help="Add a Service for the ports of a pod or deployment.")
@graph_option
def command(
    automaton: str | None,
    every: bool,
    target: str,
    output: Path | None,
    called: str | None,
    service: bool,
    graph_file: Path,
) -> None:
    """Write how AUTOMATON is run as documents of other tools, from the graph alone.

    Images are named by their digests. Instances that are placed pin a pod or deployment to their hosts.
    """
    from runtimeimg.configgraph import saved
    from runtimeimg.configgraph.model import Kind, name_of

    if every == (automaton is not None):
        raise UsageError("name one automaton, or pass --all")
    if every and (output is None or called is not None):
        raise UsageError("--all writes files: pass the folder with -o, and leave out --image")
    view = saved.open(graph_file)
    names = [name_of(item) for item in view.ids(Kind.AUTOMATON)] if every else [str(automaton)]
    files: dict[Path, str] = {}
    for name in names:
        node = automaton_of(view, name)
        exported = _documents(view, node, target, called, service=service)
        if output is None:
            click.echo(exported(None), nl=False)
            return
        if target in FOLDERS:
            files |= {output / file: text for file, text in exported(output).items()}
        else:
            files[output / f"{name}.{_ENDINGS[target]}" if every else output] = exported(None)
    write_files(files)


def _documents(
    view: View, node: Automaton, target: str, called: str | None, *, service: bool
) -> Callable[[Path | None], Any]:
    """Return what writes an automaton: one text for no folder, texts by their file names for a folder."""
    from runtimeimg.configgraph import operating
    from runtimeimg.configgraph.model import name_of
    from runtimeimg.export import export, export_files

    artefact = artefact_of(view, node)
    instances = instances_of(view, node)
    placed = sorted({name_of(item.host) for item in instances if item.host})
    variants = {item.variant for item in instances if item.variant}
    variant = next((item for item in artefact.variants if item.manifest in variants), artefact.variants[0])
    plan = replace(
        operating.plan_of(node, artefact, variant), image=_image(artefact, variants, variant, target, called)
    )
    wishes = operating.wishes_of(node)
    if target in {"pod", "deployment"}:
        wishes = replace(wishes, hosts=tuple(placed) or wishes.hosts, limits=())
        for limit in node.given.get("process", {}).get("rlimits") or ():
            click.echo(f"runtimeimg: {name_of(node.id)}: a pod has no {limit['type']}; it is the node's", err=True)
    if target == "systemd-quadlet":
        wishes = replace(wishes, hosts=(), replicas=1)  # a unit is of the host that it is put on
    options: dict[str, Any] = {"service": service, "operated": wishes}
    return lambda folder: export(plan, target, **options) if folder is None else export_files(plan, target, **options)


def _image(artefact: Artefact, variants: set[str], variant: Variant, target: str, called: str | None) -> str:
    """Return what a document calls the image: by the digest of the index, or of the one variant that is placed."""
    from runtimeimg.export.images import image_for
    from runtimeimg.oci import Digest, Location, Reference

    if called is not None:
        return Reference.parse(called).familiar
    location = Location.parse(artefact.reference)
    digest = artefact.digest if len(variants) != 1 else variant.manifest
    if location.reference is not None and location.transport in {None, "docker"}:
        pinned = replace(location.reference, tag=None, digest=Digest.parse(digest))
        return image_for(replace(location, transport="docker", reference=pinned), target)
    return image_for(location, target)
