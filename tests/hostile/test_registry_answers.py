"""Answers of registries that would take all memory, all time, or the program down: each ends, in bounds, in words."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .registryserver import Answer, Server, Write, client, logins, message

MEMORY = 150  # MiB; what Python and the modules take is about 40
WALL = 25  # seconds; a second without progress is allowed, and the machine may be busy


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().running() as running:
        yield running


def head(status: int, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode("latin-1")


def endless(first: bytes, *pieces: bytes, pause: float = 0) -> Callable[[int], Answer]:
    """Return an answer that begins with a status and goes on until nobody listens."""

    def of(status: int) -> Answer:
        def answer(write: Write) -> None:
            write(first.replace(b"STATUS", str(status).encode()))
            for piece in itertools.cycle(pieces):
                write(piece)
                if pause:
                    time.sleep(pause)

        return answer

    return of


CHUNKED = b"HTTP/1.1 STATUS X\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 STATUS X\r\nConnection: close\r\n\r\n"
BLOCK = b" " * (1 << 16)
DRIP = 0.2

FRAMINGS: dict[str, Callable[[int], Answer]] = {
    "chunk of minus one": endless(CHUNKED + b"-1\r\n", BLOCK),
    "chunk of minus many": endless(CHUNKED + b"-7fffffff\r\n", BLOCK),
    "chunk of 16 digits": endless(CHUNKED + b"ffffffffffffffff\r\n", BLOCK),
    "chunk of 15 digits": endless(CHUNKED + b"fffffffffffffff\r\n", BLOCK),
    "chunk with 0x": endless(CHUNKED + b"0x7fffffff\r\n", BLOCK),
    "chunk with a line below": endless(CHUNKED + b"7_fffffff\r\n", BLOCK),
    "chunks without end": endless(CHUNKED, b"10000\r\n" + BLOCK + b"\r\n"),
    "one extension without end": endless(CHUNKED + b"1;", BLOCK),
    "an extension a byte": endless(CHUNKED, (b"1;x=" + b"y" * 900 + b"\r\n \r\n") * 50),
    "chunks of a byte": endless(CHUNKED, b"1\r\n \r\n" * 10_000),
    "trailers without end": endless(CHUNKED + b"1\r\n \r\n0\r\n", b"X: y\r\n" * 1000),
    "body without end": endless(PLAIN, BLOCK),
    "length that is no number": endless(b"HTTP/1.1 STATUS X\r\nContent-Length: x\r\n\r\n", BLOCK),
    "length below nothing": endless(b"HTTP/1.1 STATUS X\r\nContent-Length: -1\r\n\r\n", BLOCK),
    "length of 5000 digits": endless(b"HTTP/1.1 STATUS X\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", BLOCK),
    "two lengths": endless(b"HTTP/1.1 STATUS X\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n", BLOCK),
    "100 without end": endless(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "headers without end": endless(b"HTTP/1.1 STATUS X\r\n", b"X: y\r\n" * 1000),
    "one header without end": endless(b"HTTP/1.1 STATUS X\r\nX: ", BLOCK),
    "status without end": endless(b"HTTP/1.1 STATUS ", BLOCK),
    "dripping headers": endless(b"HTTP/1.1 STATUS X\r\n", b"x", pause=DRIP),
    "dripping body": endless(PLAIN, b" ", pause=DRIP),
    "dripping chunks": endless(CHUNKED, b"1\r\n \r\n", pause=DRIP),
    "dripping extension": endless(CHUNKED + b"1;", b"x", pause=DRIP),
    "dripping 100": endless(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", pause=DRIP),
    "silence": lambda _: lambda _write: time.sleep(4),
}
PLACES = ("token", "error", "referrers", "blob")
OFTEN = (
    "chunk of minus one",
    "an extension a byte",
    "chunks of a byte",
    "trailers without end",
    "body without end",
    "length of 5000 digits",
    "100 without end",
    "headers without end",
    "dripping headers",
    "dripping body",
)
"""What is tried in every place; the rest where a manifest should be."""

MANIFEST = (
    b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": '
    b'"application/vnd.oci.image.config.v1+json", "digest": "sha256:%s", "size": 10000}, "layers": []}' % (b"a" * 64)
)


def place(server: Server, where: str, answer: Callable[[int], Answer], folder: Path) -> str:
    """Have the server give the answer in some place; return what the client has to do to get there."""
    if where == "manifest":
        server.rule("GET /v2/a/b/manifests/", answer(200))
    elif where == "error":
        server.rule("GET /v2/a/b/manifests/", answer(400))
    elif where == "token":
        logins(folder, server.address)
        realm = f'Bearer realm="http://{server.address}/token",service="s"'
        server.rule("GET /v2/", message(401, WWW_Authenticate=realm))
        server.rule("GET /token", answer(200))
    elif where == "blob":
        server.rule("GET /v2/a/b/manifests/", message(200, MANIFEST))
        server.rule("GET /v2/a/b/blobs/", answer(200))
    else:
        server.rule("GET /v2/a/b/referrers/", answer(200))
        return "referrers"
    return "pull"


@pytest.mark.parametrize(
    ("framing", "where"),
    [(framing, "manifest") for framing in FRAMINGS] + [(framing, where) for framing in OFTEN for where in PLACES],
)
def test_no_framing_takes_all(server: Server, tmp_path: Path, framing: str, where: str) -> None:
    what = place(server, where, FRAMINGS[framing], tmp_path)
    found = client(what, server.address, tmp_path)
    assert found.code in {5, 75}, found.said
    assert "Traceback" not in found.said
    assert found.memory < MEMORY, found
    assert found.wall < WALL, found


NUMBER = "9" * 5000
DATE = "Mon, 01 Jan 0001 00:00:00 +2359"
DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("where", "answer", "code"),
    [
        ("manifest", message(429, Retry_After=NUMBER), 75),
        ("manifest", message(503, Retry_After="Mon, 01 Jan 99999 00:00:00 GMT", Date=DATE), 75),
        ("manifest", message(503, Retry_After="Fri, 31 Dec 9999 23:59:59 -2359", Date=DATE), 75),
        ("manifest", message(503, Retry_After="Mon, 01 Jan 2035 00:00:00 +" + NUMBER, Date="x"), 75),
        ("manifest", message(503, Retry_After="\xb2\xb3"), 75),
        ("manifest", message(200, b'{"schemaVersion": ' + NUMBER.encode() + b"}"), 2),
        ("manifest", message(200, MANIFEST.replace(b"10000", NUMBER.encode())), 2),
        ("manifest", message(200, MANIFEST.replace(b"10000", b"1e999")), 2),
        ("manifest", message(200, MANIFEST.replace(b"10000", b"-1")), 2),
        ("manifest", message(200, MANIFEST.replace(b"10000", b"true")), 2),
        ("manifest", message(200, b'{"layers": ' + DEEP), 2),
        ("manifest", message(200, b"\xff\xfe{"), 5),
        ("manifest", message(200, b"[]"), 5),
        ("manifest", message(200, b""), 5),
        ("manifest", message(200, b"<!DOCTYPE html><title>Log in</title>"), 5),
        ("manifest", message(200, b"{}", Content_Type="text/html; charset=utf-8"), 5),
        ("manifest", message(200, MANIFEST, Docker_Content_Digest="sha256:" + "b" * 64), 5),
        ("error", message(400, b'{"errors": ' + NUMBER.encode() + b"}"), 5),
        ("error", message(400, b'{"errors": ' + DEEP), 5),
        ("error", message(400, b'{"errors": [{"code": 5, "message": {"a": 1}}, 7]}'), 5),
        ("token", message(200, b'{"token": "x", "expires_in": ' + NUMBER.encode() + b"}"), 5),
        ("token", message(200, b"<html></html>"), 5),
        ("token", message(200, b"{}", Content_Type="text/html"), 5),
        ("token", message(200, DEEP), 5),
        ("token", message(302, Location="http://127.0.0.1:1/token"), 5),
        ("referrers", message(200, b'{"manifests": ' + NUMBER.encode() + b"}"), 5),
        ("referrers", message(200, b'{"manifests": [{"mediaType": "a", "digest": "b", "size": 1}]}'), 5),
        ("referrers", message(200, b"<html></html>"), 5),
        ("referrers", message(200, b'{"manifests": []}', Link="<http://127.0.0.1:1/x>; rel=next"), 5),
        ("referrers", message(200, b'{"manifests": []}', Link='<http:\\\\x>; rel="next"'), 5),
        ("blob", message(200, b"<html></html>", Content_Type="text/html"), 5),
        ("blob", head(200, "Content-Length: \xb2"), 5),
        ("blob", head(200, "Content-Length: " + NUMBER), 5),
    ],
)
def test_odd_values_are_the_registrys_fault(
    server: Server, tmp_path: Path, where: str, answer: bytes, code: int
) -> None:
    found = client(place(server, where, lambda _: answer, tmp_path), server.address, tmp_path)
    assert found.code == code, found.said
    assert "Traceback" not in found.said
    assert found.memory < MEMORY
    assert found.wall < WALL


def test_a_web_page_is_called_one(server: Server, tmp_path: Path) -> None:
    server.rule("GET /v2/a/b/manifests/", message(200, b"<html>", Content_Type="text/html"))
    found = client("pull", server.address, tmp_path)
    assert f"registry '{server.address}' answered manifest 'a/b:1' with a web page" in found.out
    assert "log-in page of a network" in found.out


@pytest.mark.parametrize("said", ["bytes 5-", "bytes \xb2-9/10", f"bytes {NUMBER}-9/10", "x"])
def test_odd_ranges_are_the_registrys_fault(server: Server, tmp_path: Path, said: str) -> None:
    half = head(200, "Content-Length: 10000") + b"x" * 5000
    answers = iter([lambda write: write(half), head(206, f"Content-Range: {said}", "Content-Length: 5000")])
    server.rule("GET /v2/a/b/manifests/", message(200, MANIFEST))
    server.rule("GET /v2/a/b/blobs/", lambda write: _say(next(answers), write))
    found = client("pull", server.address, tmp_path)
    assert found.code in {5, 75}, found.said
    assert "Traceback" not in found.said


def _say(answer: Answer, write: Write) -> None:
    if callable(answer):
        answer(write)
    else:
        write(answer)


def test_lists_that_go_on_for_ever_end(server: Server, tmp_path: Path) -> None:
    server.rule("GET /v2/a/b/referrers/", message(200, b'{"manifests": []}', Link='</v2/a/b/referrers/x>; rel="next"'))
    found = client("referrers", server.address, tmp_path)
    assert found.code == 0, found.said
    assert 10 < len(server.seen) < 100
