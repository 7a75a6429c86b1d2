"""The types of the spec's fields: a rule of `checks` for the value, and the JSON Schema that says the same.

Patterns of a schema are searched, and `$` also matches before a last line break; every text therefore has a `not` that
keeps control characters out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from runtimeimg.spec import checks

_T = TypeVar("_T")
_NO_PARENT = r"(^|/)\.\.(/|$)|" + checks.CONTROL
_HOST = r"(?:[a-zA-Z0-9.-]+|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_NAME = rf"(?:{_HOST}/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{{0,127}})?"
_DIGEST = r"@sha(?:256:[a-f0-9]{64}|512:[a-f0-9]{128})"
_IMAGE_ID = r"docker-daemon:sha256:[a-f0-9]{64}"
_ANY_IMAGE = rf"(?:docker://|docker-daemon:)?{_NAME}(?:{_DIGEST})?|{_IMAGE_ID}|(?:oci|oci-archive|docker-archive):.+"
_NOT_SCRATCH = {"anyOf": [{"pattern": checks.CONTROL}, {"const": "scratch"}]}
_PORT_SCHEMA = {"type": "integer", "minimum": 1, "maximum": 65535}


def at(path: tuple[int | str, ...], message: str) -> PydanticCustomError:
    """Return an error about a part of the value that is being validated."""
    return PydanticCustomError("at", "{message}", {"message": message, "path": path})


def text_schema(pattern: str | None = None, control: str = checks.CONTROL) -> dict[str, Any]:
    """Return the schema of a text in which `pattern` is found and no character of `control`."""
    return {"type": "string"} | ({"pattern": pattern} if pattern else {}) | {"not": {"pattern": control}}


def _text(pattern: str | None = None, control: str = checks.CONTROL) -> WithJsonSchema:
    return WithJsonSchema(text_schema(pattern, control))


def _image(pattern: str, forbidden: Mapping[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$", "not": dict(forbidden)})


def _identity(pattern: str) -> WithJsonSchema:
    number = {"type": "integer", "minimum": 0, "maximum": checks.MAX_ID}
    return WithJsonSchema({"anyOf": [text_schema(pattern), number]})


def whole_number_to_text(value: object) -> object:
    """Take a number where a text may be one: ids and signals."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20:
        return str(value)
    return value


def _one_or_several(value: object) -> object:
    """Take a text where a list of them may be."""
    return (value,) if isinstance(value, str) else value


Included = Literal["auto", "ca-certificates", "tzdata", "nss", "locales"]
Include = Annotated[
    tuple[Included, ...],
    BeforeValidator(_one_or_several),
    WithJsonSchema(
        {"anyOf": [{"enum": list(get_args(Included))}, {"type": "array", "items": {"enum": list(get_args(Included))}}]}
    ),
]
"""What else is copied of the builder image: one name, or a list of them."""


def _frozen(value: Mapping[str, _T]) -> Mapping[str, _T]:
    return MappingProxyType(dict(value))


def _command(argv: tuple[str, ...]) -> tuple[str, ...]:
    if argv and not argv[0]:
        raise at((0,), "is empty; the first item of a command is the program to start")
    return argv


def _program(argv: tuple[str, ...]) -> tuple[str, ...]:
    if not argv:
        raise ValueError('is empty; write a command such as [redis-server, --port, "6379"], or remove the item')
    return _command(argv)


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := checks.first_repeated(values):
        raise at((repeated[0],), f"{checks.shown(values[repeated[0]])} is there twice; keep one")
    return values


def _texts(key: str) -> WithJsonSchema:
    names = {"pattern": key, "not": {"pattern": checks.CONTROL}}
    value = text_schema(control=checks.CONTROL_BUT_TAB)
    return WithJsonSchema({"type": "object", "propertyNames": names, "additionalProperties": value})


