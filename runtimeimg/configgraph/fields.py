"""The types of what Automatons and Artefacts hold: a rule for each value, and the JSON Schema that says the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from runtimeimg.bundle import defaults
from runtimeimg.bundle.paths import normal
from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.oci import Digest
from runtimeimg.selection import criteria
from runtimeimg.selection.hostdocument import STORE_PATH, ResourceMap
from runtimeimg.spec import checks, quantities
from runtimeimg.spec.fields import at, text_schema

MAX_ITEMS = 1000
"""Items of a list, and variables of an environment."""
MAX_REPLICAS = 100_000
HOST_NAME = r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$"
"""What sethostname(2) takes and DNS can have: at most 64 bytes."""
_RLIMITS = """
    AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME SIGPENDING STACK
"""
RLIMITS = tuple(_RLIMITS.split())
"""Resources of getrlimit(2), without `RLIMIT_`."""
RLIMIT_TEXT = f"^(RLIMIT_|rlimit_)?({'|'.join((*RLIMITS, *map(str.lower, RLIMITS)))})$"
CAPABILITY_TEXT = r"^([Cc][Aa][Pp]_)?[A-Za-z][A-Za-z_]{1,40}$"
CAPABILITY = r"^(CAP_)?[A-Z][A-Z_]{1,40}$"
PROTOCOLS = ("tcp", "udp", "sctp")
_OWN_MOUNTS = frozenset(str(item["destination"]) for item in defaults.MOUNTS)
_BELOW = ("/proc/", "/sys/")


def env_value(text: str) -> str:
    """Check the value of a variable, which is literal."""
    return checks.no_control(text, "an environment value", checks.CONTROL_BUT_TAB)


def variables(value: object) -> object:
    """Take a list of `NAME=VALUE` where a map may be."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return value
    found: dict[str, str] = {}
    for index, item in enumerate(value):
        name, equals, text = item.partition("=")
        if not equals:
            raise at((index,), f"{checks.shown(item)} is not of the form NAME=VALUE")
        if name in found:
            raise at((index,), f"variable {checks.shown(name)} is there twice; keep one")
        found[name] = text
    return found


def capability(text: str) -> str:
    """Check a capability and return its full name (capabilities(7))."""
    name = text.upper()
    if not re.match(CAPABILITY, name) or name.endswith("\n"):
        raise ValueError(f"{checks.shown(text)} is not a capability; write one such as 'CAP_NET_BIND_SERVICE'")
    return name if name.startswith("CAP_") else f"CAP_{name}"


def rlimit(text: str) -> str:
    """Check the type of a limit and return its full name."""
    name = text.upper().removeprefix("RLIMIT_")
    if name not in RLIMITS:
        known = ", ".join(f"RLIMIT_{item}" for item in RLIMITS)
        raise ValueError(f"{checks.shown(text)} is not a limit of Linux; there are {known}")
    return f"RLIMIT_{name}"


def limits(value: object) -> object:
    """Take a map of types to numbers, or to `soft` and `hard`, where a list of limits may be."""
    if not isinstance(value, dict):
        return value
    found = []
    for name, limit in value.items():
        if isinstance(limit, dict):
            found.append({"type": name, **limit})
        else:
            found.append({"type": name, "soft": limit, "hard": limit})
    return found


def mount_place(text: str) -> str:
    """Check where something is mounted: not at the root, nor where every container has the kernel's own."""
    path = normal(checks.inner_path(text))
    if path in _OWN_MOUNTS or path.startswith(_BELOW):
        raise ValueError(f"{checks.shown(text)} is encapsulated: the bundle mounts the kernel's own there; remove it")
    return path


def mount_source(text: str) -> str:
    """Check the source of a mount."""
    return checks.no_control(text, "a source")


def mount_option(text: str) -> str:
    """Check an option of a mount."""
    if not text or "," in text or re.search(r"\s", text):
        raise ValueError(f"{checks.shown(text)} is not one option of a mount; write each as an item of its own")
    return checks.no_control(text, "an option")


def host_name(text: str) -> str:
    """Check a host name."""
    checks.no_control(text, "a host name")
    if not re.match(HOST_NAME, text):
        raise ValueError(f"{checks.shown(text)} is not a host name; write at most 64 letters, digits, '-' and '.'")
    return text


def byte_size(text: str) -> str:
    """Check a size in bytes."""
    quantities.whole(text)
    return text


