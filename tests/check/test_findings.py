"""Each finding: an image that really fails that way on the Engine, or is refused by it, and a healthy twin."""

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.check.rules import RULES
from runtimeimg.findings import Severity
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.runtimegraph import RuntimeGraph, encode
from runtimeimg.stores import StoreOptions, open_one
from runtimeimg.supervisor import wrap
from tests.check.conftest import Start
from tests.check.images import Files, Put, found, ids, image
from tests.check.objects import GLIBC, LOADER, MUSL, Object, library, program, static

DEBIAN = "debian:bookworm-slim"
LIB = "/usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is put over Debian (or over nothing), how it is configured, and what the Engine says of it."""

    rule: str
    bad: Files
    good: Files
    said: str
    """Words of the Engine or of the program that fails."""
    config: dict[str, Any]
    better: dict[str, Any] | None = None
    scratch: bool = False
    code: int | None = None


def run(text: bytes = b"#!/bin/sh\nexit 0\n", mode: int = 0o755, **more: int) -> Put:
    return Put(data=text, mode=mode, **more)


ZONE = b"TZif".ljust(20, b"\0") + struct.pack(">6Ii2B", 0, 0, 0, 0, 1, 4, 9 * 3600, 0, 0) + b"OUR\0"
"""A time zone nine hours east of Greenwich (RFC 8536, "The TZif Format")."""
TRUE = {"Entrypoint": ["/bin/true"]}
APP = {"Entrypoint": ["/app/run"], "Cmd": None}


def labels(*daemon: str) -> dict[str, str]:
    """The runtime graph of an image with one daemon."""
    return encode(RuntimeGraph(daemons=(daemon,)))


