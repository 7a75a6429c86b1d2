"""Logins, tokens and challenges, on a registry that asks for them."""

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import Clock, authfile, contents_of, digests, image, read_image, write
from misbehaving import FaultyRegistry, Header, Status

from runtimeimg.errors import AuthError, InvalidDocumentError, NotFoundError, RemoteError, TransientError
from runtimeimg.oci import Reference
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.registry import RegistryDestination, RegistrySource
from runtimeimg.stores.registry.auth import Challenge, merge_scopes, parse_challenges
from runtimeimg.stores.registry.credentials import Login, find_login

Faulty = Callable[..., FaultyRegistry]


def scopes_asked(proxy: FaultyRegistry) -> list[list[str]]:
    """Return the scopes of the token requests, in order."""
    return [parse_qs(urlsplit(item.path).query)["scope"] for item in proxy.seen("GET", "^/token")]


@pytest.mark.registry
@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_login_is_used(faulty: Faulty, repository: str, tmp_path: Path, auth: str) -> None:
    proxy = faulty(auth=auth)
    options = StoreOptions(authfile=authfile(tmp_path / "auth.json", proxy.address))
    made = image(50)
    write(f"docker://{proxy.address}/{repository}:1", made, options)
    assert contents_of(read_image(f"docker://{proxy.address}/{repository}:1", options)) == digests(
        [item.descriptor for item in made.layers]
    )


@pytest.mark.registry
def test_one_token_a_scope(faulty: Faulty, repository: str, tmp_path: Path) -> None:
    proxy = faulty(auth="bearer")
    options = StoreOptions(authfile=authfile(tmp_path / "auth.json", proxy.address))
    keep = RegistryDestination(Reference.parse(f"{proxy.address}/{repository}/a:1"), options)
    keep.write(image(51, layers=6))
    source = read_image(f"docker://{proxy.address}/{repository}/a:1", options)
    write(f"docker://{proxy.address}/{repository}/b:1", source, options)
    assert scopes_asked(proxy) == [
        [f"repository:{repository}/a:pull,push"],
        [f"repository:{repository}/a:pull"],
        [f"repository:{repository}/b:pull,push"],
        [f"repository:{repository}/b:pull,push", f"repository:{repository}/a:pull"],
    ]
    assert options.account.mounted_bytes > 0
    (first, *_) = proxy.seen("GET", "^/token")
    assert parse_qs(urlsplit(first.path).query)["service"] == ['fault, "quoted"']


@pytest.mark.registry
def test_token_that_expires_in_the_middle_is_renewed(faulty: Faulty, repository: str, tmp_path: Path) -> None:
    proxy = faulty(auth="bearer")
    options = StoreOptions(authfile=authfile(tmp_path / "auth.json", proxy.address))
    made = image(52, 200_000)
    reference = Reference.parse(f"{proxy.address}/{repository}:1")
    RegistryDestination(reference, options).write(made)
    source = RegistrySource(reference, options)
    found = source.open()
    for item in read_image(f"docker://{reference}", options).layers:
        proxy.revoke()
        with item.open() as reader:
            assert len(reader.read()) == item.descriptor.size
    proxy.revoke()
    RegistryDestination(Reference.parse(f"{proxy.address}/{repository}:2"), options).write(found)


@pytest.mark.registry
def test_token_revoked_while_a_blob_is_sent(faulty: Faulty, repository: str, tmp_path: Path) -> None:
    proxy = faulty(auth="bearer")
    options = StoreOptions(authfile=authfile(tmp_path / "auth.json", proxy.address))
    made = image(53, 3_000_000, layers=1)
    challenge = proxy_challenge(proxy, repository)
    last = f"/uploads/.*digest=sha256%3A{made.layers[0].descriptor.digest.encoded}"
    proxy.rule("PUT", last, Status(code=401, headers={"WWW-Authenticate": challenge}))
    write(f"docker://{proxy.address}/{repository}:1", made, options)
    assert contents_of(read_image(f"docker://{proxy.address}/{repository}:1", options)) == [
        made.layers[0].descriptor.digest
    ]


def proxy_challenge(proxy: FaultyRegistry, repository: str) -> str:
    """Return what the registry says to a request without a valid token."""
    return f'Bearer realm="http://{proxy.address}/token",service="s",scope="repository:{repository}:pull,push"'


