"""An automaton as a runtime bundle: its image as the graph knows it, and its configuration as a bundle's options.

What is combined how is said in `combining`, and done by the bundle itself wherever the image's files are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from runtimeimg.bundle import BundleOptions, Mount, Rootless
from runtimeimg.bundle.features import Runtime
from runtimeimg.bundle.settings import Setting
from runtimeimg.bundle.values import STAGES
from runtimeimg.configgraph import combining, grounds
from runtimeimg.configgraph.model import Artefact, Automaton, Variant, name_of
from runtimeimg.errors import IntegrityError, NotFoundError, UsageError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Digest, Location
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.stores.layout.layouts import open_blob_of

_EXPOSED = "org.opencontainers.image.exposedPorts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a bundle is made: for which runtime and user, and `state`, the folder that has a folder for each volume.

    `network` is that of BundleOptions.
    """

    state: Path
    network: Literal["own", "host"] | None = None
    runtime: Runtime | None = None
    rootless: Rootless | None = None
    allow: frozenset[str] = frozenset()


def opened(artefact: Artefact, variant: Variant, options: StoreOptions) -> Image:
    """Return the image of a variant from where the graph says that it is.

    Raises IntegrityError where something else is there now, NotFoundError where nothing is.
    """
    location = Location.parse(artefact.reference)
    if location.transport == "docker" and location.reference is not None:
        pinned = replace(location.reference, tag=None, digest=Digest.parse(variant.manifest))
        location = replace(location, reference=pinned)
    image = _of(open_image(location, options, exact=False), variant)
    if location.transport == "oci" and (image is None or image.config.digest != variant.config):
        image = _of(open_blob_of(location, Digest.parse(variant.manifest), options), variant) or image
    if image is None or image.config.digest != variant.config:
        what = "an index without it" if image is None else f"the image of the config {image.config.digest}"
        raise IntegrityError(
            f"'{artefact.reference}' is {what}, and the graph says {variant.manifest}",
            hint="something was written there since: make the graph anew, or bring the image back",
        )
    return replace(image, name=name_of(artefact.id))


def _of(found: Image | ImageIndex | None, variant: Variant) -> Image | None:
    """Return the image that was found, of an index the one of a variant; None where it has none."""
    if not isinstance(found, ImageIndex):
        return found
    entry = next((item for item in found.index.manifests if item.digest == variant.manifest), None)
    image = found.open_manifest(entry) if entry is not None else None
    return image if isinstance(image, Image) else None


def variant_for(artefact: Artefact, digest: str) -> Variant:
    """Return the variant of an artefact that a placed instance runs; NotFoundError where there is none."""
    for variant in artefact.variants:
        if variant.manifest == digest:
            return variant
    raise NotFoundError(f"artefact '{name_of(artefact.id)}' has no variant {digest}", hint="place the instances anew")


def options_of(
    automaton: Automaton, artefact: Artefact, variant: Variant, image: Image, manner: Manner
) -> tuple[Image, BundleOptions]:
    """Return the image, with the user that the automaton says, and the options of its bundle."""
    given = automaton.given
    process = given.get("process", {})
    base = grounds.ground(variant, name_of(artefact.id))
    values = combining.combine(given, base).of
    if values["process.args"] is None:
        raise UsageError(
            f"{automaton.origin}: automaton '{name_of(automaton.id)}' has no command, and its image has none",
            hint="write process.args",
        )
    settings = [
        _setting("process.cwd", values["process.cwd"]),
        _setting("process.rlimits", values["process.rlimits"]),
        _setting("process.capabilities", {name: list(several) for name, several in _sets(values).items()}),
        _setting("process.noNewPrivileges", values["process.noNewPrivileges"]),
        _setting("process.user.umask", values["process.user"]["umask"]),
    ]
    groups = values["process.user"].get("additionalGids")
    if groups:
        settings.append(_setting("process.user.additionalGids", list(groups)))
    exposed = grounds.exposed(base, tuple(f"{item['port']}/{item['protocol']}" for item in values["ports"]))
    options = BundleOptions(
        argv=tuple(process["args"]) if process.get("args") else None,
        env=dict(process.get("env") or {}),
        terminal=values["process.terminal"],
        mounts=_mounts(given, manner),
        hooks=tuple(combining.hook(stage, item) for stage in STAGES for item in given.get("hooks", {}).get(stage, ())),
        readonly=values["root.readonly"],
        hostname=values["hostname"],
        annotations={_EXPOSED: exposed[_EXPOSED]} if _EXPOSED in exposed else {},
        settings=tuple(settings),
        network=manner.network,
        runtime=manner.runtime,
        rootless=manner.rootless,
        allow=manner.allow,
        name=name_of(artefact.id),
    )
    return _as_user(image, process.get("user")), options


def state_folders(automaton: Automaton, manner: Manner) -> Sequence[Path]:
    """Return the folder of each volume of an automaton's state; they are to be there when the bundle is started."""
    return [manner.state / item["name"] for item in automaton.given.get("state", ())]


def _sets(values: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    found: Mapping[str, Sequence[str]] = values["process.capabilities"]
    return found


def _setting(path: str, value: Any) -> Setting:
    return Setting(path=path, steps=tuple(path.split(".")), value=value)


def _mounts(given: Mapping[str, Any], manner: Manner) -> tuple[Mount, ...]:
    """Return the document's mounts and its state by destination, so that what is within another comes after it."""
    found = [
        Mount(
            destination=item["destination"],
            kind=item["type"],
            source=item["source"],
            options=tuple(item["options"]),
        )
        for item in given.get("mounts", ())
    ]
    found += [
        Mount(
            destination=item["path"],
            kind="bind",
            source=str((manner.state / item["name"]).absolute()),
            options=("rbind", "rw", "nosuid", "nodev"),
        )
        for item in given.get("state", ())
    ]
    return tuple(sorted(found, key=lambda item: item.destination))


def _as_user(image: Image, user: Mapping[str, Any] | None) -> Image:
    """Return the image with a user that is looked up in its files as its own is: names, groups and HOME alike."""
    if user is None or not user.keys() & {"name", "uid"}:
        return image
    name, group = (user["name"], user.get("group")) if "name" in user else (user["uid"], user["gid"])
    text = f"{name}:{group}" if group is not None else str(name)
    return image.with_config(image.config.with_config(User=text))
