"""The rules for single values: each takes a value, returns it normalised, and raises ValueError with what is wrong.

Messages begin with the value and end with what to do; the loader adds the place.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterable

from runtimeimg.budgets import MAX_DEPTH, MAX_PATH
from runtimeimg.errors import UsageError
from runtimeimg.oci import Location, Platform
from runtimeimg.spec import expansion

CONTROL = r"[\x00-\x1f\x7f]"
"""What no name, key or path may hold."""
CONTROL_BUT_TAB = r"[\x00-\x08\x0a-\x1f\x7f]"
"""What no value of an environment variable, label or annotation may hold."""
ENV_NAME = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
LABEL_KEY = r"^[^\s=]([^=]*[^\s=])?$"
PRINCIPAL = r"^([a-zA-Z0-9_.][a-zA-Z0-9_.-]*\$?|[0-9]+)$"
OWNER = r"^[a-zA-Z0-9_.][a-zA-Z0-9_.-]*\$?(:[a-zA-Z0-9_.][a-zA-Z0-9_.-]*\$?)?$"
RULE_ID = r"^[A-Z]+-[0-9]{3}$"
DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
OBJECT_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
ADDRESS = r"^[0-9A-Za-z.:_%-]{1,255}$"

MAX_ID = 2**32 - 2
"""The highest user and group id; the one above it means "none" to the kernel."""
MAX_STRING = 128 * 1024 - 1
"""Bytes of one argument or `NAME=value` that Linux starts a program with (MAX_ARG_STRLEN)."""
WORKSPACE = "$(workspace)"
_MAX_IMAGE = 4096

_SIGNALS = """
    HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CLD CONT STOP TSTP TTIN TTOU
    URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS RTMIN RTMAX
