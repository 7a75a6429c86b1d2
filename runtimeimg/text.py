"""Text that is shown to people: nothing in it moves a terminal's cursor, turns text around or tells a password."""

from __future__ import annotations

import re

CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f\ud800-\udfff]"
)
"""C0 (but tab and line feed), DEL, C1, what turns text around (bidi), line separators, tags, what is no character."""
_USERINFO = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,20}:(?://|\\/\\/))[^\s/?#'\"@\\]*(?:@[^\s/?#'\"@\\]*)*@")
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,40}m")


def plain(text: str) -> str:
    """Return `text` with every control character replaced by `?`; tabs and line feeds stay."""
    return CONTROLS.sub("?", text)


def printable(line: str) -> str:
    """Return a line of a builder's output: its colours (SGR) stay, other control characters go."""
    kept = _COLOUR.findall(line)
    if not kept:
        return CONTROLS.sub("", line).replace("\t", " ").replace("\n", " ")
    parts = [CONTROLS.sub("", part).replace("\t", " ").replace("\n", " ") for part in _COLOUR.split(line)]
    return "".join(part + colour for part, colour in zip(parts, [*kept, ""], strict=True))


def without_userinfo(text: str) -> str:
    """Return `text` with user names and passwords of URLs in it replaced by `***`."""
    return _USERINFO.sub(r"\1***@", text)


def message(text: str) -> str:
    """Return a message as it is shown: without control characters and without anybody's password."""
    return plain(without_userinfo(text))


def json_escaped(text: str) -> str:
    r"""Return JSON text that means the same, in which characters that terminals act on are written as `\uXXXX`."""
    return CONTROLS.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def human_size(count: float) -> str:
    """Return a number of bytes in decimal units, as `docker images` shows them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
