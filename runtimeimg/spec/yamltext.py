"""YAML text: bytes to text, and plain scalars to values by the core schema of YAML 1.2 (section 10.3.2).

`yes`, `no`, `on`, `off`, dates and `12:30:45` are strings; `0777` is 777 and `0o777` is 511.
"""

from __future__ import annotations

import codecs
import re

from runtimeimg.errors import Problem, SpecError

MAX_BYTES = 1024 * 1024
"""A larger document is refused unread."""

Scalar = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"0(?:o[0-7]+|x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_MAX_DIGITS = 100  # longer ones are read as floats: Python refuses to read very long integers

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")  # YAML 1.2, c-printable
_BREAK = re.compile("\r\n|\r|\n")
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(data: bytes, file: str) -> str:
    """Return the text of a YAML file without its byte order mark, or raise SpecError saying where it is none."""
    if len(data) > MAX_BYTES:
        raise SpecError([Problem(file=file, line=0, column=0, path="", message="is larger than 1 MiB")])
    for marks, name in ((_UTF32, "UTF-32"), (_UTF16, "UTF-16")):
        if data.startswith(marks):
            raise _at(file, "", f"is {name}; save it as UTF-8")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        raise _at(file, before, f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8") from None
    if found := _FORBIDDEN.search(text):
        name = "a NUL" if found[0] == "\0" else f"the control character U+{ord(found[0]):04X}"
        raise _at(file, text[: found.start()], f"{name} is not allowed in YAML")
    return text


def resolve(text: str) -> Scalar:
    """Return the value of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.match(text) and len(text) <= _MAX_DIGITS:
        return int(text)
    if _BASED.match(text) and len(text) <= _MAX_DIGITS:
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.match(text) or _SPECIAL.match(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _at(file: str, before: str, message: str) -> SpecError:
    """Return an error at the place that follows the text `before`."""
    lines = _BREAK.split(before)
    return SpecError([Problem(file=file, line=len(lines), column=len(lines[-1]) + 1, path="", message=message)])
