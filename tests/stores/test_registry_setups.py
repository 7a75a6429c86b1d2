"""Registries as people set them up, each the real program: pushed to and pulled from."""

import json
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from made import Clock, authfile, contents_of, digests, image
from served import PASSWORD, USER, Keys, TokenServer, htpasswd, serve

from runtimeimg.errors import AuthError, NotFoundError, RemoteError, UsageError
from runtimeimg.image import choose_platform
from runtimeimg.oci import Location, Reference
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.stores.registry import RegistryDestination, RegistrySource, http

pytestmark = [pytest.mark.registry, pytest.mark.openssl]

LOGIN = f"{USER}:{PASSWORD}"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    made = Keys.make(tmp_path_factory.mktemp("keys") / "keys")
    made.sign("server")
    made.sign("client", usage="clientAuth")
    return made


def tls(keys: Keys, **more: object) -> dict[str, object]:
    """Return the section of a registry that speaks TLS."""
    return {"tls": {"certificate": str(keys.folder / "server.pem"), "key": str(keys.folder / "server.key"), **more}}


def round_trip(address: str, options: StoreOptions, repository: str = "team/app", seed: int = 1) -> None:
    """Push an image, pull it again, and compare every byte."""
    made = image(seed)
    reference = Reference.parse(f"{address}/{repository}:1")
    RegistryDestination(reference, options, timing=Clock().timing).write(made)
    found = choose_platform(RegistrySource(reference, options, timing=Clock().timing).open(), None)
    assert found.to_manifest().raw == made.to_manifest().raw
    assert contents_of(found) == digests([item.descriptor for item in made.layers])


def write_conf(folder: Path, text: str) -> Path:
    """Write the registries.conf of a folder of settings."""
    path = folder / "containers" / "registries.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_plain_on_loopback(stack: ExitStack, tmp_path: Path) -> None:
    round_trip(stack.enter_context(serve(tmp_path / "r")), StoreOptions(etc=tmp_path))


def test_tls_on_loopback_with_an_authority_of_its_own(stack: ExitStack, tmp_path: Path, keys: Keys) -> None:
    address = stack.enter_context(serve(tmp_path / "r", http=tls(keys)))
    round_trip(address, StoreOptions(etc=tmp_path, ca_file=keys.authority))
    with pytest.raises(RemoteError, match="certificate verify failed") as caught:
        round_trip(address, StoreOptions(etc=tmp_path))
    assert f"/etc/containers/certs.d/{address}/ca.crt" in (caught.value.hint or "")
    round_trip(address, StoreOptions(etc=tmp_path, tls_verify=False))


def test_basic(stack: ExitStack, tmp_path: Path) -> None:
    address = stack.enter_context(serve(tmp_path / "r", auth=htpasswd(tmp_path)))
    round_trip(address, StoreOptions(etc=tmp_path, authfile=authfile(tmp_path / "auth.json", address, LOGIN)))
    with pytest.raises(AuthError, match="without a login"):
        round_trip(address, StoreOptions(etc=tmp_path))


def test_token(stack: ExitStack, tmp_path: Path, keys: Keys) -> None:
    tokens = stack.enter_context(TokenServer(keys=keys).running())
    address = stack.enter_context(serve(tmp_path / "r", auth=tokens.registry_section()))
    round_trip(address, StoreOptions(etc=tmp_path, authfile=authfile(tmp_path / "auth.json", address, LOGIN)))
    assert [form["scope"] for _, form, _ in tokens.asked] == [
        ["repository:team/app:pull,push"],
        ["repository:team/app:pull"],
    ]


