"""`runtimeimg index lint`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.findings import findings_options
from runtimeimg.cli.index.places import index_argument, max_size_option, place_of
from runtimeimg.cli.options import store_options

if TYPE_CHECKING:
    from runtimeimg.image import Image, ImageIndex
    from runtimeimg.selection.lintinside import Inside
    from runtimeimg.stores import StoreOptions

MAX_IMAGES = 256
"""Images of one index whose manifests and configs are read."""
HWCAPS = "glibc-hwcaps"
"""Folder of libraries for higher levels, which the loader takes only where they run (ld.so(8))."""


@click.command("lint")
@index_argument
@click.option("--index-only", is_flag=True, help="Fetch nothing but the index: no manifests and configs.")
@click.option("--look-inside", is_flag=True, help="Read the images' layers too, for what their programs need.")
@click.option("--budget", type=click.IntRange(1), metavar="BYTES", help="How large an index may be.  [default: 131072]")
@max_size_option
@findings_options
@store_options
def command(
    index: str,
    index_only: bool,
    look_inside: bool,
    budget: int | None,
    max_size: int,
    report: Callable[..., int],
    stores: Callable[[], StoreOptions],
) -> int:
    """Say what is wrong with INDEX: keys, order, sizes, and what contradicts the images that it lists.

    The manifests and configs of the images are fetched as well, their layers only with --look-inside. Ends with exit
    code 10 where something was found. docs/findings.md has all rules.
    """
    from runtimeimg.errors import UsageError
    from runtimeimg.selection import lint
    from runtimeimg.selection.lintrules import RULES
    from runtimeimg.stores import open_index

    if index_only and look_inside:
        raise UsageError("--index-only and --look-inside contradict each other")
    found = open_index(place_of(index), stores(), max_size)
    insides = {} if index_only else _insides(found, look_inside=look_inside)
    return report(lint.lint(found.index, found.name, insides, budget or lint.BUDGET), RULES)


def _insides(found: ImageIndex, *, look_inside: bool) -> Mapping[str, Inside]:
    from runtimeimg.image import Image
    from runtimeimg.selection.lint import unique_images

    entries, insides = unique_images(found.index), {}
    if len(entries) > MAX_IMAGES:
        click.echo(f"of {len(entries)} images the first {MAX_IMAGES} are looked at", err=True)
    for entry in entries[:MAX_IMAGES]:
        image = found.open_manifest(entry)
        if isinstance(image, Image):
            insides[str(entry.digest)] = _inside(image, look_inside=look_inside)
    return insides


def _inside(image: Image, *, look_inside: bool) -> Inside:
    """Return what is to be known of an image; what its programs need only where layers are read."""
    from runtimeimg.image.elfscan import scan
    from runtimeimg.oci import Platform
    from runtimeimg.selection.lintinside import Inside

    files = scan(image.layers, image.name) if look_inside else {}
    running = {path: facts for path, facts in files.items() if facts.kind in {"executable", "shared"}}
    return Inside(
        platform=Platform.from_json(image.config.data),
        annotations=dict(image.annotations),
        programs=Counter(facts.architecture for facts in running.values()),
        levels={
            path: facts.isa_needed
            for path, facts in running.items()
            if facts.isa_needed > 1 and HWCAPS not in path.split("/")
        },
    )