@pytest.mark.registry
def test_token_is_renewed_before_it_expires(faulty: Faulty, repository: str, tmp_path: Path) -> None:
    proxy, clock = faulty(auth="bearer"), Clock()
    proxy.expires_in = 100
    options = StoreOptions(authfile=authfile(tmp_path / "auth.json", proxy.address))
    reference = Reference.parse(f"{proxy.address}/{repository}:1")
    destination = RegistryDestination(reference, options, timing=clock.timing)
    destination.write(image(54))
    asked = len(proxy.seen("GET", "^/token"))
    clock.now += 89
    destination.write(image(54))
    assert len(proxy.seen("GET", "^/token")) == asked
    clock.now += 2
    proxy.log.clear()
    destination.write(image(54))
    assert len(proxy.seen("GET", "^/token")) == 1
    assert all("Authorization" in item.headers for item in proxy.log)


@pytest.mark.registry
def test_identity_token_is_exchanged(faulty: Faulty, repository: str, tmp_path: Path) -> None:
    proxy = faulty(auth="bearer")
    path = authfile(tmp_path / "auth.json", proxy.address, "jane:", identitytoken="identity")
    write(f"docker://{proxy.address}/{repository}:1", image(55), StoreOptions(authfile=path))
    (asked,) = proxy.seen("POST", "^/token")
    assert parse_qs(asked.body.decode())["scope"] == [f"repository:{repository}:pull,push"]
    assert "identity" not in asked.path
    proxy.identity_token = "another"
    with pytest.raises(AuthError, match=r"login for '127.0.0.1:.*auth.json' was refused"):
        read_image(f"docker://{proxy.address}/{repository}:1", StoreOptions(authfile=path))


@pytest.mark.registry
@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_refused_login_names_its_file_and_no_secret(faulty: Faulty, repository: str, tmp_path: Path, auth: str) -> None:
    proxy = faulty(auth=auth)
    path = authfile(tmp_path / "config.json", proxy.address, "jane:hunter2")
    options = StoreOptions(environ={"DOCKER_CONFIG": str(tmp_path)})
    with pytest.raises(AuthError, match=f"login for '{proxy.address}' from '{path}' was refused") as caught:
        read_image(f"docker://{proxy.address}/{repository}:1", options)
    assert caught.value.exit_code == 5
    assert "hunter2" not in str(caught.value)
    assert base64.b64encode(b"jane:hunter2").decode() not in str(caught.value)
    assert "hunter2" not in repr(find_login(proxy.address, repository, options))


@pytest.mark.registry
@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_missing_login_is_said(faulty: Faulty, repository: str, auth: str) -> None:
    proxy = faulty(auth=auth)
    with pytest.raises(AuthError, match=f"refused access to '{repository}' without a login") as caught:
        read_image(f"docker://{proxy.address}/{repository}:1")
    assert f"docker login {proxy.address}" in (caught.value.hint or "")


@pytest.mark.registry
def test_login_without_the_right_to_push(faulty: Faulty, repository: str, tmp_path: Path) -> None:
    proxy = faulty(auth="bearer")
    proxy.grant = lambda scopes: [scope.replace("pull,push", "pull") for scope in scopes]
    path = authfile(tmp_path / "auth.json", proxy.address)
    with pytest.raises(AuthError, match=f"refused access to '{repository}' with the login from '{path}': UNAUTHORIZED"):
        write(f"docker://{proxy.address}/{repository}:1", image(56), StoreOptions(authfile=path))


@pytest.mark.registry
def test_mount_without_the_right_to_read_becomes_an_upload(faulty: Faulty, repository: str, tmp_path: Path) -> None:
    proxy = faulty(auth="bearer")
    options = StoreOptions(authfile=authfile(tmp_path / "auth.json", proxy.address))
    write(f"docker://{proxy.address}/{repository}/a:1", image(57), options)
    source = read_image(f"docker://{proxy.address}/{repository}/a:1", options)
    denied = Status(code=403, body=b'{"errors": [{"code": "DENIED"}]}')
    proxy.rule("GET", r"^/token.*%2Fb.*%2Fa", denied, times=9)
    write(f"docker://{proxy.address}/{repository}/b:1", source, options)
    assert options.account.mounted_bytes == 0
    assert contents_of(read_image(f"docker://{proxy.address}/{repository}/b:1", options)) == contents_of(source)


