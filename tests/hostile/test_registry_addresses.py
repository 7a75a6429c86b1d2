"""Where a registry sends: no login goes to a host that it is not for, and what readers take in two ways is refused."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from runtimeimg.errors import RemoteError, RuntimeimgError, UsageError
from runtimeimg.image import choose_platform
from runtimeimg.oci import Digest, Reference
from runtimeimg.oci.documents import dump_json
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.registry import RegistryDestination, RegistrySource
from runtimeimg.stores.registry.address import Address, BadAddressError

from .registryserver import Server, logins, message

LAYER = b"a layer"
CONFIG = dump_json(
    {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [Digest.of(LAYER)]}}
)
MANIFEST = dump_json(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest.of(CONFIG),
            "size": len(CONFIG),
        },
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": Digest.of(LAYER), "size": len(LAYER)}
        ],
    }
)
BASIC = "Basic " + base64.b64encode(b"jane:s3cret").decode()

# T is another host, R the registry itself.
REFUSED = [
    r"http://T\@R/x",
    r"http://T\\@R/x",
    r"//T\@R/x",
    r"\\T/x",
    r"/\T/x",
    r"http:\\T/x",
    r"http:/\T/x",
    r"http://R\T/x",
    "http://jane:pw@T/x",
    "http://R@T/x",
    "http://R:80@T/x",
    "http://@T/x",
    "//R@T/x",
    "http://T:0/x",
    "http://T:99999/x",
    "http://127.0.0.1:-1/x",
    "http://127.0.0.1:+80/x",
    "http://127.0.0.1:8_0/x",
    "http://127.0.0.1:\xb2/x",
    "http://T\t/x",
    "http://T/x y",
    "ht\ttp://T/x",
    "http://T/\x01",
    "http://T/\x7f",
    "http://T\xa0/x",
    "http://\xff/x",
    "http://[::1/x",
    "http://[x]/x",
    "http://T]/x",
    "http:///x",
    "http://",
    "file:///etc/passwd",
    "ftp://T/x",
    "gopher://T/x",
    "javascript:alert(1)",
    "data:,x",
    "http://T/" + "x" * 20_000,
]
TAKEN = ["http://T/x", "//T/x", "HTTP://T/x", "http://T?x", "http://T#@R/x", "http://T/@R/x", "http://T/x?u=http://R/"]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Server]:
    with Server().running() as running:
        logins(tmp_path, running.address)
        yield running


@pytest.fixture
def thief() -> Iterator[Server]:
    with Server().running() as running:
        running.rule("", message(200, LAYER))
        yield running


def asks_for_a_login(server: Server) -> None:
    """Have a registry that gives nothing without the login (its first answer asks for it)."""
    challenge = message(401, WWW_Authenticate='Basic realm="r"')
    plain = server._answer
    server._answer = lambda method, path: (  # type: ignore[method-assign]
        plain(method, path) if server.seen[-1].headers.get("authorization") == BASIC else challenge
    )


def named(text: str, registry: Server, thief: Server) -> str:
    return re.sub(r"\bT\b", thief.address, re.sub(r"\bR\b", registry.address, text))


def options(tmp_path: Path) -> StoreOptions:
    return StoreOptions(etc=tmp_path, environ={"DOCKER_CONFIG": str(tmp_path)}, attempts=1, timeout=5)


def pull(registry: Server, tmp_path: Path) -> bytes:
    found = choose_platform(
        RegistrySource(Reference.parse(f"{registry.address}/a/b:1"), options(tmp_path)).open(), None
    )
    with found.layers[0].open() as reader:
        return reader.read()


def holds_an_image(registry: Server, location: str) -> None:
    """Have a registry that holds an image whose layer is at `location`."""
    registry.rule(f"GET .*/blobs/{Digest.of(CONFIG)}", message(200, CONFIG))
    registry.rule("GET .*/blobs/", message(307, Location=location))
    registry.rule("GET .*/manifests/", message(200, MANIFEST))


@pytest.mark.parametrize("location", REFUSED)
def test_redirects_that_are_no_addresses_are_refused(
    registry: Server, thief: Server, tmp_path: Path, location: str
) -> None:
    holds_an_image(registry, named(location, registry, thief))
    asks_for_a_login(registry)
    with pytest.raises(RemoteError, match="points to an address that") as caught:
        pull(registry, tmp_path)
    assert thief.seen == []
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("location", TAKEN)
def test_redirects_elsewhere_take_no_login_along(
    registry: Server, thief: Server, tmp_path: Path, location: str
) -> None:
    holds_an_image(registry, named(location, registry, thief))
    asks_for_a_login(registry)
    assert pull(registry, tmp_path) == LAYER
    assert thief.seen
    assert all("authorization" not in item.headers for item in thief.seen)
    assert any(item.headers.get("authorization") == BASIC for item in registry.seen)


@pytest.mark.parametrize("location", [*REFUSED[:12], "http://T/x"])
def test_uploads_go_to_an_address_without_the_login(
    registry: Server, thief: Server, tmp_path: Path, location: str
) -> None:
    holds_an_image(registry, f"http://{thief.address}/layer")
    found = RegistrySource(Reference.parse(f"{registry.address}/a/b:1"), options(tmp_path)).open()
    thief.seen.clear()
    registry.rule("POST /v2/", message(202, Location=named(location, registry, thief)))
    asks_for_a_login(registry)
    with pytest.raises(RuntimeimgError):
        RegistryDestination(Reference.parse(f"{registry.address}/c/d:1"), options(tmp_path)).write(found)
    assert all("authorization" not in item.headers for item in thief.seen)
    assert bool([item for item in thief.seen if item.method == "PUT"]) is (location == "http://T/x")


@pytest.mark.parametrize("realm", REFUSED)
def test_token_servers_that_are_no_addresses_are_refused(
    registry: Server, thief: Server, tmp_path: Path, realm: str
) -> None:
    where = named(realm, registry, thief).replace("\\", "\\\\")
    registry.rule("", message(401, WWW_Authenticate=f'Bearer realm="{where}",service="s"'))
    with pytest.raises(RuntimeimgError) as caught:
        pull(registry, tmp_path)
    assert caught.value.exit_code == 5
    assert thief.seen == []
    assert "s3cret" not in str(caught.value)


def test_a_token_server_without_tls_on_another_host_gets_no_login(registry: Server, tmp_path: Path) -> None:
    registry.rule("", message(401, WWW_Authenticate='Bearer realm="http://elsewhere.test/token",service="s"'))
    with pytest.raises(RemoteError, match=r"'http://elsewhere.test'; the login from '.*config.json' is not sent there"):
        pull(registry, tmp_path)


@pytest.mark.parametrize(
    "scope",
    [
        "repository:other/secret:pull",
        "repository:a/b:pull,push,delete",
        "repository:a/b:*",
        "registry:catalog:*",
        "repository:a/b:pull repository:c/d:push",
    ],
)
def test_a_challenge_does_not_widen_what_is_asked_for(registry: Server, tmp_path: Path, scope: str) -> None:
    realm = f'Bearer realm="http://{registry.address}/token",service="s",scope="{scope}"'
    registry.rule("GET /token", message(200, json.dumps({"token": "t"}).encode()))
    registry.rule("", message(401, WWW_Authenticate=realm))
    with pytest.raises(RuntimeimgError):
        pull(registry, tmp_path)
    (asked,) = [item for item in registry.seen if item.path.startswith("/token")]
    assert parse_qs(urlsplit(asked.path).query)["scope"] == ["repository:a/b:pull"]
    assert asked.headers["authorization"] == BASIC


@pytest.mark.parametrize("where", ["http://T/v2/a/b/referrers/x", r"http://T\@R/x", "//T/x", "http://T:0/"])
def test_lists_go_on_at_the_registry_alone(registry: Server, thief: Server, tmp_path: Path, where: str) -> None:
    from runtimeimg import provenance

    link = f'<{named(where, registry, thief)}>; rel="next"'
    registry.rule("GET .*/referrers/", message(200, b'{"manifests": []}', Link=link))
    with pytest.raises(RemoteError, match="continues a list"):
        provenance.read(Reference.parse(f"{registry.address}/a/b:1"), Digest.of(b"x"), options(tmp_path))
    assert thief.seen == []


def test_tls_is_never_given_up() -> None:
    base = Address.parse("https://r.test/v2/x")
    assert Address.parse("/y?z#f", base).url == "https://r.test/y?z"
    assert Address.parse("http://r.test:81/y").as_secure(base).url == "https://r.test/y"
    assert Address.parse("https://R.Test:443/").authority == base.authority
    with pytest.raises(BadAddressError, match="holds a user name"):
        Address.parse("https://u@r.test/")


@pytest.mark.parametrize(
    "proxy",
    [
        "http://u:s3cret@[bad",
        "socks5://u:s3cret@h:1",
        "http://u:s3cret@h:99999",
        "u:s3cret@h:x",
        "http://",
        "://u:s3cret",
    ],
)
def test_proxies_that_are_no_addresses_are_refused_without_their_password(tmp_path: Path, proxy: str) -> None:
    options = StoreOptions(etc=tmp_path, environ={"https_proxy": proxy}, attempts=1)
    with pytest.raises(UsageError, match="proxy of the environment") as caught:
        RegistrySource(Reference.parse("r.invalid/a/b:1"), options).open()
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
