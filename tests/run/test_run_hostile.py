"""Labels that are hostile or broken: nothing is started, and one clear line says why."""

import base64
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import msgpack
import pytest

from runtimeimg.cli.main import main
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.plan import CONTEXT_LABEL
from runtimeimg.runtimegraph import DAEMON_LABEL, ENVD_LABEL, EXPOSE_LABEL, VERSION_LABEL
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.engine.images import DaemonDestination, DaemonSource

from .conftest import PREFIX

pytestmark = pytest.mark.engine

TAG = f"{PREFIX}/hostile:1"


def packed(value: Any) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else msgpack.packb(value)).decode()


def daemons(value: Any) -> dict[str, str]:
    return {VERSION_LABEL: "v1", DAEMON_LABEL: value if isinstance(value, str) else packed(value)}


def expose(*items: Any) -> dict[str, str]:
    return {VERSION_LABEL: "v1", EXPOSE_LABEL: packed(list(items))}


def port(**changes: Any) -> dict[str, Any]:
    return {"EnvdPort": 80, **changes}


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x90"


CASES: dict[str, dict[str, str]] = {
    "no-version": {DAEMON_LABEL: packed([["a"]])},
    "no-version-but-expose": {EXPOSE_LABEL: packed([port()])},
    "version-2": {VERSION_LABEL: "v2"},
    "version-upper-case": {VERSION_LABEL: "V1"},
    "version-empty": {VERSION_LABEL: ""},
    "version-space": {VERSION_LABEL: "v1 "},
    "version-line-break": {VERSION_LABEL: "v1\nrm -rf"},
    "version-long": {VERSION_LABEL: "v" * 100_000},
    "not-base64": daemons("!!!!"),
    "base64-padding": daemons("kZGhY"),
    "base64-url": daemons("__--"),
    "base64-line-break": daemons("kZGh\nYQ=="),
    "base64-not-ascii": daemons("é"),
    "empty": daemons(""),
    "trailing": daemons(packed(msgpack.packb([["a"]]) + b"\xc0")),
    "truncated": daemons(packed(msgpack.packb([["a" * 50]])[:-3])),
    "never-used-byte": daemons(packed(b"\xc1")),
    "map": daemons({"a": ["b"]}),
    "number": daemons(7),
    "text": daemons(packed("sh -c id")),
    "true": daemons(True),
    "strings": daemons(["sh", "-c"]),
    "numbers-in-argv": daemons([["sh", 1]]),
    "null-in-argv": daemons([["sh", None]]),
    "float-in-argv": daemons([["sh", float("nan")]]),
    "bytes-in-argv": daemons([[b"sh"]]),
    "not-utf8": daemons(packed(b"\x91\x91\xa1\xff")),
    "extension": daemons(packed(b"\x91\x91\xd4\x01\x00")),
    "timestamp": daemons(packed(b"\x91\x91\xd6\xff\x00\x00\x00\x00")),
    "empty-argv": daemons([[]]),
    "empty-program": daemons([["", "x"]]),
    "nul-in-argv": daemons([["sh", "a\0b"]]),
    "deep": daemons(packed(nested(1000))),
    "very-deep": daemons(packed(nested(40_000))),
    "array-of-4-billion": daemons(packed(b"\xdd\xff\xff\xff\xff")),
    "map-of-4-billion": daemons(packed(b"\xdf\xff\xff\xff\xff")),
    "text-of-4-gigabytes": daemons(packed(b"\x91\x91\xdb\xff\xff\xff\xff")),
    "65-daemons": daemons([["d"]] * 65),
    "64-KiB": daemons(packed([["x" * 49_200]])),
    "1-MiB": daemons("A" * (1 << 20)),
    "port-0": expose(port(EnvdPort=0)),
    "port-65536": expose(port(EnvdPort=65536)),
    "port-negative": expose(port(EnvdPort=-1)),
    "port-2-to-the-64": expose(port(EnvdPort=2**64 - 1)),
    "port-text": expose(port(EnvdPort="80")),
    "port-true": expose(port(EnvdPort=True)),
    "port-float": expose(port(EnvdPort=80.5)),
    "port-missing": expose({"HostPort": 80}),
    "host-port-70000": expose(port(HostPort=70000)),
    "host-port-text": expose(port(HostPort="80; reboot")),
    "service-number": expose(port(ServiceName=1)),
    "service-line-break": expose(port(ServiceName="web\nprivileged: true")),
    "service-escape": expose(port(ServiceName="\x1b[2J")),
    "service-long": expose(port(ServiceName="x" * 300)),
    "address-words": expose(port(ListeningAddr="0.0.0.0 --privileged")),
    "address-option": expose(port(ListeningAddr="--privileged")),
    "address-name": expose(port(ListeningAddr="host.example.com")),
    "address-zone": expose(port(ListeningAddr="fe80::1%eth0")),
    "address-port": expose(port(ListeningAddr="0.0.0.0:22")),
    "expose-number": expose(80),
    "expose-number-keys": expose({1: 80}),
    "expose-map": {VERSION_LABEL: "v1", EXPOSE_LABEL: packed({"EnvdPort": 80})},
    "300-ports": expose(*(port(EnvdPort=number) for number in range(1, 301))),
    "one-host-port-twice": expose(port(HostPort=9999), port(EnvdPort=81, HostPort=9999)),
    "envd-not-json": {ENVD_LABEL: "{"},
    "envd-list": {ENVD_LABEL: "[]"},
    "envd-deep": {ENVD_LABEL: "[" * 60_000},
    "envd-daemon-text": {ENVD_LABEL: json.dumps({"daemon": "sh -c id"})},
    "envd-surrogate": {ENVD_LABEL: '{"daemon": [["\\ud800"]]}'},
    "envd-port-0": {ENVD_LABEL: json.dumps({"expose": [{"EnvdPort": 0}]})},
    "envd-nan": {ENVD_LABEL: '{"expose": [{"EnvdPort": NaN}]}'},
    "envd-1-MiB": {ENVD_LABEL: " " * (1 << 20) + "{}"},
    "context-root": {CONTEXT_LABEL: "/"},
    "context-parent": {CONTEXT_LABEL: "/workspace/../etc"},
    "context-relative": {CONTEXT_LABEL: "etc"},
    "context-proc": {CONTEXT_LABEL: "/proc/1"},
    "context-line-break": {CONTEXT_LABEL: "/work\nspace"},
}


