"""Every fault is ridden out, or is a clear error of the right kind, and no tag moves."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from made import Clock, authfile, contents_of, digests, image, read_image, write
from misbehaving import Break, BreakUpload, Corrupt, FaultyRegistry, Forward, Header, Longer, Stall, Status

from runtimeimg.errors import IntegrityError, NotFoundError, RemoteError, RuntimeimgError, TransientError
from runtimeimg.image import Image, choose_platform
from runtimeimg.oci import Digest, Reference
from runtimeimg.stores import StoreOptions, Written
from runtimeimg.stores.registry import RegistryDestination, RegistrySource

pytestmark = pytest.mark.registry

SIZE = 3_000_000
Faulty = Callable[..., FaultyRegistry]


class Client:
    """Pushes to and pulls from a misbehaving registry, with a clock that does not wait."""

    def __init__(self, proxy: FaultyRegistry, repository: str, **options: float) -> None:
        self.proxy = proxy
        self.clock = Clock()
        self.options = StoreOptions(**options)  # type: ignore[arg-type] # attempts and timeout
        self.name = f"{proxy.address}/{repository}"

    def push(self, made: Image, tag: str = "1") -> Written:
        reference = Reference.parse(f"{self.name}:{tag}")
        return RegistryDestination(reference, self.options, timing=self.clock.timing).write(made)

    def pull(self, tag: str = "1") -> Image:
        reference = Reference.parse(f"{self.name}:{tag}")
        return choose_platform(RegistrySource(reference, self.options, timing=self.clock.timing).open(), None)


@pytest.fixture
def client(faulty: Faulty, repository: str) -> Client:
    return Client(faulty(), repository)


def same(found: Image, made: Image) -> bool:
    """Tell whether an image that was read is the one that was made, to the last byte."""
    return found.to_manifest().raw == made.to_manifest().raw and contents_of(found) == digests(
        [item.descriptor for item in made.layers]
    )


def ending(made: Image) -> str:
    """Return what matches the request that ends the upload of the first layer."""
    return f"/uploads/.*digest=sha256%3A{made.layers[0].descriptor.digest.encoded}"


TRANSIENT = [Status(code=code) for code in (408, 429, 500, 502, 503, 504)]


@pytest.mark.parametrize("fault", [*TRANSIENT, Break(after=0)], ids=lambda item: getattr(item, "code", "reset"))
@pytest.mark.parametrize(("method", "path"), [("GET", "/manifests/"), ("GET", "/blobs/")])
def test_pull_rides_out_what_passes(client: Client, fault: Status | Break, method: str, path: str) -> None:
    made = image(20)
    client.push(made)
    client.proxy.rule(method, path, fault, times=2)
    assert same(client.pull(), made)
    assert len(client.clock.slept) >= 1


@pytest.mark.parametrize("fault", [*TRANSIENT, Break(after=0)], ids=lambda item: getattr(item, "code", "reset"))
@pytest.mark.parametrize(
    ("method", "path"), [("HEAD", "/blobs/"), ("POST", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/manifests/")]
)
def test_push_rides_out_what_passes(client: Client, fault: Status | Break, method: str, path: str) -> None:
    made = image(21)
    client.proxy.rule(method, path, fault, times=2)
    client.push(made)
    assert same(client.pull(), made)


def test_back_off_doubles_and_gives_up(client: Client) -> None:
    client.proxy.rule("GET", "/manifests/", Status(code=503), times=99)
    with pytest.raises(TransientError, match=r"answered manifest .* with 503 .*\(tried 5 times\)") as caught:
        client.pull()
    assert caught.value.exit_code == 75
    assert client.clock.slept == [0.5, 1.0, 2.0, 4.0]
    assert len(client.proxy.seen("GET", "/manifests/")) == 5


def test_retry_after_is_honoured(client: Client) -> None:
    client.push(image(22))
    client.proxy.rule("GET", "/manifests/", Status(code=429, headers={"Retry-After": "7"}))
    dated = {"Date": "Mon, 01 Jan 2035 00:00:00 GMT", "Retry-After": "Mon, 01 Jan 2035 00:00:11 GMT"}
    client.proxy.rule("GET", "/manifests/", Status(code=503, headers=dated))
    client.proxy.rule("GET", "/manifests/", Status(code=429, headers={"Retry-After": "soon"}))
    client.pull()
    assert client.clock.slept[:2] == [7.0, pytest.approx(11.0, abs=0.01)]
    assert client.clock.slept[2] == 2.0


def test_longer_waits_than_anybody_wants_end_at_once(client: Client) -> None:
    client.proxy.rule("GET", "/manifests/", Status(code=429, headers={"Retry-After": "3600"}), times=9)
    with pytest.raises(TransientError) as caught:
        client.pull()
    assert caught.value.hint == "it asks to be tried again in 3600 seconds"
    assert client.clock.slept == []


@pytest.mark.parametrize("code", [400, 405, 406, 410, 451, 501])
def test_refusals_for_good_are_not_repeated(client: Client, code: int) -> None:
    body = b'{"errors": [{"code": "BROKEN", "message": "a\\u001b[31m \\nline"}]}'
    client.proxy.rule("GET", "/manifests/", Status(code=code, body=body), times=9)
    with pytest.raises(RemoteError, match=rf"refused manifest .*: {code} BROKEN: a \[31m line$") as caught:
        client.pull()
    assert caught.value.exit_code == 5
    assert len(client.proxy.seen("GET", "/manifests/")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Break(after=1_000_000),
        Break(after=1_000_000, clean=True),
        Break(after=1_000_000, clean=True, announce=False),
    ],
    ids=["reset", "ends early", "ends early unannounced"],
)
def test_broken_download_is_taken_up_where_it_broke(client: Client, fault: Break) -> None:
    made = image(23, SIZE, layers=1)
    client.push(made)
    found = client.pull()
    client.proxy.log.clear()
    client.proxy.rule("GET", "/blobs/", fault, times=3)
    assert same(found, made)
    asked = [item.headers.get("Range", "") for item in client.proxy.seen("GET", "/blobs/")]
    assert len(asked) == 4
    starts = [int(item.removeprefix("bytes=").rstrip("-") or 0) for item in asked]
    assert starts == sorted(starts)
    assert starts[1] > 500_000


def test_registry_without_ranges_sends_all_again(client: Client) -> None:
    made = image(24, SIZE, layers=1)
    client.push(made)
    found = client.pull()
    client.proxy.rule("GET", "/blobs/", Break(after=1_500_000))
    client.proxy.rule("GET", "/blobs/", Forward(drop=("range",)))
    assert same(found, made)


def test_registry_that_sends_another_range_is_refused(client: Client) -> None:
    made = image(25, SIZE, layers=1)
    client.push(made)
    found = client.pull()
    client.proxy.rule("GET", "/blobs/", Break(after=1_500_000))
    client.proxy.rule("GET", "/blobs/", Header(name="Content-Range", value="bytes 5-100/200"))
    with pytest.raises(RemoteError, match="sent another part"):
        contents_of(found)


def test_download_that_never_gets_on_gives_up(client: Client) -> None:
    client.push(image(26, SIZE, layers=1))
    found = client.pull()
    client.proxy.rule("GET", "/blobs/", Break(after=1000), times=99)
    with pytest.raises(TransientError, match="tried 5 times"):
        contents_of(found)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Corrupt(at=1_000_000), "has the digest sha256:[0-9a-f]{64}, not sha256:"),
        (Longer(extra=10), "is longer than"),
        (Header(name="Content-Length", value="17"), "is 17 bytes, not the"),
    ],
    ids=["corrupted", "too long", "another length"],
)
def test_wrong_bytes_are_never_taken(
    client: Client, tmp_path: Path, fault: Corrupt | Longer | Header, message: str
) -> None:
    client.push(image(27, SIZE, layers=1))
    found = client.pull()
    client.proxy.rule("GET", "/blobs/", fault, times=9)
    with pytest.raises(IntegrityError, match=message) as caught:
        write(f"oci:{tmp_path}/layout:1", found)
    assert caught.value.exit_code == 5
    with pytest.raises(NotFoundError):
        read_image(f"oci:{tmp_path}/layout:1")
    assert not list((tmp_path / "layout").glob(".runtimeimg*"))
    assert not (tmp_path / "layout/blobs/sha256" / found.layers[0].descriptor.digest.encoded).exists()


@pytest.mark.parametrize("at", [0, 300])
def test_corrupted_manifest_is_refused(client: Client, at: int) -> None:
    client.push(image(28))
    client.proxy.rule("GET", "/manifests/", Corrupt(at=at), times=2)
    with pytest.raises(IntegrityError, match="manifest of 'docker://"):
        client.pull()


def test_wrong_digest_header_is_refused(client: Client) -> None:
    client.push(image(29))
    client.proxy.rule("GET", "/manifests/", Header(name="Docker-Content-Digest", value=Digest.of(b"x")), times=2)
    with pytest.raises(IntegrityError):
        client.pull()


def test_config_that_is_corrupted_is_refused(client: Client) -> None:
    client.push(image(30))
    client.proxy.rule("GET", "/blobs/", Corrupt(at=5), times=2)
    with pytest.raises(IntegrityError, match="blob sha256"):
        client.pull()


def test_silence_is_ended_and_ridden_out(faulty: Faulty, repository: str) -> None:
    client = Client(faulty(), repository, timeout=1)
    made = image(31, SIZE, layers=1)
    client.push(made)
    found = client.pull()
    client.proxy.rule("GET", "/blobs/", Stall(seconds=3, after=1_000_000))
    assert same(found, made)


def test_slow_answers_are_waited_for(client: Client) -> None:
    made = image(32)
    client.proxy.rule("PUT", "/manifests/", Stall(seconds=0.3), times=2)
    client.push(made)
    client.proxy.rule("GET", "/", Stall(seconds=0.3), times=3)
    assert same(client.pull(), made)
    assert client.clock.slept == []


@pytest.mark.parametrize("after", [0, 1, 1_000_000])
def test_broken_upload_is_made_again(client: Client, after: int) -> None:
    made = image(33, SIZE, layers=1)
    client.proxy.rule("PUT", "/uploads/", BreakUpload(after=after), times=2)
    client.push(made)
    assert same(client.pull(), made)
    assert client.options.account.uploaded_bytes == made.layers[0].descriptor.size + len(made.config.raw)


@pytest.mark.parametrize("code", [405, 411, 413])
def test_upload_that_is_not_taken_whole_goes_in_pieces(
    client: Client, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtimeimg.stores.registry.upload._PIECES", (1 << 20, 1 << 18))
    made = image(34, SIZE, layers=1)
    client.proxy.rule("PUT", ending(made), Status(code=code))
    client.push(made)
    assert same(client.pull(), made)
    ranges = [item.headers["Content-Range"] for item in client.proxy.seen("PATCH", "/uploads/")]
    assert "0-1048575" in ranges
    assert "1048576-2097151" in ranges


def test_piece_that_is_still_too_large_gets_smaller(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtimeimg.stores.registry.upload._PIECES", (1 << 20, 1 << 19))
    made = image(35, SIZE, layers=1)
    client.proxy.rule("PUT", ending(made), Status(code=413))
    client.proxy.rule("PATCH", "/uploads/", Status(code=413))
    client.push(made)
    assert same(client.pull(), made)


def test_what_is_never_taken_is_refused(client: Client) -> None:
    client.proxy.rule("PUT", "/uploads/", Status(code=413), times=9)
    client.proxy.rule("PATCH", "/uploads/", Status(code=413), times=9)
    with pytest.raises(RemoteError, match=r"refused upload of blob sha256:.*413"):
        client.push(image(36))


@pytest.mark.parametrize("fault", [BreakUpload(after=500_000), Break(after=0), Status(code=502), Status(code=416)])
def test_broken_piece_is_taken_up_where_it_broke(
    client: Client, monkeypatch: pytest.MonkeyPatch, fault: BreakUpload | Break | Status
) -> None:
    monkeypatch.setattr("runtimeimg.stores.registry.upload._PIECES", (1 << 20,))
    made = image(37, SIZE, layers=1)
    client.proxy.rule("PUT", ending(made), Status(code=413))
    client.proxy.rule("PATCH", "/uploads/", fault, skip=1)
    client.push(made)
    assert same(client.pull(), made)
    assert client.proxy.seen("GET", "/uploads/")


def test_lost_upload_is_begun_anew(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtimeimg.stores.registry.upload._PIECES", (1 << 20,))
    made = image(38, SIZE, layers=1)
    client.proxy.rule("PUT", ending(made), Status(code=404))
    client.proxy.rule("PUT", ending(made), Status(code=413))
    client.proxy.rule("PATCH", "/uploads/", Status(code=404), skip=1)
    client.proxy.rule("GET", "/uploads/", Status(code=404))
    client.push(made)
    assert same(client.pull(), made)


@pytest.mark.parametrize(
    ("method", "path", "fault", "kind"),
    [
        ("POST", "/uploads/", Status(code=503), TransientError),
        ("POST", "/uploads/", Status(code=400), RemoteError),
        ("PUT", "/uploads/", Break(after=0), TransientError),
        ("PUT", "/uploads/", BreakUpload(after=10), TransientError),
        ("PUT", "/uploads/", Status(code=400), RemoteError),
        ("PUT", "/uploads/", Header(name="Docker-Content-Digest", value=Digest.of(b"x")), IntegrityError),
        ("PUT", "/manifests/", Status(code=500), TransientError),
        ("PUT", "/manifests/", Status(code=400), RemoteError),
        ("PUT", "/manifests/", Header(name="Docker-Content-Digest", value=Digest.of(b"x")), IntegrityError),
    ],
)
def test_failed_push_leaves_the_tag(
    client: Client, method: str, path: str, fault: Status | Break | BreakUpload | Header, kind: type[RuntimeimgError]
) -> None:
    old, new = image(39), image(40)
    client.push(old)
    client.proxy.rule(method, path, fault, times=99)
    with pytest.raises(kind):
        client.push(new)
    client.proxy._rules.clear()
    assert same(client.pull(), old)
    client.push(new)
    assert same(client.pull(), new)


def test_source_that_breaks_ends_the_push_and_leaves_the_tag(client: Client) -> None:
    old, new = image(41), image(42, SIZE, layers=1)
    client.push(old, "target")
    client.push(new, "source")
    other = Client(client.proxy, "test/elsewhere")
    other.push(old)
    client.proxy.rule("POST", "mount=", Status(code=405), times=9)
    client.proxy.rule("GET", "/blobs/", Corrupt(at=2_500_000), skip=1, times=9)
    with pytest.raises(IntegrityError, match="has the digest"):
        other.push(client.pull("source"))
    client.proxy._rules.clear()
    assert same(other.pull(), old)


def test_redirected_download_does_not_take_the_login_along(faulty: Faulty, repository: str, tmp_path: Path) -> None:
    made = image(43)
    storage = faulty()
    front = faulty(auth="basic")
    client = Client(storage, repository)
    client.push(made)
    layer = made.layers[0].descriptor.digest
    address = f"http://{storage.address}/v2/{repository}/blobs/{layer}?signature=secret"
    front.rule("GET", f"/blobs/{layer}", Status(code=307, headers={"Location": address}), times=9)
    options = StoreOptions(authfile=authfile(tmp_path / "auth.json", front.address))
    found = choose_platform(RegistrySource(Reference.parse(f"{front.address}/{repository}:1"), options).open(), None)
    storage.log.clear()
    assert same(found, made)
    (seen,) = storage.seen("GET", layer)
    assert "Authorization" not in seen.headers
    storage.rule("GET", layer, Status(code=400), times=9)
    with pytest.raises(RemoteError) as caught:
        contents_of(found)
    assert "secret" not in str(caught.value)


def test_redirects_in_a_circle_end(client: Client) -> None:
    client.push(image(44))
    found = client.pull()
    layer = found.layers[0].descriptor.digest
    client.proxy.rule("GET", layer, Status(code=302, headers={"Location": "?again"}), times=99)
    with pytest.raises(RemoteError, match=r"redirects blob .* more than 5 times"):
        contents_of(found)


def test_nobody_listens(repository: str) -> None:
    clock = Clock()
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        reference = Reference.parse(f"127.0.0.1:{deaf.getsockname()[1]}/{repository}:1")
        source = RegistrySource(reference, StoreOptions(), timing=clock.timing)
        with pytest.raises(TransientError, match=r"registry '127.0.0.1:\d+': connection refused \(tried 5 times\)"):
            source.open()
    assert len(clock.slept) == 4


def test_name_that_is_not_known_is_not_tried_again() -> None:
    clock = Clock()
    options = StoreOptions(plain_http=frozenset({"registry.invalid"}))
    source = RegistrySource(Reference.parse("registry.invalid/x:1"), options, timing=clock.timing)
    with pytest.raises((RemoteError, TransientError), match=r"registry 'registry.invalid'"):
        source.open()


def test_registry_that_speaks_no_tls_is_named(faulty: Faulty) -> None:
    proxy = faulty()
    port = proxy.address.rpartition(":")[2]
    from runtimeimg.stores.registry.address import Address
    from runtimeimg.stores.registry.failures import connection_failure
    from runtimeimg.stores.registry.http import Http
    from runtimeimg.stores.registry.places import push_place

    options = StoreOptions()
    http = Http(push_place(Reference.parse(f"{proxy.address}/x"), options), options)
    try:
        with pytest.raises(Exception, match=r"(?i)ssl|record layer") as caught:
            http.send("GET", Address.parse(f"https://127.0.0.1:{port}/v2/"), {})
    finally:
        http.close()
    error = connection_failure(caught.value, proxy.address)
    assert isinstance(error, RemoteError)
    assert error.message == f"registry '{proxy.address}' does not speak TLS"