@pytest.mark.parametrize("kind", ["registries.conf", "daemon.json"])
def test_mirror(stack: ExitStack, tmp_path: Path, kind: str) -> None:
    own = stack.enter_context(serve(tmp_path / "own"))
    mirror = stack.enter_context(serve(tmp_path / "mirror", proxy={"remoteurl": f"http://{own}"}))
    options = StoreOptions(etc=tmp_path)
    name = "library/app" if kind == "daemon.json" else "team/app"
    made = image(70)
    RegistryDestination(Reference.parse(f"{own}/{name}:1"), options).write(made)
    if kind == "daemon.json":
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker/daemon.json").write_text(json.dumps({"registry-mirrors": [f"http://{mirror}/"]}))
        wanted = Reference.parse("app:1")
    else:
        # The registry itself is gone: what is pulled comes from the mirror, what is pushed does not go there.
        write_conf(
            tmp_path, f'[[registry]]\nprefix = "r.test/x"\nlocation = "{own}"\n[[registry.mirror]]\nlocation="{mirror}"'
        )
        wanted = Reference.parse("r.test/x/team/app:1")
        RegistryDestination(Reference.parse("r.test/x/team/app:2"), options).write(made)
        RegistrySource(Reference.parse(f"{own}/team/app:2"), options).open()
    found = choose_platform(RegistrySource(wanted, options).open(), None)
    assert contents_of(found) == digests([item.descriptor for item in made.layers])
    assert f"GET /v2/{name}/manifests/1" in (tmp_path / "mirror/log").read_text()
    assert "PUT" not in (tmp_path / "mirror/log").read_text()


def test_mirror_that_fails_is_passed_over(stack: ExitStack, tmp_path: Path) -> None:
    own = stack.enter_context(serve(tmp_path / "own"))
    empty = stack.enter_context(serve(tmp_path / "empty"))
    write_conf(
        tmp_path,
        f'[[registry]]\nlocation = "{own}"\n[[registry.mirror]]\nlocation = "127.0.0.1:1"\n'
        f'[[registry.mirror]]\nlocation = "{empty}/cache"\n',
    )
    round_trip(own, StoreOptions(etc=tmp_path))
    assert "GET /v2/cache/team/app/manifests/1" in (tmp_path / "empty/log").read_text()


