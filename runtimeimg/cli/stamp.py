"""`runtimeimg stamp`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.locations import location_of
from runtimeimg.cli.options import image_argument, pairs, read_plan, store_options
from runtimeimg.cli.progress import MODES
from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.image import Image
    from runtimeimg.oci import Location
    from runtimeimg.runtimegraph import RuntimeGraph
    from runtimeimg.stamp import Stamp
    from runtimeimg.stores import StoreOptions


@click.command("stamp")
@image_argument
@click.option("--spec", metavar="SPEC", help="Spec whose runtime section is written on the image.")
@click.option("--graph", type=click.Path(path_type=Path), help="Runtime graph as JSON, as `inspect` prints it.")
@click.option(
    "-o", "--output", "outputs", multiple=True, metavar="DEST", help="Where to write; IMAGE itself by default."
)
@click.option("--label", multiple=True, metavar="K=V", help="Label to add.")
@click.option("--annotation", multiple=True, metavar="K=V", help="Annotation of the manifest to add.")
@click.option(
    "--graph-format", type=click.Choice(["runtimegraph", "envd", "both"]), default="runtimegraph", show_default=True
)
@click.option("--no-supervise", is_flag=True, help="Leave the entrypoint alone: the labels alone carry the daemons.")
@click.option("--progress", type=click.Choice(MODES), default="auto", show_default=True)
@store_options
def command(
    image: str,
    spec: str | None,
    graph: Path | None,
    outputs: tuple[str, ...],
    label: tuple[str, ...],
    annotation: tuple[str, ...],
    graph_format: str,
    no_supervise: bool,
    progress: str,
    stores: Callable[..., StoreOptions],
) -> None:
    """Stamp IMAGE, which something else built: labels and config change, layers stay."""
    from dataclasses import replace

    from runtimeimg import stamp as stamping
    from runtimeimg.build import map_images
    from runtimeimg.cli.destinations import destination
    from runtimeimg.cli.progress import display
    from runtimeimg.stores import open_destination, open_image

    if spec is not None and graph is not None:
        raise UsageError("--spec and --graph are both given; a spec holds its own graph")
    if spec is None and graph is None and not label and not annotation:
        raise UsageError("there is nothing to stamp", hint="pass --spec, --graph, --label or --annotation")
    source = location_of(image)
    targets = [item for text in outputs for item in destination(text)] or [_in_place(source)]
    plan = None
    if spec is not None:
        from runtimeimg.plan import Facts

        plan = read_plan(spec, Facts()).plan
        stamp = stamping.stamp_of(plan, graph_format=graph_format)
    else:
        stamp = stamping.Stamp(graph=_graph(graph), graph_format=graph_format)
    stamp = replace(
        stamp,
        labels={**stamp.labels, **pairs(label, "--label")},
        annotations={**stamp.annotations, **pairs(annotation, "--annotation")},
        supervise=not no_supervise,
    )

    def change(one: Image) -> Image:
        configured = one if plan is None else one.with_config(stamping.configure(one.config, plan, again=True))
        _need_shell(configured, stamp)
        return stamping.apply(configured, stamp)

    with display(progress) as shown:
        options = stores(shown)
        stamped = map_images(open_image(source, options), change)
        written = [open_destination(target, options).write(stamped) for target in targets]
    for item in written:
        click.echo(f"wrote {item.name}", err=True)
        click.echo(str(item.descriptor.digest) if item.descriptor else item.image_id)


def _graph(path: Path | None) -> RuntimeGraph | None:
    from runtimeimg.runtimegraph import RuntimeGraph

    if path is None:
        return None
    from runtimeimg.budgets import MAX_DOCUMENT
    from runtimeimg.hostfile import read_file
    from runtimeimg.oci.documents import parse_json

    return RuntimeGraph.from_json(parse_json(read_file(path, MAX_DOCUMENT, "--graph"), f"--graph '{path}'"))


def _in_place(source: Location) -> Location:
    if source.image_id is not None:
        raise UsageError(f"image '{source}' has no name to write the stamped image under", hint="pass -o DEST")
    if source.reference is not None and source.reference.digest is not None:
        raise UsageError(f"image '{source}' is named by digest; the stamped one has another", hint="pass -o DEST")
    return source


def _need_shell(image: Image, stamp: Stamp) -> None:
    from runtimeimg.compose.lookup import has_file

    if stamp.supervise and stamp.graph is not None and stamp.graph.daemons and not has_file(image, "/bin/sh"):
        raise UsageError(
            f"image '{image.name}' has no /bin/sh, which starts the daemons",
            hint="use a base with a shell, or pass --no-supervise to have them run as containers of their own",
        )
