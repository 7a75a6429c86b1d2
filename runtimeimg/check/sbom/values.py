"""What both formats are given alike."""

from __future__ import annotations

import datetime
import re
import uuid

from runtimeimg.check.sbom.contents import Contents

BUILDER, BASE = "builder", "base"


def plain(text: str) -> str:
    r"""Return text that is UTF-8; other bytes of paths and records are written as `\udcXX`."""
    return text.encode("utf-8", "backslashreplace").decode()


def serial(contents: Contents, form: str) -> uuid.UUID:
    """Return the name of a document: the same for the same image, format and time (RFC 9562, version 5)."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{form} {contents.name} {contents.digest} {contents.created}")


def created(contents: Contents) -> datetime.datetime:
    """Return when a document says that it was made."""
    return datetime.datetime.fromtimestamp(contents.created, datetime.UTC)


def seconds(text: object) -> int:
    """Return the seconds since 1970 of a time as configs have it (RFC 3339); 0 for what is none."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", text) if isinstance(text, str) else None
    try:
        return max(0, int(datetime.datetime.fromisoformat(f"{match[1]}+00:00").timestamp())) if match else 0
    except ValueError:
        return 0
