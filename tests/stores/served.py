"""The real docker-registry program in any set-up, with certificates made by openssl and a small token server."""

import base64
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

USER, PASSWORD = "jane", "right"
HTPASSWD = "jane:$2b$05$abcdefghijklmnopqrstuu8xaCxxL82bnl.UY74PMksDxIJShppPC\n"


def run(*argv: str | Path, stdin: bytes | None = None) -> bytes:
    return subprocess.run(argv, input=stdin, capture_output=True, check=True).stdout


@dataclass(frozen=True, kw_only=True)
class Keys:
    """An authority of one's own, as people make it in three commands, and what it signs."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Keys":
        folder.mkdir(parents=True)
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=an authority",
            "-keyout", folder / "ca.key", "-out", folder / "ca.pem")  # fmt: skip
        return cls(folder=folder)

    @property
    def authority(self) -> Path:
        return self.folder / "ca.pem"

    def sign(self, name: str, usage: str = "serverAuth") -> tuple[Path, Path]:
        """Return certificate and key for `name`."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", self.folder / f"{name}.csr")  # fmt: skip
        (self.folder / f"{name}.ext").write_text(
            f"subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={usage}\n"
        )
        run("openssl", "x509", "-req", "-in", self.folder / f"{name}.csr", "-CA", self.authority, "-CAkey",
            self.folder / "ca.key", "-CAcreateserial", "-days", "2", "-out", certificate,
            "-extfile", self.folder / f"{name}.ext")  # fmt: skip
        return certificate, key


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def serve(folder: Path, address: str | None = None, **sections: Any) -> Iterator[str]:
    """Run a registry; `sections` are those of its configuration, `http` without the address."""
    folder.mkdir(parents=True, exist_ok=True)
    address = address or f"127.0.0.1:{free_port()}"
    config = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        **sections,
        "http": {"addr": address, **sections.get("http", {})},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        _wait_for(address, process, folder / "log")
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    host, _, port = address.partition(":")
    for _ in range(400):
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the registry on {address} does not answer: {log.read_text()}")


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class TokenServer:
    """Grants what is asked for to whoever logs in, signed so that docker-registry believes it."""

    keys: Keys
    identity: str = "the identity"
    asked: list[tuple[str, dict[str, list[str]], str]] = field(default_factory=list)
    """Method, parameters, and the Authorization header of each request."""
    address: str = ""

    def registry_section(self) -> dict[str, Any]:
        return {
            "token": {
                "realm": f"http://{self.address}/token",
                "service": "registry of a test",
                "issuer": "issuer",
                "rootcertbundle": str(self.keys.authority),
            }
        }

    def token(self, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        certificate, key = self.keys.folder / "token.pem", self.keys.folder / "token.key"
        der = run("openssl", "x509", "-in", certificate, "-outform", "DER")
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        body = {"iss": "issuer", "sub": USER, "aud": "registry of a test", "exp": now + 300, "nbf": now - 10,
                "iat": now, "jti": "1", "access": access}  # fmt: skip
        text = f"{_part(json.dumps(head).encode())}.{_part(json.dumps(body).encode())}"
        return f"{text}.{_part(run('openssl', 'dgst', '-sha256', '-sign', key, stdin=text.encode()))}"

    def answer(self, method: str, query: str, body: bytes, authorization: str) -> tuple[int, bytes]:
        form = parse_qs(body.decode() if method == "POST" else query)
        self.asked.append((method, form, authorization))
        if method == "POST":
            known = form.get("refresh_token") == [self.identity] and form.get("grant_type") == ["refresh_token"]
            scopes = form["scope"][0].split()
        else:
            known = authorization == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            scopes = form.get("scope", [])
        if not known:
            return 401, b'{"errors": [{"code": "UNAUTHORIZED"}]}'
        return 200, json.dumps({"access_token": self.token(scopes), "expires_in": 300}).encode()

    @contextmanager
    def running(self) -> Iterator["TokenServer"]:
        tokens = self
        self.keys.sign("token")

        class Handler(BaseHTTPRequestHandler):
            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                query = urlsplit(self.path).query
                status, answer = tokens.answer(self.command, query, body, self.headers.get("Authorization", ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do  # noqa: N815 - the names of http.server

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def htpasswd(folder: Path) -> dict[str, Any]:
    """Return the section of a registry that asks for USER and PASSWORD."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(HTPASSWD)
    return {"htpasswd": {"realm": "a registry", "path": str(folder / "htpasswd")}}
