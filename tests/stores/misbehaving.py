"""A registry that misbehaves on command: an HTTP proxy before a real one, with rules for what goes wrong.

    with FaultyRegistry(upstream) as registry:
        registry.rule("GET", r"/blobs/", Reset(after=1000), times=2)

The first rule that matches a request and is not used up is applied. `log` holds every request. With `auth` the proxy
asks for logins itself: `basic`, or `bearer` with a token server of its own at `/token`.
"""

import base64
import contextlib
import http.client
import json
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

CHUNK = 65536


@dataclass(frozen=True, kw_only=True)
class Status:
    """Answer with a status instead of asking the registry."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Break:
    """Break the connection after some bytes of the answer's body: by a reset, or (`clean`) as if it were all."""

    after: int = 0
    clean: bool = False
    announce: bool = True
    """Whether Content-Length is sent; without it only the size of the blob tells."""


@dataclass(frozen=True, kw_only=True)
class Corrupt:
    """Change the byte at an offset of the answer's body."""

    at: int = 0


@dataclass(frozen=True, kw_only=True)
class Longer:
    """Send more bytes than there are, without saying how many."""

    extra: int = 10


@dataclass(frozen=True, kw_only=True)
class Header:
    """Set a header of the answer; None takes it away."""

    name: str
    value: str | None


@dataclass(frozen=True, kw_only=True)
class Stall:
    """Say nothing for some seconds, after some bytes of the answer's body."""

    seconds: float
    after: int = 0


@dataclass(frozen=True, kw_only=True)
class BreakUpload:
    """Read some bytes of the request's body, then reset the connection."""

    after: int


@dataclass(frozen=True, kw_only=True)
class Forward:
    """Ask the registry with another path or without some headers."""

    path: Callable[[str], str] = lambda path: path
    drop: tuple[str, ...] = ()


Action = Status | Break | Corrupt | Longer | Header | Stall | BreakUpload | Forward


@dataclass(kw_only=True)
class Rule:
    """What happens to requests whose method and path match, `times` times after the first `skip`."""

    method: str
    path: re.Pattern[str]
    action: Action
    times: int
    skip: int = 0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request as it came, and what it was answered with."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


class FaultyRegistry:
    """The proxy; `address` is its host and port."""

    def __init__(self, upstream: str, auth: str | None = None) -> None:
        self.upstream = upstream
        self.auth = auth
        self.users = {"jane": "right"}
        self.identity_token = "identity"
        self.expires_in: int | None = 300
        self.grant: Callable[[list[str]], list[str]] = lambda scopes: scopes
        self.tokens: dict[str, list[str]] = {}
        self.log: list[Seen] = []
        self.connections: set[socket.socket] = set()
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = False
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        for connection in list(self.connections):  # clients keep theirs open for the next request
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def rule(self, method: str, path: str, action: Action, *, times: int = 1, skip: int = 0) -> Rule:
        """Add a rule and return it; its `times` are those that are left."""
        self._rules.append(Rule(method=method, path=re.compile(path), action=action, times=times, skip=skip))
        return self._rules[-1]

    def revoke(self) -> None:
        """Let no token be valid any more."""
        self.tokens.clear()

    def seen(self, method: str, path: str) -> list[Seen]:
        """Return the requests whose method and path match."""
        return [item for item in self.log if item.method == method and re.search(path, item.path)]

    def take(self, method: str, path: str) -> Action | None:
        """Return what is to be done to a request, using up a rule."""
        with self._lock:
            for rule in self._rules:
                if rule.method == method and rule.times and rule.path.search(path):
                    if rule.skip:
                        rule.skip -= 1
                        continue
                    rule.times -= 1
                    return rule.action
        return None