@pytest.fixture(scope="module")
def base(tiny: str) -> Image:
    image = DaemonSource(Location.parse(tiny), StoreOptions()).open()
    return image.with_config(image.config.with_config(Entrypoint=["echo", "started"]))


@pytest.fixture
def hostile(base: Image, engine: docker.APIClient) -> Iterator[Callable[[dict[str, str]], str]]:
    """Puts the base with these labels into the Engine, until the test ends."""

    def put(labels: dict[str, str]) -> str:
        image = base.with_config(base.config.with_config(Labels={VERSION_LABEL + ".x": "", **labels}))
        DaemonDestination(Location.parse(TAG), StoreOptions()).write(image)
        return TAG

    yield put
    engine.remove_image(TAG, force=True)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 50


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("leaves_no_run")
def test_nothing_starts(
    name: str,
    hostile: Callable[[dict[str, str]], str],
    engine: docker.APIClient,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = hostile(CASES[name])
    began = time.time()
    for arguments, code in ((["run", image], 125), (["export", image, "--to", "docker"], 2)):
        monkeypatch.setattr(sys, "argv", ["runtimeimg", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        lines = err.splitlines()
        assert (ended.value.code, out) == (code, ""), err
        assert lines[0].startswith("runtimeimg: ")
        assert "internal error" not in err
        assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("  ")), err
        assert all(len(line) < 400 and line.isprintable() for line in lines)
    events = engine.events(
        since=began - 1, until=time.time(), filters={"type": "container", "image": image}, decode=True
    )
    assert [event["Action"] for event in events] == []
