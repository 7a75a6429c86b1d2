"""`--image REF[,platform=P][,annotation=K=V]...`: what is to be listed, and how."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.index.places import place_of
from runtimeimg.cli.options import pairs
from runtimeimg.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from runtimeimg.image import Image, ImageIndex
    from runtimeimg.image.indexes import Entry
    from runtimeimg.oci import Location, Platform
    from runtimeimg.stores import StoreOptions

image_option = click.option(
    "--image",
    "images",
    multiple=True,
    required=True,
    metavar="REF[,platform=P][,annotation=K=V]...",
    help="Image to list, or index; P must fit the image, of an index it is the image to take. May be given often.",
)
flatten_option = click.option(
    "--flatten", is_flag=True, help="List the images of indexes in place of the indexes; attestations are left out."
)
types_option = click.option(
    "--keep-types",
    is_flag=True,
    help="Leave manifests of Docker's media types as they are; they are converted to OCI's by default.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one `--image` asks for."""

    location: Location
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """Return what `text` asks for; a field with a comma in it is put in double quotes, as in CSV."""
        from runtimeimg.oci import Platform

        name, *fields = fields_of(text, "--image")
        platform, annotations = None, []
        for item in fields:
            key, equals, value = item.partition("=")
            if key == "annotation" and equals:
                annotations.append(value)
            elif key == "platform" and value and platform is None:
                platform = Platform.parse(value)
            else:
                raise UsageError(f"--image '{text}': {item!r} is not understood", hint="known are platform, annotation")
        return cls(location=place_of(name), platform=platform, annotations=pairs(annotations, "annotation"))


def fields_of(text: str, what: str) -> list[str]:
    """Return the fields of a line of CSV, at least one."""
    if "\n" in text or "\r" in text:
        raise UsageError(f"{what} {text!r} holds a line break")
    try:
        (fields,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise UsageError(f"{what} {text!r} cannot be taken apart: {error}") from None
    if not all(fields) or not fields:
        raise UsageError(f"{what} {text!r} has an empty part")
    return fields


def entries_wanted(
    images: tuple[str, ...],
    destination: Location,
    stores: StoreOptions,
    stack: ExitStack,
    *,
    max_size: int,
    flatten: bool,
    keep_types: bool,
    say: Callable[[str], None],
) -> list[Entry]:
    """Return the entries for all `--image`, in their order, to be written to `destination` before `stack` is left."""
    from runtimeimg.cache import Cache
    from runtimeimg.cli.options import cache_dir
    from runtimeimg.image.indexes import in_oci_types
    from runtimeimg.stores import open_image
    from runtimeimg.stores.copying import packed

    wanted = [Wanted.parse(text) for text in images]
    sources = [(item, open_image(item.location, replace(stores, max_top=max_size))) for item in wanted]
    cache = Cache.open(cache_dir(), say)
    packs = [(item, stack.enter_context(packed(top, destination, stores, cache=cache))) for item, top in sources]
    found = [entry for item, top in packs for entry in _entries(item, top, flatten=flatten, say=say)]
    if keep_types:
        return found
    told = [in_oci_types(entry) for entry in found]
    for before, after in zip(found, told, strict=True):
        if after is not before:
            say(f"{before.descriptor.digest} is of Docker's media types; in OCI's it is {after.descriptor.digest}")
    return told


def _entries(
    wanted: Wanted, found: Image | ImageIndex, *, flatten: bool, say: Callable[[str], None]
) -> Iterator[Entry]:
    from runtimeimg.image import Image
    from runtimeimg.image.indexes import entry_of, flattened

    if isinstance(found, Image):
        yield _as(entry_of(found), wanted)
    elif wanted.platform is not None:
        yield _as(_of_platform(found, wanted), wanted)
    elif flatten:
        listed = [entry.marked(None, wanted.annotations) for entry in flattened(found)]
        if not listed:
            raise NotFoundError(f"index '{wanted.location}' lists no image")
        yield from listed
    else:
        say(f"'{wanted.location}' is an index, and is listed as one; --flatten lists its images")
        yield entry_of(found).marked(None, wanted.annotations)


def _of_platform(found: ImageIndex, wanted: Wanted) -> Entry:
    """Return the first image of an index that is for the platform that is asked for."""
    from runtimeimg.image.indexes import flattened

    assert wanted.platform is not None
    there = list(flattened(found))
    for entry in there:
        if entry.descriptor.platform is not None and _fits(entry.descriptor.platform, wanted.platform):
            return entry
    listed = ", ".join(str(entry.descriptor.platform) for entry in there[:20]) or "nothing"
    raise NotFoundError(f"index '{wanted.location}' has nothing for {wanted.platform}", hint=f"it holds {listed}")


def _fits(own: Platform, said: Platform) -> bool:
    """Tell whether an entry's platform is the one that was asked for, in all that was said of it."""
    return (
        own.matches(said) and said.os_version in {"", own.os_version} and set(said.os_features) <= set(own.os_features)
    )


def _as(entry: Entry, wanted: Wanted) -> Entry:
    """Return the entry with what was said of it; a platform may be told more closely than the image tells it."""
    from runtimeimg.image.indexes import told_closer

    own, said = entry.descriptor.platform, wanted.platform
    told = told_closer(own, said, str(wanted.location)) if own is not None and said is not None else said
    return entry.marked(told, wanted.annotations)