def _handler(registry: FaultyRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        faulty = registry

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30
    faulty: FaultyRegistry

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        self.faulty.connections.add(self.connection)
        try:
            # The client is gone, or this proxy reset the connection.
            with contextlib.suppress(OSError, ValueError):
                super().handle()
        finally:
            self.faulty.connections.discard(self.connection)

    def do(self) -> None:
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        self._body = _Body(self.rfile, None if chunked else int(self.headers.get("Content-Length") or 0))
        seen = Seen(method=self.command, path=self.path, headers=dict(self.headers))
        if self.path.startswith("/token"):
            self._token(seen)
            return
        self.faulty.log.append(seen)
        if self.faulty.auth and not self._allowed():
            self._answer(401, {"WWW-Authenticate": self._challenge()}, _errors("UNAUTHORIZED", "log in"))
            return
        action = self.faulty.take(self.command, self.path)
        if isinstance(action, Status):
            self._answer(action.code, action.headers, action.body)
        elif isinstance(action, BreakUpload):
            self._read(action.after)
            self._reset()
        else:
            self._forward(action)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815 - the names of http.server

    def _forward(self, action: Action | None) -> None:
        path, drop = self.path, ("host", "connection")
        if isinstance(action, Forward):
            path, drop = action.path(path), (*drop, *action.drop)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in (*drop, "authorization")}
        headers["Host"] = self.faulty.address
        connection = http.client.HTTPConnection(self.faulty.upstream, timeout=30, blocksize=1 << 20)
        try:
            body = self._body if self._body.is_there else None
            connection.request(self.command, path, body=body, headers=headers, encode_chunked=self._body.chunked)
            with connection.getresponse() as response:
                if action == Break(after=0):
                    self._reset()
                else:
                    self._relay(response, action)
        finally:
            connection.close()

    def _relay(self, response: http.client.HTTPResponse, action: Action | None) -> None:
        length = response.getheader("Content-Length")
        headers = {key: value for key, value in response.getheaders() if key.lower() != "connection"}
        if isinstance(action, Header):
            headers.pop(action.name, None)
            headers |= {action.name: action.value} if action.value is not None else {}
        unknown = isinstance(action, Longer) or (isinstance(action, Break) and not action.announce)
        if unknown:
            headers.pop("Content-Length", None)
            headers["Connection"] = "close"
        self.send_response(response.status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD" or length is None:
            return
        sent = 0
        while data := response.read(CHUNK):
            if isinstance(action, Break) and sent + len(data) >= action.after:
                self.wfile.write(data[: action.after - sent])
                self._finish() if action.clean else self._reset()
                return
            if isinstance(action, Corrupt) and sent <= action.at < sent + len(data):
                at = action.at - sent
                data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
            if isinstance(action, Stall) and sent <= action.after < sent + len(data):
                self.wfile.write(data[: action.after - sent])
                data, sent = data[action.after - sent :], action.after
                time.sleep(action.seconds)
            self.wfile.write(data)
            sent += len(data)
        if isinstance(action, Longer):
            self.wfile.write(bytes(action.extra))
        if unknown:
            self._finish()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        # What is left of the request is read, so that the answer is not lost to a reset.
        while self._read(CHUNK):
            pass
        self.send_response_only(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _read(self, count: int) -> bytes:
        """Return up to `count` bytes of the request's body."""
        data = b""
        while len(data) < count and (more := self._body.read(count - len(data))):
            data += more
        return data

    def _finish(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_WR)

    def _reset(self) -> None:
        self.wfile.flush()
        time.sleep(0.05)  # let what was sent arrive before the reset throws it away
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

    # ---- logins

    def _challenge(self) -> str:
        if self.faulty.auth == "basic":
            return 'Basic realm="a registry"'
        scope = ""
        if repository := re.match(r"/v2/(.+)/(?:blobs|manifests)/", self.path):
            actions = "pull" if self.command in {"GET", "HEAD"} else "pull,push"
            scope = f',scope="repository:{repository[1]}:{actions}"'
        return f'Bearer realm="http://{self.faulty.address}/token",service="fault, \\"quoted\\""{scope}'

    def _allowed(self) -> bool:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if self.faulty.auth == "basic":
            return kind == "Basic" and self._user(value) is not None
        scopes = self.faulty.tokens.get(value, []) if kind == "Bearer" else []
        repository = re.match(r"/v2/(.+)/(?:blobs|manifests)/", self.path)
        if repository is None:
            return bool(scopes)
        action = "pull" if self.command in {"GET", "HEAD"} else "push"
        return any(
            scope.rpartition(":")[0] == f"repository:{repository[1]}" and action in scope.rpartition(":")[2].split(",")
            for scope in scopes
        )

    def _user(self, value: str) -> str | None:
        name, _, password = base64.b64decode(value).decode().partition(":")
        return name if self.faulty.users.get(name) == password else None

    def _token(self, seen: Seen) -> None:
        body = self._read(1 << 20)
        self.faulty.log.append(Seen(method=seen.method, path=seen.path, headers=seen.headers, body=body))
        action = self.faulty.take(self.command, self.path)
        if isinstance(action, Status):
            self._answer(action.code, action.headers, action.body)
            return
        if self.command == "POST":
            form = parse_qs(body.decode())
            known, scopes = form["refresh_token"] == [self.faulty.identity_token], form["scope"][0].split()
        else:
            value = self.headers.get("Authorization", "")
            known = bool(value) and self._user(value.partition(" ")[2]) is not None
            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
        if not known:
            self._answer(401, {}, _errors("UNAUTHORIZED", "incorrect user name or password"))
            return
        token = secrets.token_hex(8)
        self.faulty.tokens[token] = self.faulty.grant(scopes)
        life = {"expires_in": self.faulty.expires_in} if self.faulty.expires_in else {}
        self._answer(200, {"Content-Type": "application/json"}, json.dumps({"token": token, **life}).encode())


class _Body:
    """The body of a request, as a file for the request to the registry; `length` None where it comes in chunks."""

    def __init__(self, file: Any, length: int | None) -> None:
        self.chunked = length is None
        self._file = file
        self._left = length or 0
        self._ended = not self.chunked

    @property
    def is_there(self) -> bool:
        return self.chunked or self._left > 0

    def read(self, count: int) -> bytes:
        if not self._left and not self._ended:
            self._begin_chunk()
        if not self._left:
            return b""
        data: bytes = self._file.read1(min(count, self._left))
        if not data:
            raise ConnectionAbortedError
        self._left -= len(data)
        if self.chunked and not self._left:
            self._file.readline()
        return data

    def _begin_chunk(self) -> None:
        line = self._file.readline()
        if not line:
            raise ConnectionAbortedError
        self._left = int(line, 16)
        if not self._left:
            self._ended = True
            self._file.readline()


def _errors(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()