def test_insecure_by_registries_conf(stack: ExitStack, tmp_path: Path, keys: Keys) -> None:
    address = stack.enter_context(serve(tmp_path / "r", http=tls(keys)))
    write_conf(tmp_path / "user", f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')
    round_trip(address, StoreOptions(etc=tmp_path, environ={"XDG_CONFIG_HOME": str(tmp_path / "user")}))


@pytest.mark.parametrize("kind", ["registries.conf", "daemon.json"])
def test_insecure_is_plain_where_no_tls_is_spoken(
    stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(http, "is_loopback", lambda _host: False)  # as if it were another machine
    address = stack.enter_context(serve(tmp_path / "r"))
    with pytest.raises(RemoteError, match="does not speak TLS"):
        round_trip(address, StoreOptions(etc=tmp_path))
    if kind == "daemon.json":
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker/daemon.json").write_text(json.dumps({"insecure-registries": ["127.0.0.0/8"]}))
    else:
        write_conf(tmp_path, f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')
    round_trip(address, StoreOptions(etc=tmp_path))


@pytest.mark.parametrize("place", ["etc/containers", "etc/docker", "home/.config/containers", "home/.config/docker"])
def test_certs_d_with_a_client_certificate(stack: ExitStack, tmp_path: Path, keys: Keys, place: str) -> None:
    address = stack.enter_context(serve(tmp_path / "r", http=tls(keys, clientcas=[str(keys.authority)])))
    folder = tmp_path / place / "certs.d" / address
    folder.mkdir(parents=True)
    options = StoreOptions(etc=tmp_path / "etc", environ={"HOME": str(tmp_path / "home")})
    (folder / "ca.crt").write_bytes(keys.authority.read_bytes())
    with pytest.raises(RemoteError, match="certificate"):
        round_trip(address, options)
    options = StoreOptions(etc=tmp_path / "etc", environ={"HOME": str(tmp_path / "home")})
    (folder / "me.cert").write_bytes((keys.folder / "client.pem").read_bytes())
    with pytest.raises(UsageError, match=r"me\.cert' has no 'me\.key' beside it"):
        round_trip(address, options)
    (folder / "me.key").write_bytes((keys.folder / "client.key").read_bytes())
    round_trip(address, StoreOptions(etc=tmp_path / "etc", environ={"HOME": str(tmp_path / "home")}))


def test_docker_auth_config(stack: ExitStack, tmp_path: Path) -> None:
    address = stack.enter_context(serve(tmp_path / "r", auth=htpasswd(tmp_path)))
    text = authfile(tmp_path / "auth.json", address, LOGIN).read_text()
    wrong = authfile(tmp_path / "home/.docker/config.json", address, "jane:wrong").parents[1]
    round_trip(address, StoreOptions(etc=tmp_path, environ={"DOCKER_AUTH_CONFIG": text, "HOME": str(wrong)}))
    wrong_text = authfile(tmp_path / "wrong.json", address, "jane:wrong").read_text()
    with pytest.raises(AuthError, match="from 'DOCKER_AUTH_CONFIG' was refused"):
        round_trip(address, StoreOptions(etc=tmp_path, environ={"DOCKER_AUTH_CONFIG": wrong_text}))


@pytest.mark.parametrize("kind", ["file", "helper"])
def test_identity_token(
    stack: ExitStack, tmp_path: Path, keys: Keys, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = stack.enter_context(TokenServer(keys=keys).running())
    address = stack.enter_context(serve(tmp_path / "r", auth=tokens.registry_section()))
    if kind == "file":
        authfile(
            tmp_path / "config.json", address, "00000000-0000-0000-0000-000000000000:", identitytoken="the identity"
        )
    else:
        helper = tmp_path / "bin/docker-credential-keeper"
        helper.parent.mkdir()
        helper.write_text('#!/bin/sh\necho \'{"Username": "<token>", "Secret": "the identity"}\'\n')
        helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(helper.parent), prepend=":")
        (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {address: "keeper"}}))
    round_trip(address, StoreOptions(etc=tmp_path, environ={"DOCKER_CONFIG": str(tmp_path)}))
    assert {method for method, _, _ in tokens.asked} == {"POST"}
    assert {authorization for _, _, authorization in tokens.asked} == {""}


def test_path_login(stack: ExitStack, tmp_path: Path) -> None:
    address = stack.enter_context(serve(tmp_path / "r", auth=htpasswd(tmp_path)))
    path = authfile(tmp_path / "auth.json", f"{address}/team", LOGIN)
    data = json.loads(path.read_text())
    data["auths"][address] = {"auth": "amFuZTp3cm9uZw=="}
    data["auths"][f"{address}/team/other"] = {"auth": "amFuZTp3cm9uZw=="}
    path.write_text(json.dumps(data))
    round_trip(address, StoreOptions(etc=tmp_path, authfile=path))
    for name in ("team/other", "teams/app"):
        with pytest.raises(AuthError, match="was refused"):
            round_trip(address, StoreOptions(etc=tmp_path, authfile=path), name)


# ---- names


def test_blocked_registries_are_neither_read_nor_written(stack: ExitStack, tmp_path: Path) -> None:
    address = stack.enter_context(serve(tmp_path / "r"))
    write_conf(tmp_path, f'[[registry]]\nlocation = "{address}/bad"\nblocked = true\n')
    options = StoreOptions(etc=tmp_path)
    round_trip(address, options)
    reference = Reference.parse(f"{address}/bad/app:1")
    with pytest.raises(UsageError, match=r"is blocked"):
        RegistryDestination(reference, options)
    with pytest.raises(UsageError, match=r"is blocked"):
        RegistrySource(reference, options).open()


def test_short_names_are_searched_for(stack: ExitStack, tmp_path: Path) -> None:
    first = stack.enter_context(serve(tmp_path / "first"))
    second = stack.enter_context(serve(tmp_path / "second"))
    made = image(71)
    environ = {"DOCKER_HOST": f"unix://{tmp_path}/none"}  # no Engine that would have the name
    write_conf(
        tmp_path,
        f'unqualified-search-registries = ["{first}", "{second}"]\nshort-name-mode = "permissive"\n'
        f'[aliases]\n"shorter" = "{second}/team/app"\n',
    )
    options = StoreOptions(etc=tmp_path, environ=environ)
    RegistryDestination(Reference.parse(f"{second}/team/app:1"), options).write(made)
    for name in ("team/app:1", "shorter:1"):
        found = choose_platform(open_image(Location.parse(name), options), None)
        assert found.to_manifest().raw == made.to_manifest().raw
        assert found.name == f"docker://{second}/team/app:1"
    with pytest.raises(NotFoundError, match=rf"it is in none of the registries .*: {first}, {second}"):
        open_image(Location.parse("other:1"), options)
    path = write_conf(
        tmp_path, f'unqualified-search-registries = ["{first}", "{second}"]\nshort-name-mode = "enforcing"'
    )
    with pytest.raises(UsageError, match=f"may be one of several: {first}/team/app, {second}/team/app"):
        open_image(Location.parse("team/app:1"), options)
    path.unlink()
