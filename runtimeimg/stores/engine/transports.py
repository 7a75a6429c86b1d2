"""Ways to an Engine that the SDK's session has not by itself: TLS as the docker command speaks it, and ssh.

Over ssh it is the docker command's own way: the ssh program runs `docker system dial-stdio` on the other machine, one
connection a program. Keys, agents and names are its business (~/.ssh/config).
"""

from __future__ import annotations

import shlex
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import requests.adapters
from docker.transport.basehttpadapter import BaseHTTPAdapter
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

from runtimeimg import process
from runtimeimg.errors import UsageError

_SHOWN = 500


def ssh_command(url: str) -> list[str]:
    """Return the command that connects to the Engine of `ssh://[USER@]HOST[:PORT][/SOCKET]`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError(f"Docker Engine address '{url[:200]}' cannot be used: its port is none") from None
    if parts.password is not None:
        raise UsageError("Docker Engine address holds a password, which ssh does not take", hint="use a key")
    if not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"Docker Engine address '{url[:200]}' is not of the form ssh://[USER@]HOST[:PORT]")
    # Not `parts.hostname`, which is in small letters: ssh's own configuration minds them.
    host = parts.netloc.rpartition("@")[2]
    host = host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]
    argv = ["ssh", "-T", "-o", "ConnectTimeout=30"]
    argv += ["-l", unquote(parts.username)] if parts.username else []
    argv += ["-p", str(port)] if port is not None else []
    remote = ["docker", *(["--host", f"unix://{parts.path}"] if parts.path.strip("/") else []), "system", "dial-stdio"]
    return [*argv, "--", host, shlex.join(remote)]


class SshAdapter(BaseHTTPAdapter):
    """Connections of a session, each a program; closing the adapter ends them all."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        self._argv = ssh_command(url)
        self._environ = dict(environ)
        self._programs: list[process.Dialled] = []
        self._lock = threading.Lock()
        self._pool = _DiallingPool(self._dial)
        super().__init__()

    def get_connection(self, url: str, proxies: Any = None) -> HTTPConnectionPool:  # type: ignore[override] # noqa: ARG002
        """Return the one pool there is."""
        return self._pool

    def said(self) -> str:
        """Return what the last program that said anything said of its failure, on one line."""
        with self._lock:
            programs = list(self._programs)
        texts = [program.said() for program in reversed(programs)]
        text = " ".join(next((text for text in texts if text.strip()), "").split())
        return "".join(char for char in text if char.isprintable())[-_SHOWN:]

    def close(self) -> None:
        """Close the connections and end the programs."""
        self._pool.close()
        with self._lock:
            programs, self._programs = self._programs, []
        for program in programs:
            program.end()
        super().close()

    def _dial(self) -> process.Dialled:
        program = process.dial(self._argv, env=self._environ)
        with self._lock:
            self._programs.append(program)
        return program


class _DiallingPool(HTTPConnectionPool):
    def __init__(self, dial: Callable[[], process.Dialled]) -> None:
        super().__init__("localhost", maxsize=10)
        self._dial = dial

    def _new_conn(self) -> HTTPConnection:
        return _DialledConnection(self._dial)


class _DialledConnection(HTTPConnection):
    def __init__(self, dial: Callable[[], process.Dialled]) -> None:
        super().__init__("localhost")
        self._dial = dial

    def connect(self) -> None:
        self.sock = self._dial().socket
        self.sock.settimeout(self.timeout if isinstance(self.timeout, (int, float)) else None)


class TlsAdapter(requests.adapters.HTTPAdapter):
    """Connections by a context of ours alone: nothing of what the library would add to it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools with the context."""
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave it to the context."""

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:  # noqa: ARG002
        """Leave it to the context."""
        host, _ = super().build_connection_pool_key_attributes(request, True, None)
        return host, {}
