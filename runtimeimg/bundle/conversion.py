"""An image config as a runtime config: the rules of the image specification, one function each (conversion.md).

A `Rule` is written once: which field of the image becomes which field of the bundle's config.json, and how. The table
in docs/bundles.md is made from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtimeimg.bundle import users
from runtimeimg.bundle.paths import normal
from runtimeimg.bundle.values import Files
from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.image import Image
from runtimeimg.oci import ImageConfig

PREFIX = "org.opencontainers.image."
Change = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the caller has in place of fields of the image: inputs from outside may change them freely."""

    argv: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: Mapping[str, str] | None = None
    user: bool = False
    """Whether the whole user is given, so that the image's is not looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An image with its files, and what the caller has in place of its fields."""

    image: Image
    files: Files
    asked: Asked

    @property
    def config(self) -> ImageConfig:
        """The image config."""
        return self.image.config


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one field of an image is converted: `kind` is that of the document's section."""

    field: str
    target: str
    kind: str
    meaning: str
    convert: Callable[[Source], Change]


def working_dir(source: Source) -> Change:
    """Config.WorkingDir is process.cwd as it is; the root where there is none."""
    return {"cwd": _sound(source, (_text(source, "WorkingDir") or "/",), "working directory")[0]}


def env(source: Source) -> Change:
    """Config.Env is process.env as it is and in its order; what the caller gives is added or takes a name's place."""
    asked = dict(source.asked.env or {})
    found = []
    for item in source.config.strings("Env"):
        name = item.partition("=")[0]
        found.append(f"{name}={asked.pop(name)}" if name in asked else item)
    found = _sound(source, found, "environment")
    return {"env": [*found, *(f"{name}={value}" for name, value in asked.items())]}


def args(source: Source) -> Change:
    """Config.Entrypoint with Config.Cmd behind it is process.args; that both are empty is an error of our own."""
    asked, config = source.asked, source.config
    if asked.argv is not None:
        words = asked.argv
    else:
        words = (*config.strings("Entrypoint"), *(config.strings("Cmd") if asked.args is None else asked.args))
    if not words:
        raise UsageError(
            f"image '{source.image.name}' says no command: its entrypoint and cmd are empty",
            hint="""give one: --set process.args='["/bin/sh"]'""",
        )
    return {"args": _sound(source, words, "command")}


def user(source: Source) -> Change:
    """Config.User is process.user: numbers as they are, names as the image's passwd and group have them."""
    if source.asked.user:
        return {}
    found = users.resolve(_text(source, "User"), source.files, source.image.name)
    further = {"additionalGids": list(found.groups)} if found.groups else {}
    return {"user": {"uid": found.uid, "gid": found.gid, **further}}


def labels(source: Source) -> Change:
    """Every label is an annotation of the same key and value, whatever else says something under that key."""
    return dict(source.config.labels)


def ports(source: Source) -> Change:
    """Config.ExposedPorts: its keys, joined by commas, are one annotation."""
    found = sorted(source.config.names("ExposedPorts"), key=_port_order)
    return {f"{PREFIX}exposedPorts": ",".join(found)} if found else {}


def stop_signal(source: Source) -> Change:
    """Config.StopSignal is an annotation."""
    return _annotation("stopSignal", _text(source, "StopSignal"))


def volumes(source: Source) -> Change:
    """Each key of Config.Volumes is the destination of a mount (what is mounted there is a default of ours)."""
    found: dict[str, None] = {}
    for path in _sound(source, sorted(source.config.names("Volumes")), "volume"):
        plain = normal(path)
        if not path.startswith("/") or plain == "/":
            raise InvalidDocumentError(f"volume {path[:80]!r} of image '{source.image.name}' is no absolute path")
        found[plain] = None
    return {"volumes": tuple(found)}


def _of_config(field: str, key: str) -> Callable[[Source], Change]:
    """Return the rule of a field of the image config itself that is an annotation."""

    def convert(source: Source) -> Change:
        value = source.config.data.get(field)
        if value is not None and not isinstance(value, str):
            raise InvalidDocumentError(f"{field} of the config of image '{source.image.name}' is not a text")
        return _annotation(key, value or "")

    return convert


def os_features(source: Source) -> Change:
    """os.features: joined by commas, they are an annotation."""
    value = source.config.data.get("os.features")
    if value is not None and (not isinstance(value, list) or not all(isinstance(item, str) for item in value)):
        raise InvalidDocumentError(f"os.features of the config of image '{source.image.name}' is not a list of texts")
    return _annotation("os.features", ",".join(value or ()))


