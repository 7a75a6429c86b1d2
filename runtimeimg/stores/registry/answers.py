"""What registries answer, read once and within bounds: documents, error bodies, counts, links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runtimeimg.errors import RemoteError
from runtimeimg.stores.registry.failures import MAX_ERROR_BODY, connection_failure
from runtimeimg.stores.verify import CHUNK

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_DOCUMENT_WINDOWS = 2.0
_MAX_LINKS = 16 * 1024
_COUNT = re.compile(r"[0-9]{1,18}")
_NEXT = re.compile(r'<([^<>]*)>[ \t]*;(?:[^,<>"]|"[^"<>]*")*?\brel[ \t]*=[ \t]*(?:"next"|next\b)', re.IGNORECASE)


def read_document(response: BaseHTTPResponse, host: str, what: str, limit: int) -> bytes:
    """Return the body of a document, at most `limit` bytes that come in time; closes the response.

    RemoteError for one that is larger, and for a web page in its place.
    """
    from urllib3.exceptions import HTTPError

    from runtimeimg.stores.registry.wire import limit_time

    limit_time(response, _DOCUMENT_WINDOWS)
    chunks, total = [], 0
    try:
        refuse_page(response, host, what)
        while data := response.read(min(CHUNK, limit + 1)):
            chunks.append(data)
            total += len(data)
            if total > limit:
                raise RemoteError(f"registry '{host}' answered {what} with more than {limit} bytes")
    except HTTPError as error:
        raise connection_failure(error, host) from error
    finally:
        response.close()
    raw = b"".join(chunks)
    if raw.lstrip()[:1] == b"<":
        raise web_page(host, what)
    return raw


def refuse_page(response: BaseHTTPResponse, host: str, what: str) -> None:
    """Raise RemoteError for a response that says that it is a web page."""
    kind = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if kind in {"text/html", "application/xhtml+xml"}:
        response.close()
        raise web_page(host, what)


def web_page(host: str, what: str) -> RemoteError:
    """Return the error for a web page where something else was asked for."""
    return RemoteError(
        f"registry '{host}' answered {what} with a web page",
        hint="a proxy or the log-in page of a network may stand before it, or the address is not that of a registry",
    )


def drain(response: BaseHTTPResponse) -> bytes:
    """Return the first bytes of a body that nobody needs, and let its connection go on to be used or closed."""
    from urllib3.exceptions import HTTPError

    from runtimeimg.stores.registry.wire import limit_time

    limit_time(response, 1.0)
    body = b""
    try:
        while len(body) <= MAX_ERROR_BODY and (data := response.read(MAX_ERROR_BODY)):
            body += data
    except HTTPError:
        body = b""  # what it said is lost; its status is not
    response.close()
    return body


def count(text: str | None) -> int | None:
    """Return the number of a header, None where there is none that a length or an offset can be."""
    return int(text) if text is not None and _COUNT.fullmatch(text) else None


def next_link(response: BaseHTTPResponse) -> str | None:
    """Return where a list goes on (RFC 8288), unread; None at its end."""
    found = _NEXT.search((response.headers.get("Link") or "")[:_MAX_LINKS])
    return found[1] if found else None
