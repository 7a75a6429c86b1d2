"""Why a file is in an image: its layer, the copy that brought it, the package that it came with, what loads it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runtimeimg.check.commands import Programs, commands, follow
from runtimeimg.check.facts import Facts
from runtimeimg.check.libraries import Loaders
from runtimeimg.check.packages import Package
from runtimeimg.check.sources import Sources
from runtimeimg.compose.view import File, View
from runtimeimg.errors import NotFoundError
from runtimeimg.image.layertar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK
from runtimeimg.plan import Copy

_KINDS = {
    FILE: "file",
    DIRECTORY: "folder",
    SYMLINK: "symlink",
    CHARACTER: "device",
    BLOCK_DEVICE: "device",
    FIFO: "pipe",
}
_MAX_LOADERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known of a path of an image; None, or empty, what is not.

    `layer` counts from 1, 0 for a folder that no layer describes. `copy` brought it out of `source`, a path of the
    image that the copy reads. `loaded_by` are programs that the image starts and whose loader takes it.
    """

    file: File
    layer: int
    layers: int
    digest: str
    is_base: bool | None
    created_by: str = ""
    copy: Copy | None = None
    source: str | None = None
    package: Package | None = None
    loaded_by: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What lies there, for people."""
        return _KINDS.get(self.file.inode.kind, "file")

    def to_json(self) -> dict[str, Any]:
        """Return it for `--format json`."""
        package = self.package
        return {
            "path": self.file.path,
            "kind": self.kind,
            "size": self.file.size,
            "mode": f"{self.file.mode:04o}",
            "owner": "{}:{}".format(*self.file.owner),
            **({"target": self.file.target} if self.file.is_link else {}),
            "layer": {"number": self.layer, "of": self.layers, "digest": self.digest, "createdBy": self.created_by},
            "base": self.is_base,
            "copy": None if self.copy is None else {"origin": self.copy.origin, "image": str(self.copy.image)},
            "source": self.source,
            "package": None if package is None else {"purl": package.purl, "origin": package.origin or package.name},
            "loadedBy": list(self.loaded_by),
        }


def explain(facts: Facts, path: str, sources: Sources) -> Explanation:
    """Return why `path` is in an image; `sources` tell which copy brought it. NotFoundError for what is not there."""
    image = facts.view.image
    file = facts.view.find(path if path.startswith("/") else f"/{path}", follow=False)
    if file is None:
        raise NotFoundError(f"'{path}' is not in image '{image.name}'", hint=_near(facts.view, path))
    number = file.layer
    package, copy, source = sources.attributed(file)
    return Explanation(
        file=file,
        layer=number + 1,
        layers=len(image.layers),
        digest=str(image.layers[number].descriptor.digest) if number >= 0 else "",
        is_base=None if facts.base_layers is None or number < 0 else number < facts.base_layers,
        created_by=_created_by(facts, number),
        copy=copy,
        source=source,
        package=package,
        loaded_by=tuple(_loaded_by(facts, file)),
    )


def _near(view: View, path: str) -> str | None:
    """Return what to say of a path that is not there: how far it goes."""
    at = path if path.startswith("/") else f"/{path}"
    while at not in {"/", ""}:
        at = posixpath.dirname(at)
        if (there := view.folder(at)) is not None:
            names = [posixpath.basename(item.path) for item in view.names(there)]
            shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
            return f"'{at}' holds {shown}" if names else f"'{at}' is empty"
    return None


def _created_by(facts: Facts, number: int) -> str:
    made = [step for step in facts.view.image.config.history if not step.get("empty_layer")]
    said = made[number].get("created_by") if 0 <= number < len(made) else None
    return said if isinstance(said, str) else ""


def _loaded_by(facts: Facts, file: File) -> Iterator[str]:
    """Yield the programs that the image starts and that load a file."""
    started, loaders = Programs(), Loaders(facts=facts)
    for command in commands(facts.view.image.config):
        list(follow(facts, command, started))
    for count, (program, _) in enumerate(started.started.values()):
        if count >= _MAX_LOADERS or facts.objects.of(program) is None:
            continue
        loaded = loaders.of(program)
        libraries = loaded.libraries if loaded is not None else ()
        if any(item.file.inode is file.inode or item.at == file.path for item in libraries):
            yield program.path
