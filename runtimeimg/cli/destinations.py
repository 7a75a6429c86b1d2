"""Where a command writes: what `-o`, `--push`, `--load` and the names mean, in our words and in those of buildx."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtimeimg.build import FILE_TRANSPORTS, default_destinations
from runtimeimg.cli.locations import location_of
from runtimeimg.errors import UsageError
from runtimeimg.oci import Location, Reference
from runtimeimg.oci.reference import TRANSPORTS

if TYPE_CHECKING:
    from runtimeimg.plan import BuildPlan
    from runtimeimg.stores import StoreOptions

_FILES = ("local", "tar")
_KEYS = frozenset({"type", "dest", "name", "push", "tar"})
_ARCHIVE = re.compile(r"\.(tar|tgz|tar\.[a-z0-9]+)\Z")


def destinations_of(plan: BuildPlan, stores: StoreOptions, options: dict[str, Any]) -> list[Location]:
    """Return all places that a build writes to, those of `-o` first."""
    destinations = [item for text in options["outputs"] for item in destination(text, plan.outputs)]
    if plan.outputs:
        # A folder or archive without a name of its own takes that of the image.
        name = Reference.parse(plan.outputs[0]).tagged
        names = {"oci": name.tag, "oci-archive": name.tag, "docker-archive": name.familiar}
        destinations = [
            replace(item, tag=names[item.transport])
            if item.transport in FILE_TRANSPORTS and item.transport and not item.tag
            else item
            for item in destinations
        ]
    if options["load"]:
        destinations += _named("docker-daemon", plan.outputs, "--load")
    if options["push"] or not destinations:
        destinations += default_destinations(plan, stores, push=options["push"])
    return list(dict.fromkeys(destinations))


def destination(text: str, names: tuple[str, ...] = ()) -> list[Location]:
    """Return the places that an output names: `TRANSPORT:...`, a name for the Engine, or `type=...` as in buildx.

    `names` are those of the image, for outputs that name none. A path without a transport is refused: a user of
    buildx means the files of the image by it, one of docker or skopeo the image.
    """
    if re.match(r"\w+=", text):
        return _of_buildx(text, names)
    if text.partition(":")[0] in TRANSPORTS:
        return [location_of(text)]
    if text == "-" or text.startswith(("/", ".", "~")) or text.endswith("/") or _ARCHIVE.search(text):
        raise _without_transport(text)
    found = location_of(text)
    if found.transport is None and Path(text).exists():
        raise _without_transport(text)
    return [found]


def _without_transport(text: str) -> UsageError:
    if text == "-":
        return UsageError("output '-': an image is not written to standard output", hint="write oci-archive:FILE")
    archive = _ARCHIVE.search(text) or Path(text).is_file()
    forms = f"oci-archive:{text} or docker-archive:{text}" if archive else f"oci:{text} for an OCI layout"
    return UsageError(f"output '{text}' is a path and does not say what is written there", hint=f"write {forms}")


def _of_buildx(text: str, names: tuple[str, ...]) -> list[Location]:
    """Return what `type=...,dest=...` says (docker buildx build --output)."""
    fields = {}
    for item in text.split(","):
        key, equals, value = item.partition("=")
        if not equals or key.strip() not in _KEYS:
            raise UsageError(
                f"output '{text}': {item!r} is not understood", hint="known are " + ", ".join(sorted(_KEYS))
            )
        fields[key.strip()] = value.strip()
    kind, dest, own = fields.get("type", ""), fields.get("dest"), fields.get("name")
    if kind in _FILES:
        where = dest or "DIR"
        raise UsageError(
            f"output '{text}' asks for the files of the image, which is not what is written",
            hint=f"write oci:{where} for the image as a layout, or oci-archive:FILE",
        )
    if dest == "-":
        raise _without_transport("-")
    names = (own,) if own else names
    if kind == "oci" and dest:
        return [Location.parse(f"oci:{dest}" if fields.get("tar") == "false" else f"oci-archive:{dest}")]
    if kind == "docker" and dest:
        return [Location.parse(f"docker-archive:{dest}")]
    if kind == "registry" or (kind == "image" and fields.get("push") == "true"):
        return _named("docker", names, text)
    if kind in {"image", "docker"}:
        return _named("docker-daemon", names, text)
    if kind == "oci":
        raise UsageError(f"output '{text}' names no file", hint="write type=oci,dest=FILE or oci-archive:FILE")
    raise UsageError(f"output '{text}': type {kind!r} is not known", hint="known are docker, image, oci and registry")


def _named(transport: str, names: tuple[str, ...], what: str) -> list[Location]:
    if not names:
        raise UsageError(f"{what}: the image has no name", hint="write spec.output.image, or pass -t NAME")
    return [Location(transport=transport, reference=Location.parse(name).reference) for name in names]
