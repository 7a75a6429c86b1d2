"""`runtimeimg inspect`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.locations import location_of, platform_of
from runtimeimg.cli.options import format_option, image_argument, store_options
from runtimeimg.text import json_escaped

if TYPE_CHECKING:
    from runtimeimg.image import Image
    from runtimeimg.oci import Location, Platform
    from runtimeimg.stores import StoreOptions


@click.command("inspect")
@image_argument
@click.option("--platform", help="Platform to show of an index; this machine's by default.")
@click.option("--provenance", is_flag=True, help="Show what a registry keeps of how the image was made.")
@format_option
@store_options
@choosing_stores
def command(
    image: str, platform: str | None, provenance: bool, output_format: str, stores: Callable[[], StoreOptions]
) -> None:
    """Show the config, the decoded runtime graph, the layers and the base of IMAGE."""
    from runtimeimg.image import choose_platform
    from runtimeimg.stores import open_image

    location, wanted = location_of(image), platform_of(platform)
    if provenance:
        _show_provenance(location, wanted, output_format, stores())
        return
    found = open_image(location, stores(), exact=False)
    chosen = choose_platform(found, wanted)
    described = describe(chosen)
    if output_format == "json":
        click.echo(json_escaped(json.dumps(described, indent=2, ensure_ascii=False)))
    else:
        _show(described)


def _show_provenance(image: Location, platform: Platform | None, output_format: str, stores: StoreOptions) -> None:
    """Print the Dockerfile.runtime with the digests of its images, or that and the plan as JSON."""
    from runtimeimg import provenance
    from runtimeimg.errors import NotFoundError, UsageError
    from runtimeimg.image import Image, choose_platform
    from runtimeimg.oci import Location
    from runtimeimg.stores import open_image
    from runtimeimg.text import printable

    if image.reference is None or image.transport not in {None, "docker"}:
        raise UsageError(f"image '{image}' is not in a registry, which alone keeps provenance")
    found = open_image(Location(transport="docker", reference=image.reference), stores)
    chosen = choose_platform(found, platform)
    documents = [chosen.manifest, None if isinstance(found, Image) else found.index]
    for document in documents:
        kept = provenance.read(image.reference, document.digest, stores) if document is not None else None
        if kept is not None:
            break
    else:
        kept = provenance.read_kept(image.reference, chosen, stores)
    if kept is None:
        raise NotFoundError(f"image '{image}' has no provenance in its registry")
    if output_format == "json":
        click.echo(json_escaped(json.dumps(kept.to_json(), indent=2, ensure_ascii=False)))
    else:
        click.echo("\n".join(printable(line) for line in provenance.show(kept).splitlines()))


def describe(image: Image) -> dict[str, Any]:
    """Return what there is to know of an image without reading its layers."""
    from runtimeimg import runtimegraph
    from runtimeimg.stamp import BASE_DIGEST, BASE_NAME

    image.config.check()
    labels = image.config.labels
    graph = runtimegraph.decode(labels)
    return {
        "name": image.name,
        "imageID": image.image_id or str(image.config.digest),
        "digest": str(image.manifest.digest) if image.manifest else None,
        "platform": str(image.platform),
        "created": image.config.data.get("created"),
        "config": dict(image.config.config),
        "annotations": dict(image.annotations),
        "graph": graph.to_json() if graph else None,
        "base": {"name": labels.get(BASE_NAME), "digest": labels.get(BASE_DIGEST)},
        "layers": [
            {"diffID": str(layer.diff_id), **size}
            for layer, size in zip(image.layers, _layer_sizes(image), strict=True)
        ],
    }


def _layer_sizes(image: Image) -> list[dict[str, Any]]:
    """Return the size of each layer: of the blob as stored, or unpacked where an Engine keeps it so."""
    sizes: list[dict[str, Any]] = []
    for layer in image.layers:
        unpacked = getattr(layer, "unpacked_size", None)
        if unpacked is not None:
            sizes.append({"unpackedSize": unpacked})
        else:
            found = layer.descriptor
            sizes.append({"digest": str(found.digest), "size": found.size, "mediaType": found.media_type})
    return sizes


def _show(described: dict[str, Any]) -> None:
    from runtimeimg.text import human_size

    config = described["config"]
    rows: list[tuple[str, object]] = [
        ("name", described["name"]),
        ("image ID", described["imageID"]),
        ("digest", described["digest"]),
        ("platform", described["platform"]),
        ("created", described["created"]),
        ("base", " ".join(filter(None, (described["base"]["name"], described["base"]["digest"])))),
        ("entrypoint", _words(config.get("Entrypoint"))),
        ("cmd", _words(config.get("Cmd"))),
        ("workdir", config.get("WorkingDir")),
        ("user", config.get("User")),
        ("stop signal", config.get("StopSignal")),
        ("ports", " ".join(sorted(config.get("ExposedPorts") or {}))),
        ("volumes", " ".join(sorted(config.get("Volumes") or {}))),
    ]
    _rows(rows)
    _section("env", [(name, value) for name, _, value in (item.partition("=") for item in config.get("Env") or [])])
    _section("labels", sorted((config.get("Labels") or {}).items()))
    _section("annotations", sorted(described["annotations"].items()))
    graph = described["graph"]
    if graph is None:
        click.echo("graph: none; the image carries no runtime graph labels")
    else:
        _section("daemons", [(str(number), _words(argv)) for number, argv in enumerate(graph["daemons"], 1)])
        _section("expose", [(str(item["port"]), _published(item)) for item in graph["expose"]])
    layers = described["layers"]
    _section(
        "layers",
        [(item["diffID"][7:19], human_size(item.get("size", item.get("unpackedSize", 0)))) for item in layers],
    )


def _rows(rows: list[tuple[str, object]], indent: str = "") -> None:
    from runtimeimg.text import printable

    shown = [(name, str(value)) for name, value in rows if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{indent}{printable(name):<{width}}  {printable(value)}")


def _section(title: str, rows: list[tuple[str, Any]]) -> None:
    if rows:
        click.echo(f"{title}:")
        _rows(rows, "  ")


def _words(argv: object) -> str:
    import shlex

    return shlex.join(str(item) for item in argv) if isinstance(argv, (list, tuple)) else ""


def _published(item: dict[str, Any]) -> str:
    host = f"{item['listeningAddr'] or '*'}:{item['hostPort']}" if item["hostPort"] else "-"
    return f"{host} {item['serviceName']}".strip()
