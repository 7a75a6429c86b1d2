"""The standard streams of a container: pipes, or a terminal whose other end the runtime sends to a socket."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
import termios
import threading
from collections.abc import Callable
from pathlib import Path

from runtimeimg.errors import RemoteError
from runtimeimg.run.attach import STDERR, STDOUT

_PIECE = 64 << 10
_PATIENCE = 30.0
_MOST_SAID = 64 << 10


class Streams:
    """Made before the container, whose ends are `given`; ours are taken into use with `made`, and closed with `close`.

    What a runtime itself has to say of a container that it cannot make comes out of `said`.
    """

    def __init__(self, folder: Path, *, terminal: bool, stdin: bool) -> None:
        self._ours: dict[int, int] = {}
        self._input: int | None = None
        self._theirs: list[int] = []
        self._socket: socket.socket | None = None
        self._folder = -1
        self._readers: list[threading.Thread] = []
        self.console: str | None = None
        if terminal:
            self._listen(folder)
            null = self._their(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            self.given = (null, null, self._out(STDERR))
            return
        self.given = (self._in() if stdin else self._null(), self._out(STDOUT), self._out(STDERR))

    def made(self) -> None:
        """Take our ends into use: the container is there."""
        self._close_theirs()
        if self._socket is not None:
            self._ours.pop(STDERR)
            self._input = self._ours[STDOUT] = self._received(self._socket)

    def pump(self, write: Callable[[int, bytes], None]) -> None:
        """Begin to pass on what the container writes, in threads, as (stream, bytes)."""

        def read(stream: int, descriptor: int) -> None:
            # A terminal whose last user has gone gives an error (EIO), not an end.
            with contextlib.suppress(OSError):
                while data := os.read(descriptor, _PIECE):
                    write(stream, data)

        for item in self._ours.items():
            self._readers.append(threading.Thread(target=read, args=item, daemon=True))
            self._readers[-1].start()

    def drain(self, seconds: float) -> None:
        """Wait until all that was written is passed on."""
        for reader in self._readers:
            reader.join(seconds)

    def said(self) -> str:
        """Return what a runtime wrote that made no container."""
        self._close_theirs()
        data, descriptor = b"", self._ours[STDERR]
        while len(data) < _MOST_SAID and select.select([descriptor], [], [], 1.0)[0]:
            piece = os.read(descriptor, _PIECE)
            if not piece:
                break
            data += piece
        return data.decode("utf-8", "replace")

    def send(self, data: bytes) -> bool:
        """Send input; False when none is taken any more."""
        rest = memoryview(data)
        while rest:
            descriptor = self._input
            if descriptor is None:
                return False
            try:
                rest = rest[os.write(descriptor, rest) :]
            except OSError:
                return False
        return True

    def end_input(self) -> None:
        """Tell the container that no more input comes; on a terminal its end-of-file character does."""
        descriptor = self._input
        if self._socket is not None:
            self.send(b"\x04")
        elif descriptor is not None:
            self._input = None
            os.close(descriptor)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size."""
        if self._socket is not None and STDOUT in self._ours:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._ours[STDOUT], termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Close our ends. Threads that still read them are left to their descriptors, which end with the process."""
        self._close_theirs()
        if self._socket is None:
            self.end_input()
        else:
            self._socket.close()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1
        if any(reader.is_alive() for reader in self._readers):
            return
        for descriptor in self._ours.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._ours.clear()

    def _listen(self, folder: Path) -> None:
        """Listen on a socket in the run's folder, named by a descriptor: names of sockets are short (unix(7))."""
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.console = f"/proc/{os.getpid()}/fd/{self._folder}/console"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_PATIENCE)
        self._socket.bind(self.console)
        self._socket.listen(1)

    def _received(self, listening: socket.socket) -> int:
        """Return the terminal that the runtime sends."""
        try:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(_PATIENCE)
                _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
        except TimeoutError:
            descriptors = []
        if not descriptors:
            raise RemoteError("the runtime did not hand over the container's terminal")
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]

    def _in(self) -> int:
        reader, self._input = os.pipe2(os.O_CLOEXEC)
        return self._their(reader)

    def _out(self, stream: int) -> int:
        self._ours[stream], writer = os.pipe2(os.O_CLOEXEC)
        return self._their(writer)

    def _null(self) -> int:
        return self._their(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def _their(self, descriptor: int) -> int:
        self._theirs.append(descriptor)
        return descriptor

    def _close_theirs(self) -> None:
        while self._theirs:
            os.close(self._theirs.pop())
