"""Values of odd types at every place of every document: each gives its one error, or means nothing, and never more.

A document of strangers is changed at one place at a time, by each of `ODD`, and read by what reads it. Anything but an
error of ours is a fault of ours. What the cache keeps is done without when it is not what was kept.
"""

import base64
import contextlib
import copy
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runtimeimg import provenance
from runtimeimg.cache import Cache
from runtimeimg.cli.main import cli
from runtimeimg.errors import InvalidDocumentError, NotFoundError, RuntimeimgError
from runtimeimg.image.toc import Toc
from runtimeimg.image.zstd import zstd
from runtimeimg.oci import Digest, Location, Reference
from runtimeimg.step.handover import take_over
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.stores.engine.address import find_address
from runtimeimg.stores.registry.conf import registries_conf
from runtimeimg.stores.registry.credentials import find_login
from runtimeimg.stores.registry.daemonjson import daemon_json
from tests.compose.images import Item, file, tar

from . import bounded
from .registryserver import Server, message

DEEP = json.loads("[" * 300 + "]" * 300)
ODD = [
    *(5, -1, 1.5, 10**4000, None, True),
    *("", "\ud800", "\x00\x1b[2J\n", "9" * 5000, "x" * 70_000),
    *([], {}, ["a"], [5], {"a": 1}, {"a": {"b": [None]}}, DEEP),
]
RAW = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"\xff"', b"{", b'{"a": 1, "a": 2}', b"[" * 5000]
"""What Python does not write, in the place of the string `HERE`."""

TAR = tar([file("x", b"data"), file("bin/sh", b"x")])
LAYER = f"sha256:{hashlib.sha256(TAR).hexdigest()}"
CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2024-05-06T07:08:09Z",
    "config": {
        "Env": ["A=1"],
        "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
        "Cmd": ["x"],
        "Entrypoint": ["y"],
        "User": "5",
        "WorkingDir": "/w",
        "StopSignal": "TERM",
        "Healthcheck": {"Test": ["CMD"]},
        "Shell": ["/bin/sh"],
        "OnBuild": [],
    },
    "rootfs": {"type": "layers", "diff_ids": [LAYER]},
    "history": [{"created": "2024-05-06T07:08:09Z", "created_by": "x", "empty_layer": True}, {"created_by": "y"}],
}


def digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def manifest_of(config: bytes) -> dict[str, Any]:
    kind = "application/vnd.oci.image.{}+json"
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": LAYER, "size": len(TAR)}
    return {
        "schemaVersion": 2,
        "mediaType": kind.format("manifest.v1"),
        "artifactType": kind.format("config.v1"),
        "config": {
            "mediaType": kind.format("config.v1"),
            "digest": digest(config),
            "size": len(config),
            "data": base64.b64encode(config).decode(),
        },
        "layers": [{**layer, "annotations": {"a": "b"}, "urls": ["http://x"]}],
        "annotations": {"a": "b"},
        "subject": {"mediaType": "a/b", "digest": LAYER, "size": 1},
    }