VERBATIM, ANNOTATION, PARSED, OPTIONAL = "verbatim", "annotation", "parsed", "optional"
RULES = (
    Rule(
        field="Config.WorkingDir",
        target="process.cwd",
        kind=VERBATIM,
        meaning="as it is; `/` where the image says none",
        convert=working_dir,
    ),
    Rule(
        field="Config.Env",
        target="process.env",
        kind=VERBATIM,
        meaning="as it is and in its order; defaults are added under names that it does not have, never over one",
        convert=env,
    ),
    Rule(
        field="Config.Entrypoint, Config.Cmd",
        target="process.args",
        kind=VERBATIM,
        meaning="the entrypoint with the cmd behind it; both empty is an error",
        convert=args,
    ),
    *(
        Rule(
            field=field,
            target=f"annotations[{PREFIX}{field}]",
            kind=ANNOTATION,
            meaning="as it is, unless a label has that key",
            convert=_of_config(field, field),
        )
        for field in ("os", "architecture", "variant", "os.version")
    ),
    Rule(
        field="os.features",
        target=f"annotations[{PREFIX}os.features]",
        kind=ANNOTATION,
        meaning="joined by commas, unless a label has that key",
        convert=os_features,
    ),
    *(
        Rule(
            field=field,
            target=f"annotations[{PREFIX}{field}]",
            kind=ANNOTATION,
            meaning="as it is, unless a label has that key",
            convert=_of_config(field, field),
        )
        for field in ("author", "created")
    ),
    Rule(
        field="Config.StopSignal",
        target=f"annotations[{PREFIX}stopSignal]",
        kind=ANNOTATION,
        meaning="as it is, unless a label has that key",
        convert=stop_signal,
    ),
    Rule(
        field="Config.Labels",
        target="annotations",
        kind=ANNOTATION,
        meaning="each under its own key; they win over all other rules",
        convert=labels,
    ),
    Rule(
        field="Config.User",
        target="process.user",
        kind=PARSED,
        meaning="numbers as they are, names by the image's own `/etc/passwd` and `/etc/group`, links followed within "
        "the image; further groups only for a name without a group; an unknown name is an error; root where the image "
        "says nothing",
        convert=user,
    ),
    Rule(
        field="Config.ExposedPorts",
        target=f"annotations[{PREFIX}exposedPorts]",
        kind=OPTIONAL,
        meaning="the ports in their order, joined by commas, unless a label has that key",
        convert=ports,
    ),
    Rule(
        field="Config.Volumes",
        target="mounts",
        kind=OPTIONAL,
        meaning="a mount for each; a tmpfs that begins with what the image has there",
        convert=volumes,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What the rules give: `process`, `annotations`, and the places of volumes."""

    process: Mapping[str, Any]
    annotations: Mapping[str, str]
    volumes: Sequence[str]


def convert(image: Image, files: Files, asked: Asked | None = None) -> Converted:
    """Return what the conversion document makes of an image, before any default of ours.

    Annotations of manifests and indexes are not taken. Raises InvalidDocumentError for a config of wrong types,
    NotFoundError for a user or group that the image does not have, UsageError where there is no command.
    """
    image.config.check()
    source = Source(image=image, files=files, asked=asked or Asked())
    process: Change = {}
    annotations: Change = {}
    places: Sequence[str] = ()
    for rule, found in _each(source):
        if rule.target.startswith("annotations"):
            annotations |= {
                key: value for key, value in found.items() if key not in annotations or rule.field == LABELS
            }
        elif rule.target == "mounts":
            places = found["volumes"]
        else:
            process |= found
    return Converted(process=process, annotations=dict(sorted(annotations.items())), volumes=places)


LABELS = "Config.Labels"


def _each(source: Source) -> Iterator[tuple[Rule, Change]]:
    for rule in RULES:
        yield rule, rule.convert(source)


def _annotation(key: str, value: str) -> Change:
    return {f"{PREFIX}{key}": value} if value else {}


def _text(source: Source, key: str) -> str:
    value = source.config.config.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidDocumentError(f"{key} of the config of image '{source.image.name}' is not a text")
    return value or ""


def _sound(source: Source, texts: Sequence[str], what: str) -> list[str]:
    """Return texts that a process or a file system can have: without NUL, and UTF-8."""
    for text in texts:
        if "\0" in text or not _is_utf8(text):
            raise InvalidDocumentError(
                f"{what} of image '{source.image.name}' holds {text[:80]!r}, which is no UTF-8 text"
            )
    return list(texts)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _port_order(text: str) -> tuple[int, str]:
    number = text.partition("/")[0]
    return (int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 1 << 20, text)
