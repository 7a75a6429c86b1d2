"""The connection to a container's standard streams (Engine API, "Attach to a container")."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from runtimeimg.errors import RemoteError
from runtimeimg.stores.engine import Engine

if TYPE_CHECKING:
    import requests

_PIECE = 64 * 1024
STDOUT, STDERR = 1, 2


class Attachment:
    """Attached before the container starts, so that nothing it writes is missed.

    Without a terminal the streams come in frames, each with its number and size; with one they are one stream.
    """

    def __init__(self, engine: Engine, container: str, *, tty: bool = False, stdin: bool = False) -> None:
        params = {"stream": True, "stdout": True, "stderr": True, "stdin": stdin}
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        self._response = engine.call(
            "POST", f"/containers/{container}/attach", params=params, headers=headers, endless=True
        )
        self._socket = _socket_of(self._response)
        self._tty = tty

    def pump(self, write: Callable[[int, bytes], None]) -> None:
        """Pass on what the container writes, as (stream, bytes), until it ends."""
        chunks = iter(lambda: self._receive(_PIECE), b"")
        for stream, data in ((STDOUT, chunk) for chunk in chunks) if self._tty else frames(chunks):
            write(stream, data)

    def send(self, data: bytes) -> bool:
        """Send input; False when the container takes none any more."""
        try:
            self._socket.sendall(data)
        except (OSError, ValueError):
            return False
        return True

    def end_input(self) -> None:
        """Tell the container that no more input comes; TLS knows no such thing, the input then just stays open."""
        if not isinstance(self._socket, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Cut the connection; a thread in `pump` comes back."""
        with contextlib.suppress(OSError, ValueError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._response.close()

    def _receive(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end.

        A connection that is cut ends the output, too: why it was cut is told by the wait for the container's end.
        """
        try:
            data: bytes = self._socket.recv(size)
        except (OSError, ValueError):
            return b""
        return data


def frames(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (stream, bytes) from the Engine's frames: eight bytes with stream and size, then so many bytes."""
    header, stream, left = b"", STDOUT, 0
    for chunk in chunks:
        rest = chunk
        while rest:
            if not left:
                needed = 8 - len(header)
                header, rest = header + rest[:needed], rest[needed:]
                if len(header) == 8:
                    number, left = struct.unpack(">BxxxL", header)
                    stream, header = (STDERR if number == STDERR else STDOUT), b""
                continue
            piece, rest = rest[:left], rest[left:]
            left -= len(piece)
            yield stream, piece


def _socket_of(response: requests.Response) -> Any:
    """Return the socket below an upgraded response: no public name leads there (the SDK goes the same way).

    Nothing can be in the buffer above it, for the container is attached to before it starts. The Engine reached over
    ssh has a channel of its own in place of a socket.
    """
    reader = getattr(getattr(response.raw, "_fp", None), "fp", None)
    found = getattr(reader, "channel", None) or getattr(getattr(reader, "raw", None), "_sock", None)
    if found is None:
        response.close()
        raise RemoteError("engine did not give the connection to the container's streams")
    return found
