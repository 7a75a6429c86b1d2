"""A registry that says whatever a test wants, byte for byte, and a client of it in a process of its own."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import bounded

Write = Callable[[bytes], None]
Answer = bytes | Callable[[Write], None]
"""What is written, or a function that writes until the client has had enough (then OSError ends it)."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]


def message(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@dataclass
class Server:
    """Answers by the first rule whose pattern `METHOD path` matches; what none matches is 404."""

    rules: list[tuple[str, Answer]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    address: str = ""

    def rule(self, pattern: str, answer: Answer) -> None:
        self.rules.append((pattern, answer))

    @contextlib.contextmanager
    def running(self) -> Iterator["Server"]:
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        connections: list[socket.socket] = []
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                threads.append(threading.Thread(target=self._serve, args=(connection,)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield self
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            listener.close()
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError), connection.makefile("rb") as reader:
            while (line := reader.readline(65536)).startswith((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH")):
                method, path, _ = line.decode("latin-1").split(" ", 2)
                headers = {}
                while (header := reader.readline(65536).strip()) != b"":
                    name, _, value = header.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                reader.read(int(headers.get("content-length", "0")))
                self.seen.append(Seen(method=method, path=path, headers=headers))
                answer = self._answer(method, path)
                if callable(answer):
                    answer(connection.sendall)
                    return
                connection.sendall(answer)
            # What is no HTTP, as a TLS handshake, is hung up on.

    def _answer(self, method: str, path: str) -> Answer:
        for pattern, answer in self.rules:
            if re.search(pattern, f"{method} {path}"):
                return answer
        return message(404)


CLIENT = """
import sys, time
from pathlib import Path
from runtimeimg import provenance
from runtimeimg.errors import RuntimeimgError
from runtimeimg.image import ImageIndex, choose_platform
from runtimeimg.oci import Digest, Reference
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.registry import RegistryDestination, RegistrySource

what, name, folder = sys.argv[1:4]
etc = Path(folder)
options = StoreOptions(etc=etc, timeout=1, attempts=1, environ={"DOCKER_CONFIG": folder})
try:
    if what == "referrers":
        provenance.read(Reference.parse(name), Digest.of(b"x"), options)
    else:
        image = choose_platform(RegistrySource(Reference.parse(name), options).open(), None)
        for layer in image.layers:
            with layer.open() as reader:
                while reader.read(65536):
                    pass
except RuntimeimgError as error:
    print(f"{type(error).__name__}: {error}")
    print(error.hint)
    sys.exit(error.exit_code)
"""


def client(what: str, address: str, folder: Path, **limits: int) -> bounded.Outcome:
    """Pull (`pull`) or ask for what refers to an image (`referrers`), with a second without progress allowed."""
    given = {"processor": 10, "address_space": 1024, "wall": 60, **limits}
    return bounded.python(CLIENT, what, f"{address}/a/b:1", folder, **given)


def logins(folder: Path, address: str) -> None:
    """Keep a login for a registry where the client looks."""
    (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": "amFuZTpzM2NyZXQ="}}}))
