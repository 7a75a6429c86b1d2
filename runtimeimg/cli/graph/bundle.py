"""`runtimeimg graph bundle AUTOMATON --host HOST DIR`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from runtimeimg.cli.bundle.write import ALLOWED
from runtimeimg.cli.graph.given import graph_option
from runtimeimg.cli.graph.nodes import artefact_of, automaton_of, host_of, instances_of
from runtimeimg.cli.options import cache_dir, store_options
from runtimeimg.cli.progress import MODES

if TYPE_CHECKING:
    from runtimeimg.bundle import Bundle
    from runtimeimg.configgraph.model import Artefact, Automaton, HostNode, Variant, View
    from runtimeimg.stores import StoreOptions


@click.command("bundle")
@click.argument("automaton")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--host", "host_name", required=True, help="Host of the graph that it is for.")
@graph_option
@click.option("--state", type=click.Path(path_type=Path), help="Folder with a folder for each volume; DIR.state.")
@click.option("--rootless", is_flag=True, help="Make it one that this user can start, in a user namespace.")
@click.option("--runtime", metavar="NAME|FILE", help="Runtime that it has to fit: a program, or its features document.")
@click.option(
    "--network",
    type=click.Choice(["own", "host"]),
    help="Network of its own, or the host's; its own by default, the host's with --rootless.",
)
@click.option("--allow", multiple=True, type=click.Choice(ALLOWED), help="What is refused otherwise; may be repeated.")
@click.option("--progress", type=click.Choice(MODES), default="auto", show_default=True)
@store_options
def command(
    automaton: str,
    folder: Path,
    host_name: str,
    graph_file: Path,
    state: Path | None,
    rootless: bool,
    runtime: str | None,
    network: Literal["own", "host"] | None,
    allow: tuple[str, ...],
    progress: str,
    stores: Callable[..., StoreOptions],
) -> None:
    """Write the runtime bundle of AUTOMATON for a host to DIR, which runc and crun start there.

    The image is the one that the graph says, by its digest, and the variant that suits the host. Volumes of its state
    are folders beside DIR, made where they are not there; they outlive the bundle.
    """
    from runtimeimg import bundle
    from runtimeimg.cache import Cache
    from runtimeimg.cli.bundle.runtimes import runtime_of, this_user
    from runtimeimg.cli.progress import display
    from runtimeimg.configgraph import bundling, saved

    view = saved.open(graph_file)
    node, host = automaton_of(view, automaton), host_of(view, host_name)
    artefact = artefact_of(view, node)
    variant = _variant(view, node, artefact, host)
    manner = bundling.Manner(
        state=state or folder.with_name(f"{folder.absolute().name}.state"),
        runtime=runtime_of(runtime) if runtime else None,
        rootless=this_user() if rootless else None,
        network=network,
        allow=frozenset(allow),
    )
    with display(progress) as shown:
        options = stores(shown)
        image = bundling.opened(artefact, variant, options)
        image, wanted = bundling.options_of(node, artefact, variant, image, manner)
        cache = Cache.open(cache_dir(), shown.line)
        written = bundle.write(image, folder, wanted, progress=shown, cache=cache)
    _make_state(bundling.state_folders(node, manner), written, own=rootless)
    for note in written.notes:
        click.echo(note, err=True)
    click.echo(str(written.path))


def _variant(view: View, automaton: Automaton, artefact: Artefact, host: HostNode) -> Variant:
    """Return the variant that an instance on the host runs, else the one that is chosen for the host."""
    from runtimeimg.configgraph.bundling import variant_for
    from runtimeimg.configgraph.variants import for_host

    for instance in instances_of(view, automaton):
        if instance.host == host.id and instance.variant:
            return variant_for(artefact, instance.variant)
    return for_host(artefact, host)


def _make_state(folders: Any, written: Bundle, *, own: bool) -> None:
    """Make the folders of volumes that are not there, the process's own where that can be had."""
    user = written.config["process"]["user"]
    for path in folders:
        if path.is_dir():
            continue
        path.mkdir(parents=True, mode=0o755)
        click.echo(f"made {path}", err=True)
        if not own and os.geteuid() == 0:
            os.chown(path, user["uid"], user["gid"])