"""
SIGNALS = tuple(_SIGNALS.split())
"""Signals of Linux, without `SIG`."""
_REALTIME = re.compile(r"(RTMIN\+|RTMAX-)([0-9]{1,2})\Z")

_GLOB_CLASS = r"\[\^?(?:(?:\\.|[^\\\]-])(?:-(?:\\.|[^\\\]-]))?)+\]"
_GLOB = re.compile(rf"(?:[^\\\[]|\\.|{_GLOB_CLASS})*\Z", re.DOTALL)


def shown(value: object) -> str:
    """Return `value` quoted, shortened to what fits in a message."""
    text = str(value)
    return repr(text if len(text) <= 80 else text[:77] + "...")


def no_control(text: str, what: str, pattern: str = CONTROL) -> str:
    """Refuse line breaks, NUL and the other control characters."""
    if found := re.search(pattern, text):
        names = {"\n": "a line break", "\r": "a carriage return", "\0": "a NUL", "\t": "a tab"}
        name = names.get(found[0], f"the control character U+{ord(found[0]):04X}")
        raise ValueError(f"{shown(text)} holds {name}, which {what} cannot")
    return text


def env_name(text: str) -> str:
    """Check the name of an environment variable."""
    no_control(text, "an environment name")
    if not re.match(ENV_NAME, text):
        what = "is empty" if not text else f"{shown(text)} is not a name of an environment variable"
        raise ValueError(f"{what}; letters, digits, '_', '-' and '.' make one, and no digit begins it")
    return text


def env_value(text: str) -> str:
    """Check the value of an environment variable, its references included."""
    no_control(text, "an environment value", CONTROL_BUT_TAB)
    _fits(text)
    try:
        expansion.parse(text)
    except ValueError as error:
        raise ValueError(f"{shown(text)} has a broken reference: {error}") from None
    return text


def label_key(text: str) -> str:
    """Check the key of a label or annotation."""
    no_control(text, "a key")
    if not text:
        raise ValueError("a key is empty; give it a name such as 'org.example.team'")
    if text != text.strip():
        raise ValueError(f"key {shown(text)} has white space at its ends; remove it")
    if "=" in text:
        raise ValueError(f"key {shown(text)} holds '='; write the value after a colon")
    return text


def label_value(text: str) -> str:
    """Check the value of a label or annotation."""
    return no_control(text, "a value", CONTROL_BUT_TAB)


def absolute_path(text: str) -> str:
    """Check a path in the image and return it normalised."""
    no_control(text, "a path")
    if not text:
        raise ValueError("is empty; write an absolute path such as '/app'")
    if not text.startswith("/"):
        hint = f"; only a source may begin with {WORKSPACE!r}" if text.startswith("$(") else "; begin it with '/'"
        raise ValueError(f"{shown(text)} is not an absolute path{hint}")
    _no_parent(text)
    _path_fits(text)
    return "/" + posixpath.normpath(text).lstrip("/")


def inner_path(text: str) -> str:
    """Check a path that must not be the root."""
    path = absolute_path(text)
    if path == "/":
        raise ValueError("'/' is the whole file system; name a folder in it")
    return path


def destination(text: str) -> str:
    """Check where a copy goes; a trailing slash, which COPY gives a meaning, is kept."""
    path = absolute_path(text)
    return path + "/" if text.endswith("/") and path != "/" else path


def source(text: str) -> str:
    """Check a path to copy from and return it normalised: absolute, or `$(workspace)` and a path in it."""
    no_control(text, "a path")
    if not text:
        raise ValueError(f"source is empty; write an absolute path, or {WORKSPACE + '/...'!r} for a local file")
    _path_fits(text)
    if not _GLOB.match(text):
        raise ValueError(f"{shown(text)} is not a valid pattern; close its '[', or write '\\[' for the character")
    if text == WORKSPACE or text.startswith(WORKSPACE + "/"):
        _no_parent(text)
        path = posixpath.normpath(text[len(WORKSPACE) :].lstrip("/") or ".")
        return WORKSPACE if path == "." else f"{WORKSPACE}/{path}"
    if text.startswith("$("):
        raise ValueError(f"{shown(text)} begins with an unknown variable; only {WORKSPACE + '/'!r} is known")
    if not text.startswith("/"):
        raise ValueError(
            f"{shown(text)} is not an absolute path; begin it with '/', or with {WORKSPACE + '/'!r} for a local file"
        )
    return absolute_path(text)


def owner(text: str) -> str:
    """Check `user[:group]`, each a name or a number."""
    no_control(text, "an owner")
    if not text or text.count(":") > 1:
        raise ValueError(f"{shown(text)} is not an owner; write 'user' or 'user:group', names or numbers")
    user, colon, group = text.partition(":")
    principal(user)
    if colon:
        principal(group)
    return text


def principal(text: str) -> str:
    """Check the name or number of a user or group."""
    no_control(text, "a user or group")
    if text.isdecimal() and text.isascii() and (len(text) > 10 or int(text) > MAX_ID):
        raise ValueError(f"{shown(text)} is too large; user and group ids end at {MAX_ID}")
    if not re.match(PRINCIPAL, text):
        what = "a user or group is empty" if not text else f"{shown(text)} is not a user or group"
        raise ValueError(f"{what}; write a name such as 'app', or a number from 0 to {MAX_ID}")
    return text


def argument(text: str) -> str:
    """Check one argument of a command."""
    if "\0" in text:
        raise ValueError(f"{shown(text)} holds a NUL, which an argument cannot")
    _fits(text)
    return text


def rule_id(value: str) -> str:
    """Check the id of a rule of `runtimeimg check`."""
    if re.search(RULE_ID, value) is None or value.endswith("\n"):
        raise ValueError(f"{shown(value)} is no rule; write one such as 'SAFE-003'")
    return value


def shell_line(text: str) -> str:
    """Check a line of `run`."""
    if not text.strip():
        raise ValueError("is empty; write a command, or remove the item")
    return argument(text)


def port(number: int) -> int:
    """Check a port."""
    if not 1 <= number <= 65535:
        raise ValueError(f"'{_number(number)}' is not a port; ports are 1 to 65535")
    return number


def service_name(text: str) -> str:
    """Check the name of a service, a DNS label."""
    no_control(text, "a service name")
    if not re.match(DNS_LABEL, text):
        raise ValueError(f"{shown(text)} is not a service name; write at most 63 lower-case letters, digits and '-'")
    return text


def address(text: str) -> str:
    """Check an IP address to listen on."""
    import ipaddress

    try:
        ipaddress.ip_address(text if re.match(ADDRESS, no_control(text, "an address")) else "")
    except ValueError:
        raise ValueError(f"{shown(text)} is not an IP address; write one such as '127.0.0.1' or '::1'") from None
    return text


def stop_signal(text: str) -> str:
    """Check a signal of Linux and return its full name, or its number as a text."""
    if text.isascii() and text.isdecimal() and len(text) <= 2 and 1 <= int(text) <= 64:
        return str(int(text))
    name = text.upper().removeprefix("SIG")
    realtime = _REALTIME.match(name)
    if name in SIGNALS or (realtime and int(realtime[2]) <= (15 if realtime[1] == "RTMIN+" else 14)):
        return f"SIG{name}"
    near = difflib.get_close_matches(name[:20], SIGNALS, 1)
    hint = f"did you mean 'SIG{near[0]}'?" if near else "write a name such as 'SIGTERM', or a number from 1 to 64"
    raise ValueError(f"{shown(text)} is not a signal; {hint}")


def image(text: str) -> str:
    """Check an image name with or without a transport; `scratch` is none."""
    if text == "scratch":
        raise ValueError("'scratch' is the empty image and holds nothing; only 'base' may be it")
    _location(text)
    return text


def base_image(text: str) -> str:
    """Check the image to stand on: a name with or without a transport, or `scratch`."""
    if text != "scratch" and _location(text).transport == "dir":
        raise ValueError(f"{shown(text)} is a folder, not an image; only builder images may be one")
    return text


def output_image(text: str) -> str:
    """Check the name to give to an image: no transport, no digest."""
    if text == "scratch":
        raise ValueError("'scratch' is reserved for the empty image; choose another name")
    location = _location(text)
    if location.transport is not None:
        transport = f"has the transport '{location.transport}:'"
        raise ValueError(f"{shown(text)} {transport}; write the name alone, and choose where it goes with -o")
    if location.reference is not None and location.reference.digest is not None:
        raise ValueError(f"{shown(text)} has a digest, which is known only after the build; write a tag instead")
    return text


def object_name(text: str) -> str:
    """Check metadata.name."""
    no_control(text, "a name")
    if not re.match(OBJECT_NAME, text):
        raise ValueError(f"{shown(text)} is not a name; write at most 253 lower-case letters, digits, '-' and '.'")
    return text


def platform(text: str) -> str:
    """Check a platform and return it as it is spelt in full."""
    no_control(text, "a platform")
    try:
        return Platform.parse(text).full
    except UsageError as error:
        raise ValueError(f"{error.message}; write one such as 'linux/amd64/v3'") from None


def first_repeated(values: Iterable[object]) -> tuple[int, int] | None:
    """Return the indexes of the first value that was there before and of that earlier one, None when there is none."""
    seen: dict[object, int] = {}
    for index, value in enumerate(values):
        if value in seen:
            return index, seen[value]
        seen[value] = index
    return None


def _location(text: str) -> Location:
    no_control(text, "an image name")
    if not text:
        raise ValueError("is empty; write an image name such as 'debian:bookworm-slim'")
    if len(text) > _MAX_IMAGE:
        raise ValueError(f"{shown(text)} is longer than {_MAX_IMAGE} characters; image names are shorter")
    try:
        return Location.parse(text)
    except UsageError as error:
        raise ValueError(f"{error.message}; {error.hint}" if error.hint else error.message) from None


def _no_parent(text: str) -> None:
    if ".." in text.replace("\\", "").split("/"):
        raise ValueError(f"{shown(text)} holds '..'; write the path without it")


def _path_fits(text: str) -> None:
    """Refuse a path that no file can have (PATH_MAX), or that is deeper than is good for anybody."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size >= MAX_PATH:
        raise ValueError(f"{shown(text)} has {size} bytes; a path of Linux has {MAX_PATH - 1} at the most")
    if text.count("/") > MAX_DEPTH:
        raise ValueError(f"{shown(text)} is more than {MAX_DEPTH} folders deep")


def _fits(text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_STRING:
        raise ValueError(
            f"{shown(text)} has {size} bytes; Linux starts no program with more than {MAX_STRING} in one text"
        )


def _number(number: int) -> str:
    return str(number) if abs(number) < 10**20 else f"{float(number):g}"
