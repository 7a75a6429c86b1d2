"""What a step is given, made into a Build spec: from a file of the source, from a mounted one, as text, as parameters.

All of it is data that somebody else wrote; nothing of it is ever part of a command line.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtimeimg.errors import InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.hostfile import read_file
from runtimeimg.spec import LoadedSpec, load_spec_text
from runtimeimg.spec.yamlnodes import compose as read_yaml
from runtimeimg.spec.yamltext import MAX_BYTES
from runtimeimg.step.origins import Owners, with_parameters
from runtimeimg.stores.directory import Directory
from runtimeimg.strategy.data import dump, from_item
from runtimeimg.strategy.parameters import Naming
from runtimeimg.text import printable

_EMPTY_BUILD = {"apiVersion": "runtimeimg.dev/v1", "kind": "Build", "spec": {"runtime": {}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a step was given; texts are empty and arrays have no items where nothing was.

    `source` is the folder of the source tree, `spec_file` a path in it, `mounted_spec` a file outside it that the
    platform mounted, `spec_text` the spec itself. `built_directory` and `built_image` are where earlier steps left
    the builder image. `naming` is how the parameters are called where they were set.
    """

    source: str = ""
    spec_file: str = ""
    mounted_spec: str = ""
    spec_text: str = ""
    base_image: str = ""
    builder_image: str = ""
    work_dir: str = ""
    directories: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    platforms: str = ""
    output_image: str = ""
    built_directory: str = ""
    built_image: str = ""
    naming: Naming = field(default_factory=Naming)


def read_inputs(inputs: Inputs) -> tuple[LoadedSpec, Mapping[str, Any]]:
    """Return the spec that the inputs make, and as the document it would be in a file.

    A file of the source wins over the text, which may be a strategy's default, and that over a mounted file. What is
    taken must be valid by itself; the parameters are put over it. Raises SpecError and UsageError.
    """
    loaded, document = _given_spec(inputs)
    changes = _changes(inputs)
    if loaded is not None and not changes:
        return loaded, document
    called = inputs.naming.name
    if loaded is None and "base" not in changes:
        raise UsageError(
            "nothing says what the runtime image is",
            hint=f"set the parameter {called('spec-file')} or {called('spec')}, "
            f"or {called('base-image')} and {called('directories')}",
        )
    spec = document["spec"]
    runtime = {**spec["runtime"]}
    owners = Owners(naming=inputs.naming, changes=changes)
    for key in ("env", "labels"):
        if key in changes:
            changes = {**changes, key: {**(runtime.get(key) or {}), **changes[key]}}
    if "directories" in changes:
        runtime.pop("paths", None)
    document = {**document, "spec": {**spec, "runtime": {**runtime, **changes}}}
    return with_parameters(dump(document).encode(), loaded, owners), document


def _given_spec(inputs: Inputs) -> tuple[LoadedSpec | None, Mapping[str, Any]]:
    called = inputs.naming.name
    if inputs.spec_text and not inputs.spec_file:
        data = from_item(inputs.spec_text, called("spec")).encode("utf-8", "surrogatepass")
        label = f"<parameter {called('spec')}>" if inputs.naming.declared else "<spec of the strategy>"
        return load_spec_text(data, label), _document(data)
    if inputs.spec_file:
        name = from_item(inputs.spec_file, called("spec-file"))
        data = _inside(inputs.source, name)
    elif inputs.mounted_spec:
        path = Path(inputs.mounted_spec)
        name = f"<ConfigMap key {path.name}>"
        if not path.exists():
            raise NotFoundError(
                f"the ConfigMap of the spec has no key '{path.name}'",
                hint="give it that key; a volume that a Build puts in its place needs it, too",
            )
        data = read_file(path, MAX_BYTES, "spec")
    else:
        return None, _EMPTY_BUILD
    return load_spec_text(data, printable(name)), _document(data)


def _document(data: bytes) -> Mapping[str, Any]:
    """Return the Build in `data`, which was found valid."""
    documents = [document.root.plain() for document in read_yaml(data, "<spec>")]
    builds = [item for item in documents if isinstance(item, Mapping) and item.get("kind") == "Build"]
    found: Mapping[str, Any] = builds[0]
    return {key: found[key] for key in ("apiVersion", "kind", "metadata", "spec") if key in found}


def _inside(folder: str, name: str) -> bytes:
    """Return the bytes of a file in the source tree; links that lead out of it are refused."""
    if not folder:
        raise UsageError(f"spec-file '{name}' is given, but there is no source to read it from")
    root = Path(folder).resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise UsageError(f"spec-file '{name}' leads out of the source")
    # Read by descriptors that follow no link: the source is somebody's, who may change it at any moment.
    source, inner = Directory(root), os.fsencode(path.relative_to(root))
    status = source.lstat(inner)
    if status is None:
        raise NotFoundError(f"spec-file '{name}' does not exist in the source")
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"spec-file '{name}' is not a regular file")
    if status.st_size > MAX_BYTES:
        raise InvalidDocumentError(f"spec-file '{name}' is larger than {MAX_BYTES >> 20} MiB")
    return b"".join(source.pieces(inner, status.st_size))


def _changes(inputs: Inputs) -> Mapping[str, Any]:
    called = inputs.naming.name
    changes: dict[str, Any] = {}
    if inputs.base_image:
        changes["base"] = {"image": from_item(inputs.base_image, called("base-image"))}
    if inputs.work_dir:
        changes["workDir"] = from_item(inputs.work_dir, called("work-dir"))
    if inputs.directories:
        changes["directories"] = list(inputs.directories)
    if inputs.entrypoint:
        changes["entrypoint"] = list(inputs.entrypoint)
    if inputs.env:
        changes["env"] = _pairs(inputs.env, called("env"))
    if inputs.labels:
        changes["labels"] = _pairs(inputs.labels, called("labels"))
    return changes


def _pairs(items: tuple[str, ...], name: str) -> dict[str, str]:
    pairs = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"parameter '{name}': {item[:60]!r} is not of the form key=value")
        pairs[key] = value
    return pairs