def number_as_text(value: object) -> object:
    """Take a number where a quantity is written."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def numbers_as_texts(value: object) -> object:
    """Take numbers where quantities are written."""
    return {key: number_as_text(item) for key, item in value.items()} if isinstance(value, dict) else value


def requirement(text: str) -> str:
    """Check what `--require` of `index select` takes."""
    return _criterion(text, criteria.parse_requirement)


def preference(text: str) -> str:
    """Check what `--prefer` of `index select` takes."""
    return _criterion(text, criteria.parse_preference)


def _criterion(text: str, parse: Any) -> str:
    checks.no_control(text, "a rule")
    try:
        parse(text)
    except UsageError as error:
        message = error.message.partition(" ")[2] if error.message.startswith("--") else error.message
        raise ValueError(f"{message}; {error.hint}" if error.hint else message) from None
    return text


def digest(text: str) -> str:
    """Check a digest."""
    try:
        return str(Digest.parse(text))
    except InvalidDocumentError:
        raise ValueError(f"{checks.shown(text)} is not a digest; write 'sha256:' and 64 hexadecimal digits") from None


def hexadecimal(text: str) -> str:
    """Check a sha256 in hexadecimal and return it so, whatever stood before it."""
    found = text.removeprefix("sha256:")
    if not re.match(r"[a-f0-9]{64}\Z", found):
        raise ValueError(f"{checks.shown(text)} is no sha256; write 64 hexadecimal digits")
    return found


def store_path(text: str) -> str:
    """Check a path of a store."""
    if not re.match(STORE_PATH, text) or text.endswith("\n") or normal(text) != text:
        raise ValueError(f"{checks.shown(text)} is not a path of a store; write one such as '/nix/store/HASH-NAME'")
    return text


def file_path(text: str) -> str:
    """Check the path of a file of this machine."""
    if not text or len(text) > 4095:
        raise ValueError(f"{checks.shown(text)} is not a path of a file")
    return checks.no_control(text, "a path")


def one_or_several(value: object) -> object:
    """Take a text where a list of them may be."""
    return [value] if isinstance(value, str) else value


def schema(pattern: str) -> WithJsonSchema:
    """Return the schema of a text."""
    return WithJsonSchema(text_schema(pattern))


_NUMBER_OR_TEXT = {"anyOf": [{"type": "string", "pattern": quantities.PATTERN}, {"type": "number", "minimum": 0}]}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_ENV_TEXT = text_schema(control=checks.CONTROL_BUT_TAB)
EnvName = Annotated[str, AfterValidator(checks.env_name)]
EnvValue = Annotated[str, AfterValidator(env_value)]
Env = Annotated[
    Mapping[EnvName, EnvValue],
    Field(max_length=MAX_ITEMS),
    BeforeValidator(variables),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "propertyNames": {"pattern": checks.ENV_NAME}, "additionalProperties": _ENV_TEXT},
                {"type": "array", "items": {**_ENV_TEXT, "pattern": r"^[-._a-zA-Z][-._a-zA-Z0-9]*="}},
            ]
        }
    ),
]
Capability = Annotated[str, AfterValidator(capability), schema(CAPABILITY_TEXT)]
RlimitType = Annotated[str, AfterValidator(rlimit), schema(RLIMIT_TEXT)]
MountPlace = Annotated[str, AfterValidator(mount_place), schema("^/.*[^/.]")]
MountSource = Annotated[str, AfterValidator(mount_source), schema("^")]
MountOption = Annotated[str, AfterValidator(mount_option), schema(r"^[^\s,]+$")]
HostName = Annotated[str, AfterValidator(host_name), schema(HOST_NAME)]
ByteSize = Annotated[
    str, BeforeValidator(number_as_text), AfterValidator(byte_size), WithJsonSchema(dict(_NUMBER_OR_TEXT))
]
Resources = Annotated[ResourceMap, BeforeValidator(numbers_as_texts)]
Requirement = Annotated[str, AfterValidator(requirement), schema("^[^\\s=<>!]")]
Preference = Annotated[str, AfterValidator(preference), schema("^[^\\s=<>!]")]
DigestText = Annotated[str, AfterValidator(digest), schema(r"^sha(256:[a-f0-9]{64}|512:[a-f0-9]{128})$")]
Sha256 = Annotated[str, AfterValidator(hexadecimal), schema(r"^(sha256:)?[a-f0-9]{64}$")]
StorePath = Annotated[str, AfterValidator(store_path), schema(STORE_PATH)]
FilePath = Annotated[str, AfterValidator(file_path), schema("^.")]
HostPin = Annotated[str, AfterValidator(lambda text: checks.no_control(text, "a name")), schema("^.")]
HostPins = Annotated[
    tuple[HostPin, ...],
    Field(max_length=MAX_ITEMS),
    BeforeValidator(one_or_several),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {**_TEXTS, "minItems": 1}]}),
]
Flag = Annotated[bool, Field(strict=True)]
