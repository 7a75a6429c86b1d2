"""`runtimeimg index show`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.index.places import index_argument, max_size_option, place_of
from runtimeimg.cli.options import store_options
from runtimeimg.cli.tables import aligned
from runtimeimg.text import json_escaped

if TYPE_CHECKING:
    from runtimeimg.image import ImageIndex
    from runtimeimg.oci import Descriptor
    from runtimeimg.stores import StoreOptions


@click.command("show")
@index_argument
@click.option(
    "--format", "output_format", type=click.Choice(["table", "json", "raw"]), default="table", show_default=True
)
@max_size_option
@store_options
def command(index: str, output_format: str, max_size: int, stores: Callable[[], StoreOptions]) -> None:
    """Show the entries of INDEX in their order, and the annotations; `raw` gives its bytes as they are.

    Nothing is fetched but the index.
    """
    from runtimeimg.stores import open_index

    found = open_index(place_of(index), stores(), max_size)
    if output_format == "raw":
        click.echo(found.index.raw, nl=False)
    elif output_format == "json":
        click.echo(json_escaped(json.dumps(_described(found), indent=2, ensure_ascii=False)))
    else:
        click.echo("\n".join(_table(found)))


def _described(found: ImageIndex) -> dict[str, Any]:
    """Return what the index says, `annotation` of its entries read as `annotations`."""
    return {
        "name": found.name,
        "digest": str(found.index.digest),
        "size": len(found.index.raw),
        "mediaType": found.index.media_type,
        "annotations": found.index.annotations,
        "manifests": [entry.to_json() for entry in found.index.manifests],
    }


def _table(found: ImageIndex) -> Iterator[str]:
    index = found.index
    head = {"name": found.name, "digest": index.digest, "media type": index.media_type, "bytes": str(len(index.raw))}
    yield from aligned(list(head.items()))
    if index.annotations:
        yield "annotations:"
        yield from aligned(sorted(index.annotations.items()), "  ")
    rows = [("#", "DIGEST", "PLATFORM", "KIND", "ANNOTATIONS")]
    for number, entry in enumerate(index.manifests, 1):
        annotations = " ".join(f"{key}={value}" for key, value in sorted(entry.annotations.items()))
        platform = entry.platform.full if entry.platform else "-"
        rows.append((str(number), entry.digest.short, platform, _kind(entry), annotations))
    yield from aligned(rows)


def _kind(entry: Descriptor) -> str:
    """Return what an entry is, as far as its descriptor tells."""
    from runtimeimg.image.values import REFERENCE_DIGEST
    from runtimeimg.oci.mediatypes import INDEXES, MANIFESTS

    if entry.media_type in INDEXES:
        return "index"
    if REFERENCE_DIGEST in entry.annotations:
        return "attestation"
    if entry.artifact_type is not None:
        return entry.artifact_type
    return "image" if entry.media_type in MANIFESTS else entry.media_type
