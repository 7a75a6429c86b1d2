"""Answers as they come off the wire, bounded however they are framed.

The standard library's reader takes a chunk of minus one byte for all that comes, reads `100 Continue`, chunk extensions
and trailers without end, and waits for each byte anew. This one does not.
"""

from __future__ import annotations

import http.client
import io
import re
import time
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

LEAST = 1024
"""Bytes that must come within the seconds without progress that a connection is given."""
_MAX_INFORMATIONAL = 16
_MAX_LINE = 1024
_MAX_OVERHEAD = 64 * 1024
"""Bytes of chunk sizes and extensions beyond those that the chunks hold."""
_MAX_TRAILERS = 32
_LENGTH = re.compile(r"[ \t]*[0-9]{1,18}[ \t]*")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;|\r?\n\Z)")


class MisframedError(http.client.HTTPException):
    """An answer that is not HTTP; another try would not change it."""


class Paced(io.RawIOBase):
    """The bytes of a connection; TimeoutError when too few come, or when what is being read takes too long as a whole.

    Only waiting counts, not the time that whoever reads takes between two reads.
    """

    def __init__(self, raw: io.RawIOBase, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self._raw = raw
        self._waited = 0.0
        self._got = 0
        self._left: float | None = None

    def within(self, seconds: float | None) -> None:
        """Give what is read from here on so many seconds of waiting in all; None for as long as bytes come."""
        self._left = seconds
        self._waited, self._got = 0.0, 0

    def readable(self) -> bool:
        """Tell that this is for reading."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Fill `buffer` with what comes next."""
        start = time.monotonic()
        count: int | None = self._raw.readinto(buffer)
        waited = time.monotonic() - start
        self._waited += waited
        self._got += count or 0
        if self._left is not None:
            self._left -= waited
            if self._left < 0:
                raise TimeoutError
        if self._got >= LEAST:
            self._waited, self._got = 0.0, 0
        elif self._waited > self.seconds:
            raise TimeoutError
        return count

    def close(self) -> None:
        """Close the connection's file as well."""
        if not self.closed:
            self._raw.close()
        super().close()


class BoundedResponse(http.client.HTTPResponse):
    """An answer whose framing is taken as RFC 9112 has it, within bounds."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.pace = Paced(self.fp.detach(), sock.gettimeout() or 60.0)
        self.fp = io.BufferedReader(self.pace)
        self._statuses = 0
        self._overhead = 0

    def begin(self) -> None:
        """Read status and headers, of all informational answers too, within twice the time without progress."""
        self.pace.within(2 * self.pace.seconds)
        try:
            super().begin()
        except (http.client.LineTooLong, http.client.UnknownProtocol) as error:
            raise MisframedError("its headers are not HTTP") from error
        except http.client.BadStatusLine as error:
            if isinstance(error, http.client.RemoteDisconnected):
                raise
            raise MisframedError("what it answers is not HTTP") from error
        except MisframedError:
            raise
        except http.client.HTTPException as error:
            raise MisframedError("its headers have no end") from error
        length = self.headers.get("Content-Length")
        if length is not None and not self.chunked and not _LENGTH.fullmatch(length):
            # The standard library would read on until the other side hangs up, which it may never do.
            raise MisframedError("its Content-Length is no number")
        self.pace.within(None)

    def _read_status(self) -> Any:
        self._statuses += 1
        if self._statuses > _MAX_INFORMATIONAL:
            raise MisframedError("it goes on announcing an answer")
        return super()._read_status()  # type: ignore[misc]

    def _read_next_chunk_size(self) -> int:
        line = self.fp.readline(_MAX_LINE + 1)
        found = _CHUNK_SIZE.match(line)
        if line and not line.endswith(b"\n") and len(line) <= _MAX_LINE:
            raise http.client.IncompleteRead(b"")  # the connection ended here
        if found is None or len(line) > _MAX_LINE:
            raise (MisframedError("its chunks are not HTTP") if line else http.client.IncompleteRead(b""))
        size = int(found[1], 16)
        self._overhead += len(line) + 2 - size
        if self._overhead > _MAX_OVERHEAD:
            raise MisframedError("its chunks are more frame than content")
        return size

    def _read_and_discard_trailer(self) -> None:
        for _ in range(_MAX_TRAILERS):
            line = self.fp.readline(_MAX_LINE + 1)
            if line in {b"\r\n", b"\n", b""}:
                return
            if len(line) > _MAX_LINE:
                break
        raise MisframedError("its trailers have no end")


class _Connection(HTTPConnection):
    response_class = BoundedResponse


class _SecureConnection(HTTPSConnection):
    response_class = BoundedResponse


class Pool(HTTPConnectionPool):
    """Connections whose answers are bounded."""

    ConnectionCls = _Connection


class SecurePool(HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = _SecureConnection


POOLS = {"http": Pool, "https": SecurePool}


def limit_time(response: BaseHTTPResponse, windows: float) -> None:
    """Give the rest of an answer some times its seconds without progress, as a whole."""
    pace = getattr(getattr(response, "_original_response", None), "pace", None)
    if isinstance(pace, Paced):
        pace.within(windows * pace.seconds)