def _argv(least: int) -> WithJsonSchema:
    item = text_schema(control=r"\x00")
    first = {**item, "minLength": 1}
    size = {"minItems": least} if least else {}
    return WithJsonSchema({"type": "array", "prefixItems": [first], "items": item, **size})


ImageText = Annotated[str, AfterValidator(checks.image), _image(_ANY_IMAGE + "|dir:.+", _NOT_SCRATCH)]
BaseText = Annotated[str, AfterValidator(checks.base_image), _image(_ANY_IMAGE, {"pattern": checks.CONTROL})]
OutputText = Annotated[str, AfterValidator(checks.output_image), _image(_NAME, _NOT_SCRATCH)]
ObjectName = Annotated[str, AfterValidator(checks.object_name), _text(checks.OBJECT_NAME)]

PlatformText = Annotated[str, AfterValidator(checks.platform), _text(r"^[^/\s]+(/[^/\s]+){0,2}$")]

EnvName = Annotated[str, AfterValidator(checks.env_name)]
EnvValue = Annotated[str, AfterValidator(checks.env_value)]
Env = Annotated[Mapping[EnvName, EnvValue], AfterValidator(_frozen), _texts(checks.ENV_NAME)]
LabelKey = Annotated[str, AfterValidator(checks.label_key)]
LabelValue = Annotated[str, AfterValidator(checks.label_value)]
Labels = Annotated[Mapping[LabelKey, LabelValue], AfterValidator(_frozen), _texts(checks.LABEL_KEY)]

AbsolutePath = Annotated[str, AfterValidator(checks.absolute_path), _text("^/", _NO_PARENT)]
InnerPath = Annotated[str, AfterValidator(checks.inner_path), _text(r"^/[/.]*[^/.]", _NO_PARENT)]
Destination = Annotated[str, AfterValidator(checks.destination), _text("^/", _NO_PARENT)]
Source = Annotated[str, AfterValidator(checks.source), _text(r"^(/|\$\(workspace\)(/|$))", _NO_PARENT)]
Volumes = Annotated[tuple[InnerPath, ...], AfterValidator(_distinct)]

Principal = Annotated[
    str, BeforeValidator(whole_number_to_text), AfterValidator(checks.principal), _identity(checks.PRINCIPAL)
]
Owner = Annotated[str, BeforeValidator(whole_number_to_text), AfterValidator(checks.owner), _identity(checks.OWNER)]

PortNumber = Annotated[int, Field(strict=True), AfterValidator(checks.port), WithJsonSchema(dict(_PORT_SCHEMA))]
ServiceName = Annotated[str, AfterValidator(checks.service_name), _text(checks.DNS_LABEL)]
Address = Annotated[str, AfterValidator(checks.address), _text(checks.ADDRESS)]

_SIGNAL_NAMES = "|".join(checks.SIGNALS)
_SIGNAL_SCHEMA = {
    "anyOf": [
        {"enum": [f"SIG{name}" for name in checks.SIGNALS]},
        {"type": "integer", "minimum": 1, "maximum": 64},
        text_schema(
            rf"^((SIG|sig)?({_SIGNAL_NAMES}|{_SIGNAL_NAMES.lower()}|(RTMIN\+|RTMAX-)[0-9]{{1,2}})|[1-9]|[1-5][0-9]|6[0-4])$"
        ),
    ]
}
StopSignal = Annotated[
    str,
    BeforeValidator(whole_number_to_text),
    AfterValidator(checks.stop_signal),
    WithJsonSchema(_SIGNAL_SCHEMA),
]

Argument = Annotated[str, AfterValidator(checks.argument)]
Command = Annotated[tuple[Argument, ...], AfterValidator(_command), _argv(0)]
Program = Annotated[tuple[Argument, ...], AfterValidator(_program), _argv(1)]
RuleId = Annotated[str, AfterValidator(checks.rule_id), _text(checks.RULE_ID)]
ShellLine = Annotated[str, AfterValidator(checks.shell_line), _text(r"\S", r"\x00")]
