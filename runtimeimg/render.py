"""A plan as the text of a Dockerfile, and as the steps that a builder will count in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from runtimeimg import quoting, templating
from runtimeimg.errors import UsageError
from runtimeimg.oci.reference import Location
from runtimeimg.plan import SCRATCH, BuildPlan, Copy, StampInstructions

if TYPE_CHECKING:
    from jinja2 import Template

_WORKSPACE = "workspace"
_BUILDER = "builder"
_NOT_A_NAME = re.compile(r"(?:[0-9]+|scratch|builder|source[0-9]+)\Z")
"""Images so called would be taken for a stage (or for nothing) without their tag."""

_FILTERS = {
    "env_name": quoting.env_name,
    "env_value": quoting.env_value,
    "label_key": quoting.label_key,
    "word": quoting.word,
    "json_array": quoting.json_array,
    "words": quoting.words,
    "shell": quoting.shell,
    "owner": quoting.owner,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One instruction of the rendered text and the dotted path of the spec it came from, empty when there is none."""

    keyword: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPath:
    """What a build context must hold: the files of `folder` that `pattern` finds, at the same paths under `prefix`.

    `folder` is None for the workspace. `pattern` is relative to the folder, `.` for all of it, and is read as
    `runtimeimg.spec.patterns` says.
    """

    prefix: str
    folder: str | None
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """An image that copies read: `FROM image AS name`."""

    name: str
    image: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _CopyLine:
    """A COPY as the template writes it; `stage` is empty when the source lies in the build context."""

    stage: str
    chown: str | None
    source: str
    destination: str


def render_dockerfile(plan: BuildPlan, *, stamp: StampInstructions | None = None) -> str:
    """Return the Dockerfile of `plan`, with the instructions of `stamp` when given.

    The same plan gives the same bytes. Raises UsageError for what no Dockerfile can say: images in layouts and
    archives, line breaks in a value that is no argument of a command, NUL, text that is not Unicode.
    """
    return _template().render(
        plan=plan,
        stages=_stages(plan),
        base=SCRATCH if plan.base is None else _image_name(plan.base),
        copies=_copy_lines(plan),
        entrypoint=_entrypoint(plan, stamp),
        cmd=_cmd(plan, stamp),
        stamp_labels=stamp.labels if stamp else {},
    )


def trace(plan: BuildPlan, *, stamp: StampInstructions | None = None) -> tuple[Step, ...]:
    """Return the instructions of `render_dockerfile(plan, stamp=stamp)` in order, each with its origin."""
    runtime = "spec.runtime"
    steps = [("FROM", stage.origin) for stage in _stages(plan)]
    steps.append(("FROM", f"{runtime}.base"))
    steps += [("ENV", variable.origin) for variable in plan.env]
    steps += [("LABEL", f"{runtime}.labels")] if plan.labels else []
    steps += [("RUN", line.origin) for line in plan.run]
    steps += [("COPY", copy.origin) for copy in plan.copies]
    single: tuple[tuple[str, str, object], ...] = (
        ("WORKDIR", "workDir", plan.work_dir),
        ("EXPOSE", "expose", plan.ports or None),
        ("VOLUME", "volumes", plan.volumes or None),
        ("USER", "user", plan.user),
        ("STOPSIGNAL", "stopSignal", plan.stop_signal),
    )
    steps += [(keyword, f"{runtime}.{key}") for keyword, key, value in single if value is not None]
    if _entrypoint(plan, stamp) is not None:
        steps.append(("ENTRYPOINT", f"{runtime}.entrypoint" if plan.entrypoint is not None else ""))
    if _cmd(plan, stamp) is not None:
        steps.append(("CMD", f"{runtime}.cmd" if plan.cmd is not None else ""))
    if stamp and stamp.labels:
        steps.append(("LABEL", ""))
    return tuple(Step(keyword=keyword, origin=origin) for keyword, origin in steps)


def context_paths(plan: BuildPlan) -> tuple[ContextPath, ...]:
    """Return what the COPY instructions without `--from` read, each once, in their order."""
    prefixes = _prefixes(plan)
    found = [
        ContextPath(
            prefix=_WORKSPACE if copy.image is None else prefixes[str(copy.image)],
            folder=None if copy.image is None else copy.image.path,
            pattern=copy.source.lstrip("/") or ".",
        )
        for copy in plan.copies
        if copy.image is None or copy.image.transport == "dir"
    ]
    return tuple(dict.fromkeys(found))


@cache
def _template() -> Template:
    return templating.load("Dockerfile.runtime.j2", _FILTERS)


def _stages(plan: BuildPlan) -> tuple[_Stage, ...]:
    """Return the stages that copies read from: the builder image's, then one for each further image."""
    stages: list[_Stage] = []
    for image in plan.images:
        if image.transport == "dir":
            continue
        if image == plan.builder:
            name, origin = _BUILDER, plan.builder_origin
        else:
            name = f"source{1 + sum(stage.name != _BUILDER for stage in stages)}"
            origin = next(copy.origin for copy in plan.copies if copy.image == image)
        stages.append(_Stage(name=name, image=_image_name(image), origin=origin))
    return tuple(stages)


def _prefixes(plan: BuildPlan) -> Mapping[str, str]:
    """Return where in the build context the folder of each `dir:` image lies."""
    folders = [str(image) for image in plan.images if image.transport == "dir"]
    return {name: f"rootfs{number}" for number, name in enumerate(folders, start=1)}


def _copy_lines(plan: BuildPlan) -> tuple[_CopyLine, ...]:
    images = [image for image in plan.images if image.transport != "dir"]
    names = {str(image): stage.name for image, stage in zip(images, _stages(plan), strict=True)}
    prefixes = _prefixes(plan)
    return tuple(_copy_line(copy, names, prefixes) for copy in plan.copies)


def _copy_line(copy: Copy, names: Mapping[str, str], prefixes: Mapping[str, str]) -> _CopyLine:
    stage, source = names.get(str(copy.image), "") if copy.image else "", quoting.copy_pattern(copy.source)
    if not stage:
        prefix = prefixes[str(copy.image)] if copy.image else _WORKSPACE
        source = f"{prefix}/{'' if source == '.' else source.lstrip('/')}"
    return _CopyLine(stage=stage, chown=copy.chown, source=source, destination=copy.destination)


def _image_name(image: Location) -> str:
    """Return what FROM calls an image, never to be mistaken for a stage."""
    if image.image_id is not None:
        return image.image_id
    if image.reference is None:
        raise UsageError(
            f"image '{image}' has no name that a Dockerfile could hold",
            hint="the native builder reads it: --builder native",
        )
    name = image.reference.familiar
    return f"{name}:latest" if _NOT_A_NAME.match(name) else name


def _entrypoint(plan: BuildPlan, stamp: StampInstructions | None) -> tuple[str, ...] | None:
    return stamp.entrypoint if stamp and stamp.entrypoint is not None else plan.entrypoint


def _cmd(plan: BuildPlan, stamp: StampInstructions | None) -> tuple[str, ...] | None:
    return stamp.cmd if stamp and stamp.cmd is not None else plan.cmd
