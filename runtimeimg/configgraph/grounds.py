"""What an automaton stands on: the config.json that the bundle makes of a variant alone, without its files.

It is made by the bundle's own assembly, so that what is said here cannot differ from what a bundle has. What only the
image's files tell (numbers of a user's name, HOME, owners of volumes) is not known here, and said so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from runtimeimg.bundle import assembly, conversion, defaults
from runtimeimg.bundle.conversion import Asked, Source
from runtimeimg.bundle.settings import Setting
from runtimeimg.bundle.values import BundleOptions
from runtimeimg.configgraph.model import Variant
from runtimeimg.image import Image
from runtimeimg.oci import ImageConfig
from runtimeimg.plan import DEBUG_LABEL

_ITSELF = ("os", "architecture", "variant", "os.version", "os.features", "author", "created")
"""Fields of an image config, beside `config`, that a bundle tells of."""
_CWD = Setting(path="process.cwd", steps=("process", "cwd"), value="/")
_NO_COMMAND = ("",)


class NoFiles:
    """The files of an image that is not here."""

    def lookup(self, path: str | bytes, *, follow: bool = False) -> None:
        """Tell that nothing is there."""

    def read(self, path: str | bytes, limit: int) -> None:
        """Tell that nothing is there."""


NO_FILES = NoFiles()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """`config` is the config.json without anything of the automaton's; `source` the image, for rules of `conversion`.

    `user` is what the image says of it, `command` whether it says one, `debug` whether it is a debug variant.
    """

    source: Source
    config: Mapping[str, Any]
    user: str
    command: bool
    debug: bool


def runtime_of(config: ImageConfig) -> dict[str, Any]:
    """Return what `Variant.runtime` keeps of an image config."""
    own = {key: config.data[key] for key in _ITSELF if config.data.get(key)}
    return {**own, **{key: value for key, value in config.config.items() if value not in (None, "", [], {})}}


def ground(variant: Variant | None, name: str) -> Ground:
    """Return the ground of a variant, None for a path of a store; `name` is what the artefact is called.

    Raises InvalidDocumentError for a config of wrong types, UsageError for one that is not for linux.
    """
    runtime = dict(variant.runtime) if variant is not None else {}
    user = runtime.pop("User", "") or ""
    data = {key: runtime.pop(key) for key in _ITSELF if key in runtime}
    image = Image(config=ImageConfig.from_json({**data, "config": runtime}), layers=(), name=name)
    command = bool(image.config.strings("Entrypoint") or image.config.strings("Cmd"))
    options = BundleOptions(name=name, argv=None if command else _NO_COMMAND, settings=(_CWD,))
    return Ground(
        source=Source(image=image, files=NO_FILES, asked=Asked()),
        config=assembly.assemble(image, NO_FILES, options).config,
        user=user if isinstance(user, str) else "",
        command=command,
        debug=image.config.labels.get(DEBUG_LABEL) == "true",
    )


def environment(base: Ground, given: Mapping[str, str], *, terminal: bool) -> list[str]:
    """Return the environment that a bundle has, HOME by default left out: only the image's files tell it."""
    asked = Source(image=base.source.image, files=NO_FILES, asked=Asked(env=given))
    said: list[str] = conversion.env(asked)["env"]
    if any(item.startswith("HOME=") for item in said):
        return assembly.environment(said, 0, NO_FILES, terminal=terminal)
    found = assembly.environment([*said, "HOME="], 0, NO_FILES, terminal=terminal)
    found.remove("HOME=")
    return found


def exposed(base: Ground, ports: tuple[str, ...]) -> Mapping[str, str]:
    """Return the annotations where these ports are exposed; a label of the image stands over them."""
    config = base.source.image.config.with_config(ExposedPorts={port: {} for port in ports})
    image = Image(config=config, layers=(), name=base.source.image.name)
    told = conversion.ports(Source(image=image, files=NO_FILES, asked=Asked()))
    labels = base.source.image.config.labels
    return {**base.config["annotations"], **{key: value for key, value in told.items() if key not in labels}}


@lru_cache(1)
def constant() -> Mapping[str, Any]:
    """Return what is in every config.json, whatever the image and the automaton say."""
    config = ground(None, "").config
    linux = {key: config["linux"][key] for key in ("maskedPaths", "readonlyPaths", "namespaces", "resources")}
    return {"mounts": config["mounts"], "linux": linux, "root.path": config["root"]["path"]}


@lru_cache(1)
def kernel_places() -> frozenset[str]:
    """Return where every container has the kernel's own mounts."""
    return frozenset(str(item["destination"]) for item in defaults.MOUNTS)