CASES = {
    "nothing": Case(
        rule="START-001", scratch=True, bad={"/app/run": run(static())}, good={"/app/run": run(static())},
        config={}, better=APP, said="no command specified",
    ),
    "not-on-path": Case(
        rule="START-002", bad={"/venv/bin/server": run()}, good={"/usr/local/bin/server": run()},
        config={"Entrypoint": ["server"]}, said="executable file not found",
    ),
    "dangling": Case(
        rule="START-002", bad={"/app/run": "/nowhere/run"}, good={"/app/run": "/bin/true"}, config=APP,
        said="no such file or directory",
    ),
    "not-executable": Case(
        rule="START-003", bad={"/app/run": run(mode=0o644)}, good={"/app/run": run()}, config=APP,
        said="permission denied",
    ),
    "folder": Case(
        rule="START-003", bad={"/app/run": Put(data=None)}, good={"/app/run": run()}, config=APP,
        said="permission denied|is a directory",
    ),
    "interpreter": Case(
        rule="START-004", bad={"/app/run": run(b"#!/usr/bin/ruby\n")}, good={"/app/run": run()}, config=APP,
        said="no such file or directory",
    ),
    "env-interpreter": Case(
        rule="START-004", bad={"/app/run": run(b"#!/usr/bin/env ruby\n")}, good={"/app/run": run(b"#!/usr/bin/env sh\n")},
        config=APP, said="ruby", code=127,
    ),
    "carriage-return": Case(
        rule="START-004", bad={"/app/run": run(b"#!/bin/sh\r\nexit 0\r\n")}, good={"/app/run": run()}, config=APP,
        said="no such file or directory",
    ),
    "no-first-line": Case(
        rule="START-005", bad={"/app/run": run(b"echo hello\n")}, good={"/app/run": run()}, config=APP,
        said="exec format error",
    ),
    "empty": Case(
        rule="START-005", bad={"/app/run": run(b"")}, good={"/app/run": run()}, config=APP, said="exec format error",
    ),
    "other-machine": Case(
        rule="START-006", bad={"/app/run": run(Object(static=True, machine=183).build())},
        good={"/app/run": run(static())}, config=APP, said="exec format error",
    ),
    "script-missing": Case(
        rule="START-007", bad={}, good={"/app/start.sh": b"exit 0\n"}, config={"Entrypoint": ["/bin/sh", "/app/start.sh"]},
        said="start.sh", code=2,
    ),
    "work-dir": Case(
        rule="START-008", bad={"/app": b"a file"}, good={"/app": Put(data=None)}, config={**TRUE, "WorkingDir": "/app"},
        said="not a directory",
    ),
    "no-loader": Case(
        rule="LIB-001", scratch=True, bad={"/app/run": run(program("libc.so.6"))}, good={"/app/run": run(static())},
        config=APP, said="no such file or directory",
    ),
    "musl-on-glibc": Case(
        rule="LIB-001", bad={"/app/run": run(program(interpreter=MUSL))}, good={"/app/run": run(program())}, config=APP,
        said="no such file or directory",
    ),
    "library": Case(
        rule="LIB-002", bad={"/app/run": run(program("libmine.so.1"))},
        good={"/app/run": run(program("libmine.so.1")), f"{LIB}/libmine.so.1": run(library("libmine.so.1"))},
        config=APP, said="libmine.so.1: cannot open shared object file",
    ),
    "library-where-the-loader-does-not-look": Case(
        rule="LIB-002",
        bad={"/app/run": run(program("libmine.so.1")), "/app/lib/libmine.so.1": run(library("libmine.so.1"))},
        good={"/app/run": run(program("libmine.so.1", runpath="$ORIGIN/lib")),
              "/app/lib/libmine.so.1": run(library("libmine.so.1"))},
        config=APP, said="libmine.so.1: cannot open shared object file",
    ),
    "library-five-levels-down": Case(
        rule="LIB-002",
        bad={"/app/run": run(program("liba.so")), **{f"{LIB}/lib{one}.so": run(library(f"lib{one}.so", f"lib{other}.so"))
             for one, other in ("ab", "bc", "cd", "de", "ef")}},
        good={"/app/run": run(program("liba.so")), **{f"{LIB}/lib{one}.so": run(library(f"lib{one}.so", f"lib{other}.so"))
              for one, other in ("ab", "bc", "cd", "de", "ef")}, f"{LIB}/libf.so": run(library("libf.so"))},
        config=APP, said="libf.so: cannot open shared object file",
    ),
    "runpath-is-not-inherited": Case(
        rule="LIB-002",
        bad={"/app/run": run(program("liba.so", runpath="/app/lib")), "/app/lib/liba.so": run(library("liba.so", "libb.so")),
             "/app/lib/libb.so": run(library("libb.so"))},
        good={"/app/run": run(program("liba.so", rpath="/app/lib")), "/app/lib/liba.so": run(library("liba.so", "libb.so")),
              "/app/lib/libb.so": run(library("libb.so"))},
        config=APP, said="libb.so: cannot open shared object file",
    ),
    "library-for-another-machine": Case(
        rule="LIB-002",
        bad={"/app/run": run(program("libmine.so.1")), f"{LIB}/libmine.so.1": run(library("libmine.so.1", machine=183))},
        good={"/app/run": run(program("libmine.so.1")), f"{LIB}/libmine.so.1": run(library("libmine.so.1"))},
        config=APP, said="libmine.so.1: cannot open shared object file",
    ),
    "glibc-is-older": Case(
        rule="LIB-003", bad={"/app/run": run(program("libc.so.6", requires={"libc.so.6": ["GLIBC_2.99"]}))},
        good={"/app/run": run(program("libc.so.6", requires={"libc.so.6": ["GLIBC_2.34"]}))}, config=APP,
        said="version `GLIBC_2.99' not found",
    ),
    "user": Case(rule="USER-001", bad={}, good={}, config={**TRUE, "User": "app"}, better={**TRUE, "User": "1000"},
                 said="unable to find user app"),
    "group": Case(rule="USER-001", bad={}, good={}, config={**TRUE, "User": "1000:app"},
                  better={**TRUE, "User": "1000:1000"}, said="unable to find group app"),
    "user-may-not-execute": Case(
        rule="USER-003", bad={"/app/run": run(mode=0o700)}, good={"/app/run": run()}, config={**APP, "User": "1000"},
        said="permission denied",
    ),
    "user-may-not-enter": Case(
        rule="USER-003", bad={"/app": Put(data=None, mode=0o700), "/app/run": run()},
        good={"/app": Put(data=None), "/app/run": run()}, config={**APP, "User": "1000"}, said="permission denied",
    ),
    "user-may-not-read-the-library": Case(
        rule="USER-003",
        bad={"/app/run": run(program("libmine.so.1")), f"{LIB}/libmine.so.1": run(library("libmine.so.1"), mode=0o700)},
        good={"/app/run": run(program("libmine.so.1")), f"{LIB}/libmine.so.1": run(library("libmine.so.1"))},
        config={**APP, "User": "1000"}, said="libmine.so.1: cannot open shared object file",
    ),
    "user-may-not-read-the-script": Case(
        rule="USER-003", bad={"/app/run": run(mode=0o711)}, good={"/app/run": run()}, config={**APP, "User": "1000"},
        said="ermission denied",
    ),
    "shell-line": Case(
        rule="START-002", bad={}, good={"/usr/local/bin/server": run()},
        config={"Entrypoint": ["/bin/sh", "-c", "exec server --port 80"]}, said="not found", code=127,
    ),
    "wrapper-of-daemons-without-a-shell": Case(
        rule="START-002", scratch=True, bad={"/app/run": run(static())}, good={"/app/run": run(static())},
        config={"Entrypoint": list(wrap([["/app/run"]], ["/app/run"]))}, better=APP, said="no such file or directory",
    ),
    "wrapper-of-daemons-that-are-not-there": Case(
        rule="START-002", bad={"/app/run": run(static())}, good={"/app/run": run(static())},
        config={"Entrypoint": list(wrap([["/app/daemon"]], ["/bin/sleep", "60"])), "Labels": labels("/app/daemon")},
        better={"Entrypoint": list(wrap([["/bin/sleep", "60"]], ["/app/run"])), "Labels": labels("/bin/sleep", "60")},
        said="/app/daemon: not found",
    ),
    "module-by-the-user-of-env": Case(
        rule="START-002", bad={}, good={"/usr/local/bin/server": run()},
        config={"Entrypoint": ["/usr/bin/env", "A=b", "server"]}, said="No such file", code=127,
    ),
    "time-zone": Case(
        rule="DATA-002", bad={}, good={"/usr/share/zoneinfo/Our/Zone": ZONE},
        config={"Entrypoint": ["/bin/sh", "-c", 'test "$(date +%z)" = +0900 || { echo "UTC it is"; exit 3; }'],
                "Env": ["TZ=Our/Zone"]}, said="UTC it is", code=3,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def debian() -> Image:
    return open_one(Location.parse(f"docker-daemon:{DEBIAN}"), None, StoreOptions())


@pytest.mark.engine
@pytest.mark.parametrize("name", CASES)
def test_what_is_found_fails_and_what_is_not_found_starts(name: str, debian: Image, start: Start) -> None:
    case = CASES[name]
    base = None if case.scratch else debian
    below = replace(base, config=base.config.with_config(Cmd=None)) if base is not None else None
    bad = image(case.bad, base=below, **case.config)
    good = image(case.good, base=below, **(case.better or case.config))
    assert ids(found(good, base=base)) == []
    assert ids(found(bad, base=base)) == [case.rule]
    code, said = start(good)
    assert (code, said) == (0, "")
    code, said = start(bad)
    if case.said:
        assert code == case.code if case.code is not None else code != 0
        assert any(words.lower() in said.lower() for words in case.said.split("|")), said


def test_every_rule_is_seen() -> None:
    """Those that a container on Docker does not tell alone have their tests elsewhere."""
    here = {case.rule for case in CASES.values()}
    others = {
        "test_harm.py": {"LIB-004", "LIB-005", "USER-004", "RUN-002", "SAFE-001", "SAFE-002", "SAFE-003", "SIZE-001"},
        "test_ecosystems.py": {"LIB-006", "RUN-001", "DATA-001", "DATA-004"},
        "test_containerd.py": {"START-009"},
        "test_kubelet.py": {"USER-002"},
        "test_cuda.py": {"DATA-003"},
    }
    for file, rules in others.items():
        text = (Path(__file__).parent / file).read_text()
        assert all(f'"{rule}"' in text for rule in rules)
    assert here.isdisjoint(set().union(*others.values()))
    assert here.union(*others.values()) == {rule.id for rule in RULES}


def simple(files: Files, **config: Any) -> Image:
    return image({"/app/run": run(static()), **files}, **{"Entrypoint": ["/app/run"], **config})


@pytest.mark.parametrize(
    ("bad", "good", "rule"),
    [
        ({"/usr/bin/su": run(static(), mode=0o4755)}, {"/usr/bin/su": run(static())}, "SAFE-001"),
        ({"/usr/bin/wall": run(static(), mode=0o2755)}, {"/usr/bin/wall": run(static(), mode=0o2644)}, "SAFE-001"),
        ({"/app/data": run(b"x", mode=0o666)}, {"/app/data": run(b"x", mode=0o664)}, "SAFE-002"),
        ({"/app/.npmrc": b"//x/:_authToken=abcdef\n"}, {"/app/.npmrc": b"//x/:_authToken=${TOKEN}\n"}, "SAFE-003"),
        ({"/app/key.pem": b"-----BEGIN RSA PRIVATE KEY-----\nx\n"}, {"/app/key.pem": b"-----BEGIN CERTIFICATE-----\n"}, "SAFE-003"),
        ({"/root/.ssh/id_ed25519": b"-----BEGIN OPENSSH PRIVATE KEY-----\n"}, {"/app/libcrypto.key.js": b"x"}, "SAFE-003"),
        ({"/app/.git/HEAD": b"ref", "/app/.git": Put(data=None)}, {"/app/.git": b"gitdir: x"}, "SAFE-003"),
        ({"/app/.env": b"DB_PASSWORD=hunter2\n"}, {"/app/.env": b"PORT=80\nDB_PASSWORD=\n"}, "SAFE-003"),
        ({"/root/.docker/config.json": b'{"auths":{"r":{"auth":"dXNlcjpwYXNz"}}}'}, {"/app/config.json": b'{"auth": "x"}'}, "SAFE-003"),
        ({"/root/.aws/credentials": b"aws_secret_access_key = x"}, {"/root/.aws/credentials": b"region = x"}, "SAFE-003"),
        ({"/root/.git-credentials": b"https://me:secret@example.com\n"}, {"/root/.git-credentials": b"https://example.com\n"}, "SAFE-003"),
        ({"/root/.netrc": b"machine x login y password z"}, {"/root/.netrc": b"machine x login y"}, "SAFE-003"),
        ({"/root/.pypirc": b"[pypi]\npassword = x\n"}, {"/root/.pypirc": b"[pypi]\nusername = x\n"}, "SAFE-003"),
        ({"/var/cache/apt/pkgcache.bin": bytes(70_000)}, {"/var/cache/other/pkgcache.bin": bytes(70_000)}, "SIZE-001"),
    ],
)  # fmt: skip
def test_contents_that_should_not_be_there(bad: Files, good: Files, rule: str) -> None:
    base = image({"/etc/x": b""}, Entrypoint=["/app/run"])
    least = Severity.INFO
    for files, expected in ((bad, [rule]), (good, [])):
        made = image({"/app/run": run(static()), **files}, base=base)
        assert ids(found(made, base=base, least=least)) == expected
        # The same in the base is the base's affair.
        below = simple(files)
        assert ids(found(image({"/app/x": b"x"}, base=below), base=below, least=least)) == []


def test_of_an_unknown_base_rights_are_no_warning() -> None:
    made = simple({"/usr/bin/su": run(static(), mode=0o4755)})
    assert ids(found(made)) == []
    assert ids(found(made, least=Severity.INFO)) == ["SAFE-001"]


def test_the_level_of_the_processor() -> None:
    v3 = {"/app/run": run(Object(static=True, isa=3).build())}
    assert ids(found(image(v3, **APP))) == ["LIB-004"]
    assert ids(found(image(v3, variant="v3", **APP))) == []
    assert ids(found(image(v3, variant="v2", **APP))) == ["LIB-004"]


@pytest.mark.engine
def test_libc_over_the_bases(debian: Image) -> None:
    copied = {f"{LIB}/libc.so.6": run(library("libc.so.6", defines=["GLIBC_2.2.5", "GLIBC_2.34"]))}
    made = image(copied, base=debian, Entrypoint=["/bin/true"])
    said = found(made, base=debian)
    assert "LIB-005" in ids(said)
    beside = image({f"{LIB}/libmine.so.6": run(library("libmine.so.6"))}, base=debian, Entrypoint=["/bin/true"])
    assert ids(found(beside, base=debian)) == []


@pytest.mark.engine
@pytest.mark.parametrize(
    ("priority", "severity"), [("required", "warning"), ("recommended", "info"), ("suggested", "info"), ("?", "info")]
)
def test_libraries_that_a_note_names(debian: Image, priority: str, severity: str) -> None:
    note = json.dumps([{"soname": ["libmine.so.2", "libmine.so.1"], "priority": priority, "feature": "sound"}]).encode()
    app = {"/app/run": run(program("libc.so.6", note=note))}
    (said,) = found(image(app, base=debian, Entrypoint=["/app/run"]), base=debian, least=Severity.INFO)
    assert (said.rule.id, str(said.rule.severity)) == ("LIB-006", severity)
    assert "for sound" in said.message
    there = image({**app, f"{LIB}/libmine.so.1": run(library("libmine.so.1"))}, base=debian, Entrypoint=["/app/run"])
    assert found(there, base=debian, least=Severity.INFO) == []


@pytest.mark.engine
def test_certificates_where_a_client_is_loaded(debian: Image) -> None:
    app = {"/app/run": run(program("libcurl.so.4")), f"{LIB}/libcurl.so.4": run(library("libcurl.so.4"))}
    made = image(app, base=debian, Entrypoint=["/app/run"])
    assert ids(found(made, base=debian)) == ["DATA-001"]
    assert (
        ids(
            found(
                image({**app, "/etc/ssl/certs/ca-certificates.crt": b"x"}, base=debian, Entrypoint=["/app/run"]),
                base=debian,
            )
        )
        == []
    )
    assert ids(found(image(app, base=debian, Entrypoint=["/app/run"], Env=["SSL_CERT_FILE=/app/x"]), base=debian)) == []


def test_a_name_for_a_user() -> None:
    passwd = {"/etc/passwd": b"app:x:1000:1000::/:/bin/sh\n"}
    (said,) = found(simple(passwd, User="app"), least=Severity.INFO)
    assert (said.rule.id, said.fix) == ("USER-002", 'write its number: user: "1000:1000"')
    assert found(simple(passwd, User="1000:1000"), least=Severity.INFO) == []


@pytest.mark.engine
def test_the_fix_names_what_the_builder_image_has(debian: Image) -> None:
    app = {"/app/run": run(program("libmine.so.1"))}
    builder = image(
        {**app, f"{LIB}/libmine.so.1": "libmine.so.1.2", f"{LIB}/libmine.so.1.2": run(library("libmine.so.1"))},
        base=debian,
    )
    (said,) = found(image(app, base=debian, Entrypoint=["/app/run"]), base=debian, builder=builder)
    assert said.fix == "add to spec.runtime.directories: '/lib/x86_64-linux-gnu/libmine.so.1'"


def test_native_modules_of_node_for_another_version() -> None:
    """Told by the symbol that Node looks for; modules of Node-API, which are for all versions, have another."""
    node = {
        "/usr/bin/node": run(program("libnode.so.108")),
        f"{LIB}/libnode.so.108": run(library("libnode.so.108")),
        GLIBC: run(LOADER),
        "/app/main.js": b"",
    }
    module = "/app/node_modules/m/build/m.node"
    for symbol, expected in ((b"v115", ["RUN-002"]), (b"v108", []), (b"v0", [])):
        data = library(None) + b"\0node_register_module_" + symbol + b"\0"
        made = image({**node, module: Put(data=data)}, Entrypoint=["/usr/bin/node", "/app/main.js"])
        assert ids(found(made)) == expected, symbol


def test_native_modules_of_python_for_another_version() -> None:
    python = {
        "/usr/bin/python3.11": run(program()),
        GLIBC: run(LOADER),
        "/usr/lib/python3.11/encodings/__init__.py": b"",
        "/usr/lib/python3.11/site-packages/m/__init__.py": b"",
    }
    start = {"Entrypoint": ["/usr/bin/python3.11", "-m", "m"]}
    for names, expected in (
        (["m/a.cpython-312-x86_64-linux-gnu.so"], ["RUN-002"]),
        (["m/a.cpython-312-x86_64-linux-gnu.so", "m/a.cpython-311-x86_64-linux-gnu.so"], []),
        (["m/a.cpython-312-x86_64-linux-gnu.so", "m/a.abi3.so"], []),
        (["m/a.abi3.so"], []),
    ):
        files = {f"/usr/lib/python3.11/site-packages/{name}": Put(data=library()) for name in names}
        assert ids(found(image({**python, **files}, **start))) == expected, names


NODE_IMAGE: Files = {
    "/usr/bin/node": run(program("libc.so.6")),
    GLIBC: run(LOADER),
    "/lib/x86_64-linux-gnu/libc.so.6": run(library("libc.so.6")),
}
PAGE: Files = {"/src/public/index.html": b"<html>"}


@pytest.mark.parametrize(
    ("text", "files", "more", "named"),
    [
        (b'serve("public")', PAGE, [], "/app/public"),
        (b"serve('./public/')", PAGE, [], "/app/public"),
        (b'serve(process.env.X ?? "web/views")', {"/src/web/views/a.ejs": b""}, [], "/app/web/views"),
        (b'serve("other")', PAGE, [], None),
        (b'serve("public files")', PAGE, [], None),
        (b'serve("public" + x)', PAGE, [("/src/public", "/srv/www")], None),
        (b'serve("public")', PAGE, [("/src/public/index.html", "/srv/")], None),
        (b'run("test")', {"/src/test/a.test.js": b"", "/src/test/page.html": b""}, [], None),
        (b'run("src")', {"/src/src/a.ts": b"", "/src/src/a.html": b""}, [], None),
        (b'read("data")', {"/src/data/a.bin": b""}, [], None),
        (b'read("empty")', {"/src/empty": Put(data=None)}, [], None),
        (b'read("index.html")', {"/src/index.html": b""}, [], None),
        (b'read("../../etc")', {"/src/etc/x.html": b""}, [], None),
    ],
)
def test_folders_that_scripts_name(text: bytes, files: Files, more: list[tuple[str, str]], named: str | None) -> None:
    script: Files = {"/src/dist/main.js": text}
    builder = image({**NODE_IMAGE, **script, **files})
    base = image(NODE_IMAGE)
    start = {"Entrypoint": ["/usr/bin/node", "/app/dist/main.js"], "WorkingDir": "/app"}
    copies = [("/src/dist", "/app/dist"), *more]
    made = image({"/app/dist/main.js": text}, base=base, **start)
    said = found(made, base=base, builder=builder, copies=copies)
    assert [(item.rule.id, item.where.inside) for item in said] == ([("DATA-004", named)] if named else [])
    assert found(made, base=base) == []
    if named is not None:
        there = image({"/app/dist/main.js": text, f"{named}/x": b""}, base=base, **start)
        assert found(there, base=base, builder=builder, copies=copies) == []


def test_folders_that_scripts_of_python_name() -> None:
    base = image(
        {"/usr/bin/python3.11": run(program()), GLIBC: run(LOADER), "/usr/lib/python3.11/encodings/__init__.py": b""}
    )
    files: Files = {"/app/main.py": b'import os\nserve("static")\n'}
    builder = image({**files, "/app/static/style.css": b""}, base=base)
    made = image(files, base=base, Entrypoint=["/usr/bin/python3.11", "/app/main.py"], WorkingDir="/app")
    (said,) = found(made, base=base, builder=builder, copies=[("/app/main.py", "/app/main.py")])
    assert (said.rule.id, said.fix) == ("DATA-004", "add to spec.runtime.directories: '/app/static'")