@pytest.mark.registry
@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Status(code=500), TransientError, "token server 'http://.*' answered 500"),
        (Status(code=404), RemoteError, "token server 'http://.*' answered 404"),
        (Status(code=200, body=b"hello"), RemoteError, "an answer that is not understood"),
        (Status(code=200, body=b"{}"), RemoteError, "gave no token"),
        (Status(code=200, body=b'{"token": "a\\r\\nb"}'), RemoteError, "gave no token"),
    ],
    ids=["500", "404", "no JSON", "no token", "line break"],
)
def test_broken_token_server(
    faulty: Faulty, repository: str, answer: Status, kind: type[Exception], message: str
) -> None:
    proxy, clock = faulty(auth="bearer"), Clock()
    proxy.rule("GET", "^/token", answer, times=99)
    source = RegistrySource(Reference.parse(f"{proxy.address}/{repository}:1"), StoreOptions(), timing=clock.timing)
    with pytest.raises(kind, match=message):
        source.open()


@pytest.mark.registry
def test_unknown_scheme_is_named(faulty: Faulty, repository: str) -> None:
    proxy = faulty()
    proxy.rule("GET", "/manifests/", Status(code=401, headers={"WWW-Authenticate": "Negotiate abc=="}))
    with pytest.raises(AuthError, match=r"no way to log in that is known \(offered: negotiate\)"):
        read_image(f"docker://{proxy.address}/{repository}:1")
    proxy.rule("GET", "/manifests/", Status(code=401), times=9)
    with pytest.raises(AuthError, match="without a login"):
        read_image(f"docker://{proxy.address}/{repository}:1")


@pytest.mark.registry
def test_no_login_is_looked_up_unless_asked_for(faulty: Faulty, repository: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("this is broken")
    proxy = faulty()
    options = StoreOptions(environ={"DOCKER_CONFIG": str(tmp_path)})
    write(f"docker://{proxy.address}/{repository}:1", image(58), options)
    proxy.rule("GET", "/manifests/", Header(name="X", value="y"))
    assert read_image(f"docker://{proxy.address}/{repository}:1", options).layers


# ---- challenges and scopes, pure


def test_challenges_are_parsed() -> None:
    found = parse_challenges(
        ['Bearer realm="https://a.test/t?x=1,2",service="s \\"q\\", x" , scope=plain, Basic realm="r"', "Negotiate"]
    )
    assert found == (
        Challenge(
            scheme="bearer",
            parameters={"realm": "https://a.test/t?x=1,2", "service": 's "q", x', "scope": "plain"},
        ),
        Challenge(scheme="basic", parameters={"realm": "r"}),
        Challenge(scheme="negotiate", parameters={}),
    )


@given(st.lists(st.text(alphabet='abc =,"\\ \t:/;', max_size=60), max_size=3))
def test_any_challenge_is_survived(values: list[str]) -> None:
    for challenge in parse_challenges(values):
        assert challenge.scheme == challenge.scheme.lower()


def test_scopes_are_merged() -> None:
    assert merge_scopes(["repository:a:pull,push", "repository:a:pull", "repository:b:pull", "junk"]) == (
        "repository:a:pull,push",
        "repository:b:pull",
    )


# ---- where logins come from


def login_of(name: str, options: StoreOptions, registry: str = "r.test") -> str | None:
    found = find_login(registry, name, options)
    return found.username if found else None


def test_files_in_order(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    options = StoreOptions(environ=environ)
    assert login_of("a", options) is None
    authfile(tmp_path / "home/.docker/config.json", "r.test", "docker:x")
    assert login_of("a", options) == "docker"
    authfile(tmp_path / "home/.config/containers/auth.json", "r.test", "config:x")
    assert login_of("a", options) == "config"
    authfile(tmp_path / "run/containers/auth.json", "r.test", "run:x")
    assert login_of("a", options) == "run"
    authfile(tmp_path / "env.json", "other.test", "env:x")
    named = StoreOptions(environ={**environ, "REGISTRY_AUTH_FILE": str(tmp_path / "env.json")})
    assert login_of("a", named) is None
    option = authfile(tmp_path / "option.json", "r.test", "option:x")
    assert login_of("a", StoreOptions(environ=dict(named.environ), authfile=option)) == "option"


def test_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"login file .* does not exist"):
        find_login("r.test", "a", StoreOptions(authfile=tmp_path / "none.json"))


def test_most_specific_entry_wins(tmp_path: Path) -> None:
    def auth(name: str) -> dict[str, str]:
        return {"auth": base64.b64encode(f"{name}:x".encode()).decode()}

    path = tmp_path / "auth.json"
    path.write_text(
        json.dumps({"auths": {"r.test": auth("host"), "r.test/a": auth("space"), "r.test/a/b": auth("repository")}})
    )
    options = StoreOptions(authfile=path)
    assert login_of("a/b", options) == "repository"
    assert login_of("a/bc", options) == "space"
    assert login_of("ab", options) == "host"


@pytest.mark.parametrize("key", ["https://r.test/v1/", "http://r.test", "https://r.test/v2/"])
def test_old_keys_are_addresses(tmp_path: Path, key: str) -> None:
    assert login_of("a", StoreOptions(authfile=authfile(tmp_path / "auth.json", key, "old:x"))) == "old"


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_docker_hub_keys(tmp_path: Path, key: str) -> None:
    options = StoreOptions(authfile=authfile(tmp_path / "auth.json", key, "hub:x"))
    assert login_of("library/debian", options, "docker.io") == "hub"


def test_password_may_hold_a_colon(tmp_path: Path) -> None:
    options = StoreOptions(authfile=authfile(tmp_path / "auth.json", "r.test", "jane:a:b"))
    login = find_login("r.test", "a", options)
    assert login == Login(origin=str(tmp_path / "auth.json"), username="jane", password="a:b")
    assert login.basic == "Basic " + base64.b64encode(b"jane:a:b").decode()


@pytest.mark.parametrize(
    "text", ['{"auths": 5}', '{"auths": {"r.test": 5}}', '{"auths": {"r.test": {"auth": "é"}}}', "[]"]
)
def test_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)
    with pytest.raises(InvalidDocumentError, match=r"auth\.json"):
        find_login("r.test", "a", StoreOptions(authfile=path))


