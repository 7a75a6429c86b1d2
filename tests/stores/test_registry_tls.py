"""TLS: certificates are checked, and an authority of one's own can be named."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from made import Clock

from runtimeimg.errors import NotFoundError, RemoteError, UsageError
from runtimeimg.oci import Reference
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.registry import RegistrySource

pytestmark = pytest.mark.openssl


class _Nothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[str]:
    """A registry that speaks TLS with a certificate of its own making, and holds nothing."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        capture_output=True,
        check=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Nothing)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # refused handshakes are what is tested
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(address: str, options: StoreOptions) -> None:
    RegistrySource(Reference.parse(f"{address}/a/b:1"), options, timing=Clock().timing).open()


def test_unknown_authority_is_refused(secure: str) -> None:
    with pytest.raises(RemoteError, match=r"certificate verify failed") as caught:
        ask(secure, StoreOptions())
    assert "--ca-file" in (caught.value.hint or "")


def test_named_authority_is_trusted(secure: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"'docker://127.0.0.1:\d+/a/b:1' does not exist"):
        ask(secure, StoreOptions(ca_file=tmp_path / "cert.pem"))


def test_no_verification_when_asked_for(secure: str) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        ask(secure, StoreOptions(tls_verify=False))


def test_authority_file_must_hold_certificates(secure: str, tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_text("junk")
    with pytest.raises(UsageError, match=r"junk\.pem' holds no certificates"):
        ask(secure, StoreOptions(ca_file=tmp_path / "junk.pem"))