def index_of(manifest: bytes) -> dict[str, Any]:
    platform = {"os": "linux", "architecture": "amd64", "variant": "v1", "os.version": "1"}
    entry = {"mediaType": manifest_of(b"")["mediaType"], "digest": digest(manifest), "size": len(manifest)}
    names = {"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "docker.io/a/b:1"}
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{**entry, "platform": platform, "annotations": names}],
        "annotations": {"a": "b"},
    }


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a document, the whole first."""
    yield path
    entries: Any = ()
    if isinstance(document, (dict, list)):
        entries = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in entries:
        yield from places(value, (*path, key))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    document = copy.deepcopy(document)
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return document


def variants(document: Any) -> Iterator[bytes]:
    """Yield the document with each odd value at each place."""
    for path in places(document):
        for value in ODD:
            yield json.dumps(changed(document, path, value)).encode()
        text = json.dumps(changed(document, path, "HERE")).encode()
        for raw in RAW:
            yield text.replace(b'"HERE"', raw)


def refusal(work: Callable[[], object]) -> str | None:
    """Return what is wrong by an error of ours, None where nothing is; any other exception comes up."""
    try:
        work()
    except RuntimeimgError as error:
        return error.message
    return None


def write_layout(root: Path, config: bytes, manifest: bytes, index: bytes) -> None:
    blobs = root / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for raw in (TAR, config, manifest):
        (blobs / hashlib.sha256(raw).hexdigest()).write_bytes(raw)
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (root / "index.json").write_bytes(index)


SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: "oci:BUILDER:1"}
  output: {image: web:1}
  runtime:
    base: {image: "oci:BASE:1"}
    env: {B: "$A"}
    workDir: /q
    expose: [99]
    directories: ["/x:/y"]
"""
COMMANDS = {
    "inspect": "inspect oci:ODD:1",
    "inspect without a tag": "inspect oci:ODD --format json",
    "copy": "copy oci:ODD:1 oci:OUT/copied:1",
    "save": "copy oci:ODD:1 docker-archive:OUT/saved.tar",
    "base": "build OUT/base.yaml --no-cache -o oci:OUT/built:1",
    "builder": "build OUT/builder.yaml --no-cache -o oci:OUT/built:1",
    "stamp": "stamp oci:ODD:1 --spec OUT/base.yaml -o oci:OUT/stamped:1",
    "run": "run oci:ODD:1 --dry-run",
    "pod": "export oci:ODD:1 --to pod --image a/b:1",
    "quadlet": "export oci:ODD:1 --to systemd-quadlet --image a/b:1",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("which", ["config", "manifest", "index"])
def test_an_image_of_odd_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, command: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setenv("HOME", str(tmp_path))
    odd, good = tmp_path / "odd", tmp_path / "good"
    config = json.dumps(CONFIG).encode()
    manifest = json.dumps(manifest_of(config)).encode()
    write_layout(good, config, manifest, json.dumps(index_of(manifest)).encode())
    for name, base, builder in (("base", odd, good), ("builder", good, odd)):
        (tmp_path / f"{name}.yaml").write_text(SPEC.replace("BUILDER", str(builder)).replace("BASE", str(base)))
    args = COMMANDS[command].replace("ODD", str(odd)).replace("OUT", str(tmp_path)).split()
    runner, refused, taken = CliRunner(), 0, 0
    document = {"config": CONFIG, "manifest": manifest_of(config), "index": index_of(manifest)}[which]
    # Each reader gets a third of them, which is not that of the one before it.
    for raw in islice(variants(document), list(COMMANDS).index(command) % 3, None, 3):
        if which == "config":
            own = json.dumps(manifest_of(raw)).encode()
            write_layout(odd, raw, own, json.dumps(index_of(own)).encode())
        elif which == "manifest":
            write_layout(odd, config, raw, json.dumps(index_of(raw)).encode())
        else:
            write_layout(odd, config, manifest, raw)
        done = runner.invoke(cli, args, standalone_mode=False)
        if done.exception is None:
            taken += 1
        else:
            assert isinstance(done.exception, RuntimeimgError), (raw[:2000], done.exc_info)
            assert done.exception.message
            refused += 1
    assert refused > 30
    assert taken > 0


DIGEST = str(Digest.of(b"x"))
LOGINS = {
    "auths": {
        "host": {"auth": base64.b64encode(b"a:b").decode(), "username": "u", "password": "p", "identitytoken": "t"},
        "https://old/v1/": {"auth": base64.b64encode(b"a:b").decode()},
    },
    "credHelpers": {"helped": "there-is-none"},
    "credsStore": "",
    "currentContext": "other",
}
DAEMON = {"insecure-registries": ["host:5000", "10.0.0.0/8"], "registry-mirrors": ["https://mirror.test"]}
CONTEXT = {"Name": "other", "Metadata": {}, "Endpoints": {"docker": {"Host": "tcp://h:1", "SkipTLSVerify": False}}}
STATE = {
    "document": {
        "apiVersion": "runtimeimg.dev/v1",
        "kind": "Build",
        "spec": {"builder": {"image": "docker.io/a/b:1"}, "runtime": {"base": {"image": "scratch"}, "env": {"A": "b"}}},
    },
    "builder": "docker.io/a/b:1",
    "outputs": ["host/a:1"],
    "digests": {"docker.io/a/b:1": DIGEST},
}


def read_logins(folder: Path, raw: bytes) -> None:
    (folder / "auth.json").write_bytes(raw)
    options = StoreOptions(environ={"PATH": str(folder)}, authfile=folder / "auth.json")
    for registry in ("host", "old", "helped", "docker.io"):
        with contextlib.suppress(RuntimeimgError):
            found = find_login(registry, "x/y", options)
            if found is not None and not found.identity_token:
                assert found.basic
    find_login("host", "x/y", options)


def read_variable(_: Path, raw: bytes) -> None:
    find_login("host", "x/y", StoreOptions(environ={"DOCKER_AUTH_CONFIG": raw.decode("utf-8", "surrogateescape")}))


def read_daemon(folder: Path, raw: bytes) -> None:
    (folder / "docker").mkdir(exist_ok=True)
    (folder / "docker/daemon.json").write_bytes(raw)
    daemon_json(StoreOptions(etc=folder)).is_insecure("10.1.2.3:5000")


def read_context(folder: Path, raw: bytes) -> None:
    place = folder / "contexts/meta" / hashlib.sha256(b"other").hexdigest()
    place.mkdir(parents=True, exist_ok=True)
    (place / "meta.json").write_bytes(raw)
    find_address({"DOCKER_CONFIG": str(folder), "DOCKER_CONTEXT": "other"})


def read_settings(folder: Path, raw: bytes) -> None:
    (folder / "config.json").write_bytes(raw)
    find_address({"DOCKER_CONFIG": str(folder)})


def read_state(folder: Path, raw: bytes) -> None:
    (folder / "step.json").write_bytes(raw)
    take_over(folder, StoreOptions(etc=folder, attempts=1, timeout=1))


@pytest.mark.parametrize(
    ("read", "document"),
    [
        (read_logins, LOGINS),
        (read_variable, LOGINS),
        (read_daemon, DAEMON),
        (read_context, CONTEXT),
        (read_settings, LOGINS),
        (read_state, STATE),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_documents_of_this_machine(tmp_path: Path, read: Callable[[Path, bytes], None], document: Any) -> None:
    said = [refusal(partial(read, tmp_path, raw)) for raw in variants(document)]
    refused = [message for message in said if message is not None]
    assert all(refused)
    assert len(refused) > 20


CONF = """\
unqualified-search-registries = HERE
short-name-mode = HERE
[aliases]
"a" = HERE
[[registry]]
prefix = HERE
location = HERE
insecure = HERE
blocked = HERE
mirror-by-digest-only = HERE
[[registry.mirror]]
location = HERE
insecure = HERE
pull-from-mirror = HERE
[registries.search]
registries = HERE
[registries.insecure]
registries = HERE
"""
GOOD_CONF = ('["a.test"]', '"permissive"', '"a.test/a"', '"p.test"', '"l.test"', "true", "false", "true", '"m.test"',
             "true", '"all"', '["s.test"]', '["i.test"]')  # fmt: skip
ODD_TOML = ("5", "-1", "1.5", "inf", "nan", "true", '""', '"\\u0000"', "'x y'", "[]", "[1]", '[["a"]]', "{}", "{a = 1}",
            "1979-05-27", "9" * 5000, '"' + "x" * 70_000 + '"', "[" * 2000, "{a=" * 2000, '"a" "b"', "'")  # fmt: skip


def test_registries_conf(tmp_path: Path) -> None:
    path = tmp_path / "registries.conf"
    options = StoreOptions(environ={"CONTAINERS_REGISTRIES_CONF": str(path)}, etc=tmp_path)
    parts = CONF.split("HERE")
    refused = 0
    for at in range(len(GOOD_CONF)):
        for odd in ODD_TOML:
            values = [odd if number == at else good for number, good in enumerate(GOOD_CONF)]
            path.write_text("".join(part + value for part, value in zip(parts, [*values, ""], strict=True)))
            os.utime(path, ns=(0, at * 1000 + ODD_TOML.index(odd)))  # a file is known by its time and size
            said = refusal(lambda: registries_conf(options).rule_for("l.test/a:1"))
            refused += said is not None
            assert said is None or str(path) in said
    assert refused > 150


@pytest.mark.parametrize(
    "text",
    ["a." * 500_000 + "a = 1", "[" + "a." * 500_000 + "a]", "a = [" + "'a.b'," * 100_000 + "]"],
    ids=["key", "table", "list"],
)
def test_registries_conf_costs_no_more_than_it_is_long(tmp_path: Path, text: str) -> None:
    (tmp_path / "registries.conf").write_text(text[: 1 << 20])
    code = (
        "import sys; from pathlib import Path; from runtimeimg.stores import StoreOptions\n"
        "from runtimeimg.stores.registry.conf import registries_conf\n"
        "registries_conf(StoreOptions(environ={'CONTAINERS_REGISTRIES_CONF': sys.argv[1]}, etc=Path('/nowhere')))"
    )
    done = bounded.python(code, tmp_path / "registries.conf", processor=10, address_space=1024, wall=60)
    assert "holds more than 1000 dots" in done.err


@pytest.mark.parametrize("which", ["amend", "convert"])
def test_strategies_of_many_documents_are_refused(tmp_path: Path, which: str) -> None:
    (tmp_path / "many.yaml").write_text("---\n" * 250_000)
    done = bounded.cli("strategy", which, tmp_path / "many.yaml", processor=5, wall=60)
    assert done.code == 2, done.said
    assert "holds more than 1,000 documents" in done.err
    assert done.memory < 150


@pytest.mark.parametrize("kind", ["pipe", "large", "folder"])
@pytest.mark.parametrize("name", ["auth", "registries.conf", "daemon.json", "certificate", "key", "context", "ca-file"])
def test_files_that_are_none_or_too_large(tmp_path: Path, name: str, kind: str) -> None:
    home = tmp_path / "home"
    certificates = home / ".config/containers/certs.d/192.0.2.1:1"
    key = hashlib.sha256(b"other").hexdigest()
    path = {
        "auth": home / ".docker/config.json",
        "registries.conf": home / ".config/containers/registries.conf",
        "daemon.json": home / ".config/docker/daemon.json",
        "certificate": certificates / "ca.crt",
        "key": certificates / "client.cert",
        "context": home / f".docker/contexts/meta/{key}/meta.json",
        "ca-file": home / "ca.pem",
    }[name]
    path.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(64 << 20)
    if name == "key":
        (certificates / "client.key").write_text("x")
    env = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "DOCKER_CONFIG": str(home / ".docker")}
    args: list[object] = [
        "inspect",
        "docker://192.0.2.1:1/a:1",
        "--retry-time",
        0,
    ]  # no address of anybody's: files are read first
    server = Server()
    server.rule("GET /v2/", message(401, WWW_Authenticate='Basic realm="x"'))
    if name == "context":
        args, env = ["inspect", "docker-daemon:a:1"], {**env, "DOCKER_CONTEXT": "other", "DOCKER_HOST": ""}
    elif name == "ca-file":
        args += ["--ca-file", path]
    with server.running():
        if name == "auth":
            args[1] = f"docker://{server.address}/a:1"
        done = bounded.cli(*args, env=env, processor=10, address_space=1024, wall=60)
    assert done.code in {2, 3, 4, 5}, done.said
    assert str(path) in done.err or name == "context"
    assert "internal error" not in done.err
    assert done.memory < 150


def _read_into(
    found: list[provenance.Provenance | None], name: Reference, subject: Digest, options: StoreOptions
) -> None:
    found.append(provenance.read(name, subject, options))


@pytest.mark.parametrize("where", ["plan", "manifest", "referrers"])
def test_provenance_of_odd_values(tmp_path: Path, where: str) -> None:
    plan = {"images": [{"name": "a", "digest": DIGEST}], "copies": []}
    subject = Digest.of(b"image")

    def manifest(raw: bytes) -> dict[str, Any]:
        files = ((b"FROM x", provenance.DOCKERFILE_TYPE), (raw, provenance.PLAN_TYPE))
        layers = [{"mediaType": kind, "digest": digest(data), "size": len(data)} for data, kind in files]
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2}
        return {"schemaVersion": 2, "mediaType": manifest_of(b"")["mediaType"], "config": config, "layers": layers}

    def referrers(raw: bytes) -> dict[str, Any]:
        entry = {"mediaType": manifest_of(b"")["mediaType"], "digest": digest(raw), "size": len(raw)}
        return {"schemaVersion": 2, "manifests": [{**entry, "artifactType": provenance.ARTIFACT_TYPE}]}

    def plain(value: Any) -> bytes:
        return json.dumps(value).encode()

    document = {
        "plan": plan, "manifest": manifest(plain(plan)), "referrers": referrers(plain(manifest(plain(plan)))),
    }[where]  # fmt: skip
    server, refused, shown = Server(), 0, 0
    with server.running():
        options = StoreOptions(etc=tmp_path, attempts=1, timeout=2)
        for raw in variants(document):
            kept = raw if where == "plan" else plain(plan)
            top = raw if where == "manifest" else plain(manifest(kept))
            listed = raw if where == "referrers" else plain(referrers(top))
            server.rules[:] = [
                (f"GET .*/referrers/{subject}", message(200, listed)),
                (f"GET .*/manifests/{digest(top)}", message(200, top, Content_Type=manifest_of(b"")["mediaType"])),
                (f"GET .*/blobs/{digest(kept)}", message(200, kept)),
                (f"GET .*/blobs/{digest(b'FROM x')}", message(200, b"FROM x")),
            ]
            found: list[provenance.Provenance | None] = []
            name = Reference.parse(f"{server.address}/a/b:1")
            said = refusal(partial(_read_into, found, name, subject, options))
            refused += bool(said)
            for one in filter(None, found):
                assert json.dumps(one.to_json(), allow_nan=False)
                shown += "FROM x" in provenance.show(one)
    assert refused > 20
    assert shown > 0


def test_a_docker_archive_of_odd_values(tmp_path: Path) -> None:
    listed = [{"Config": "c.json", "RepoTags": ["a/b:1"], "Layers": ["l.tar"]}]
    path, refused, taken, options = tmp_path / "a.tar", 0, 0, StoreOptions()
    for raw in variants(listed):
        members = {"manifest.json": raw, "c.json": json.dumps(CONFIG).encode(), "l.tar": TAR}
        path.write_bytes(tar([Item(path=name, data=data) for name, data in members.items()]))
        for tag in (None, "a/b:1"):
            said = refusal(partial(open_image, Location(transport="docker-archive", path=str(path), tag=tag), options))
            assert said is None or str(path) in said
            taken, refused = taken + (said is None), refused + (said is not None)
    assert refused > 100
    assert taken > 0


def build(tmp_path: Path, cache: Path, name: str) -> str:
    """Build with a cache and return the digest."""
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    runner = CliRunner(env=env)
    args = ["build", str(tmp_path / "build.yaml"), "-o", f"oci:{tmp_path}/{name}:1"]
    done = runner.invoke(cli, args, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout.strip()


def kept(cache: Path) -> dict[str, bytes]:
    root = cache / "runtimeimg/v1"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def built(tmp_path: Path) -> tuple[Path, str]:
    """A cache that a build has filled, and what the build came to."""
    config = json.dumps(CONFIG).encode()
    manifest = json.dumps(manifest_of(config)).encode()
    write_layout(tmp_path / "image", config, manifest, json.dumps(index_of(manifest)).encode())
    text = SPEC.replace("BUILDER", str(tmp_path / "image")).replace("BASE", str(tmp_path / "image"))
    (tmp_path / "build.yaml").write_text(text)
    return tmp_path / "cache", build(tmp_path, tmp_path / "cache", "first")


def test_damaged_files_of_the_cache_are_done_without(built: tuple[Path, str], tmp_path: Path) -> None:
    cache, wanted = built
    files = kept(cache)
    assert {name.split("/")[0] for name in files} >= {"toc", "result", "layer"}
    damages: list[Callable[[bytes], bytes]] = [
        lambda _: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw + b"x",
        lambda raw: bytes([raw[0] ^ 1]) + raw[1:],
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw: bytes(len(raw)),
    ]
    for name in files:
        if name.startswith("layer/"):
            continue  # verified when it is read, which is an error that says what to do
        for number, damage in enumerate(damages):
            (cache / "runtimeimg/v1" / name).write_bytes(damage(files[name]))
            assert build(tmp_path, cache, f"again{number}") == wanted, name


def test_records_of_the_cache_of_odd_values_are_done_without(built: tuple[Path, str], tmp_path: Path) -> None:
    cache, wanted = built
    store = Cache.open(cache / "runtimeimg")
    assert store is not None
    names = [name.split("/") for name in kept(cache) if name.startswith(("result/", "part/"))]
    assert names
    for kind, _, key in names:
        data = store.get(kind, key)
        assert data is not None
        for number, raw in enumerate(variants(json.loads(data))):
            if raw == b"[]":
                continue  # what a build that changes nothing comes to
            store.put(kind, key, raw)
            if number % 7 == 0 or number < 60:  # each odd value, and each place
                assert build(tmp_path, cache, "again") == wanted, raw[:300]


def test_tables_of_the_cache_that_are_not_ours(built: tuple[Path, str], tmp_path: Path) -> None:
    cache, _ = built
    store = Cache.open(cache / "runtimeimg")
    assert store is not None
    keys = [name.split("/")[2] for name in kept(cache) if name.startswith("toc/")]
    own = store.get("toc", keys[0])
    assert own is not None
    assert Toc.from_bytes(own) is not None
    head = own[: len(own) - 8]
    for raw in (b"", own[:4], own[:20], head, own + b"x", own[:-1]):
        assert Toc.from_bytes(raw) is None
    begin = own[: own.index(b"\n") + 1] + bytes(4)
    for chunk in (b"x" * 30, zstd().compress(b"\xc1" * 30), zstd().compress(b"\x05"), zstd().compress(b"\x91\x05")):
        table = Toc.from_bytes(begin + struct.pack(">III", 1, 0, len(chunk)) + chunk)
        assert table is not None
        with pytest.raises(InvalidDocumentError) as caught:
            list(table.rows())
        assert caught.value.hint == "empty it: runtimeimg cache prune"


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises((InvalidDocumentError, NotFoundError)) as caught:
        find_login("host", "a/b", StoreOptions(authfile=tmp_path))
    assert str(tmp_path) in caught.value.message