def helper(folder: Path, script: str) -> None:
    """Put a credential helper called `test` into a folder."""
    folder.mkdir(exist_ok=True)
    path = folder / "docker-credential-test"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("config", "registry", "asked"),
    [
        ({"credHelpers": {"r.test": "test"}}, "r.test", "r.test"),
        ({"credsStore": "test"}, "r.test", "r.test"),
        ({"credsStore": "test"}, "docker.io", "https://index.docker.io/v1/"),
    ],
)
def test_helper_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, object], registry: str, asked: str
) -> None:
    helper(tmp_path / "bin", f'cat > {tmp_path}/asked; echo \'{{"Username": "helped", "Secret": "s3cret"}}\'')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    login = find_login(registry, "a", StoreOptions(environ={"DOCKER_CONFIG": str(tmp_path)}))
    assert login == Login(origin=f"docker-credential-test (named in {path})", username="helped", password="s3cret")
    assert (tmp_path / "asked").read_text() == asked


def test_helper_gives_an_identity_token_or_nothing_or_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "test"}))
    options = StoreOptions(environ={"DOCKER_CONFIG": str(tmp_path)})
    with pytest.raises(AuthError, match=r"helper 'docker-credential-test' .* is not installed"):
        find_login("r.test", "a", options)
    helper(tmp_path / "bin", 'echo \'{"Username": "<token>", "Secret": "identity"}\'')
    assert find_login("r.test", "a", options) == Login(
        origin=f"docker-credential-test (named in {tmp_path}/config.json)", identity_token="identity"
    )
    helper(tmp_path / "bin", "echo 'credentials not found in native keychain'; exit 1")
    assert find_login("r.test", "a", options) is None
    helper(tmp_path / "bin", "echo 'the keychain is locked'; exit 1")
    with pytest.raises(AuthError, match=r"failed: .*the keychain is locked"):
        find_login("r.test", "a", options)
    helper(tmp_path / "bin", "echo nonsense")
    with pytest.raises(AuthError, match="is not understood"):
        find_login("r.test", "a", options)
