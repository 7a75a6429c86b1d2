"""Registries that fail at each request of each operation: what is written is whole in the end, or is what it was.

The cases come from tables: an operation has moments (the requests that it makes), a moment has faults, and a fault
passes (it happens once, or twice) or lasts. What passes must not show in the result. What lasts must end in one error
that names the registry, with the exit code that the table says; what was there under the name stays.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.build import build
from runtimeimg.builders import BuildRequest, load_builder
from runtimeimg.errors import RuntimeimgError
from runtimeimg.image import Image
from runtimeimg.oci import Digest, Location
from runtimeimg.stores import StoreOptions, open_destination
from runtimeimg.stores.copying import copy
from tests.compose.images import plan, read
from tests.stores import made
from tests.stores.misbehaving import (
    Action,
    Break,
    BreakUpload,
    Corrupt,
    FaultyRegistry,
    Forward,
    Header,
    Longer,
    Stall,
    Status,
)

pytestmark = [pytest.mark.registry, pytest.mark.timeout(60)]

SIZE = 200_000
HALF = SIZE // 2
ALWAYS = 999
FOR_GOOD, FOR_NOW, MISSING = 5, 75, 3
ERRORS = b'{"errors": [{"code": "BROKEN", "message": "it is broken"}]}'
OLD, NEW, BASE = made.image(1, SIZE), made.image(2, SIZE), made.image(3, SIZE)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong, how often, and the exit code that it comes to."""

    action: Action
    times: int = 1
    code: int = 0


def status(code: int, times: int, exit_code: int, **headers: str) -> Fault:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(action=Status(code=code, headers=sent, body=ERRORS), times=times, code=exit_code)


def header(name: str, value: str | None, times: int = 1, code: int = 0) -> Fault:
    return Fault(action=Header(name=name, value=value), times=times, code=code)


PASSES = {
    "reset": Fault(action=Break(after=0), times=2),
    **{str(code): status(code, 2, 0) for code in (408, 500, 502, 503, 504)},
    "429": status(429, 2, 0, Retry_After="7"),
}
"""What any request may meet with, and what must not be seen of it."""
LASTS = {
    "reset for ever": Fault(action=Break(after=0), times=ALWAYS, code=FOR_NOW),
    "503 for ever": status(503, ALWAYS, FOR_NOW),
    "429 for an hour": status(429, ALWAYS, FOR_NOW, Retry_After="3600"),
    **{f"{code} for ever": status(code, ALWAYS, FOR_GOOD) for code in (400, 401, 403, 410, 501)},
}
READ_PASSES = {
    "cut": Fault(action=Break(after=HALF), times=2),
    "cut at the first byte": Fault(action=Break(after=1), times=2),
    "ends early": Fault(action=Break(after=HALF, clean=True), times=2),
    "ends early unannounced": Fault(action=Break(after=HALF, clean=True, announce=False), times=2),
    "damaged": Fault(action=Corrupt(at=HALF)),
    "too long": Fault(action=Longer()),
    "too short a length": header("Content-Length", "17"),
    "too long a length": header("Content-Length", str(10 * SIZE)),
    "slow": Fault(action=Stall(seconds=0.2, after=HALF)),
    "other bytes": Fault(action=Forward(path=lambda path: path, drop=("range",))),
}
READ_LASTS = {
    "damaged for ever": Fault(action=Corrupt(at=HALF), times=ALWAYS, code=FOR_GOOD),
    "too long for ever": Fault(action=Longer(), times=ALWAYS, code=FOR_GOOD),
    "a length that is none": header("Content-Length", "x", ALWAYS, FOR_GOOD),
    "a web page": Fault(
        action=Status(code=200, headers={"Content-Type": "text/html"}, body=b"<html>"), times=ALWAYS, code=FOR_GOOD
    ),
    "nothing": Fault(action=Status(code=200), times=ALWAYS, code=FOR_GOOD),
    "404 for ever": status(404, ALWAYS, MISSING),
    "redirects in a circle": status(307, ALWAYS, FOR_GOOD, Location="?again"),
    "redirect to nowhere": status(307, ALWAYS, FOR_GOOD),
    "redirect to no address": status(307, ALWAYS, FOR_GOOD, Location="http://a\\@b/"),
}
SMALL = {"damaged": Fault(action=Corrupt(at=5)), "damaged for ever": Fault(action=Corrupt(at=5), times=ALWAYS, code=5)}
"""A document is shorter than a layer."""
WRITE_LASTS = {
    "another digest": header("Docker-Content-Digest", Digest.of(b"x"), ALWAYS, FOR_GOOD),
    "413 for ever": status(413, ALWAYS, FOR_GOOD),
    "redirect": status(307, ALWAYS, FOR_GOOD, Location="/elsewhere"),
}
BODY_PASSES = {f"cut upload at {at}": Fault(action=BreakUpload(after=at), times=2) for at in (0, 1, HALF)}
BODY_LASTS = {"cut upload for ever": Fault(action=BreakUpload(after=HALF), times=ALWAYS, code=FOR_NOW)}
LOCATION = {
    "no Location": header("Location", None, ALWAYS, FOR_GOOD),
    "Location of another scheme": header("Location", "ftp://127.0.0.1/x", ALWAYS, FOR_GOOD),
    "Location with a user": header("Location", "http://user@127.0.0.1/x", ALWAYS, FOR_GOOD),
    "Location that nobody serves": header("Location", "http://127.0.0.1:1/x", ALWAYS, FOR_NOW),
}
OPTIONAL = {name: replace(fault, times=ALWAYS, code=0) for name, fault in {**PASSES, **LASTS}.items()}
"""What can be done without may fail for ever."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A request of an operation: `path` may name `{layer}`, `{config}` and so on of the image at hand."""

    method: str
    path: str
    faults: dict[str, Fault]
    skip: int = 0
    prepare: Callable[[FaultyRegistry, Image], None] = field(default=lambda _proxy, _image: None)


READ = {**PASSES, **LASTS, **READ_PASSES, **READ_LASTS}
READ_SMALL = {
    name: fault
    for name, fault in {**READ, **SMALL}.items()
    if name not in {"cut", "ends early", "ends early unannounced", "slow", "other bytes"}
}
PULL = {
    "manifest": Moment(method="GET", path="/manifests/", faults=READ_SMALL),
    "config": Moment(method="GET", path="/blobs/{config}", faults=READ_SMALL),
    "layer": Moment(method="GET", path="/blobs/sha256:{layer}", faults=READ),
}
PUSH = {
    "look for a blob": Moment(method="HEAD", path="/blobs/", faults=OPTIONAL),
    "begin of an upload": Moment(method="POST", path="/uploads/", faults={**PASSES, **LASTS, **LOCATION}),
    "upload": Moment(
        method="PUT",
        path="digest=sha256%3A{layer}",
        faults={**PASSES, **LASTS, **WRITE_LASTS, **BODY_PASSES, **BODY_LASTS, "lost session": status(404, 2, 0)},
    ),
    "manifest": Moment(method="PUT", path="/manifests/sha256:", faults={**PASSES, **LASTS, **WRITE_LASTS}),
    "tag": Moment(method="PUT", path="/manifests/1$", faults={**PASSES, **LASTS, **WRITE_LASTS}),
}


def in_pieces(proxy: FaultyRegistry, image: Image) -> None:
    """Have the registry refuse the first layer as a whole."""
    proxy.rule("PUT", f"digest=sha256%3A{image.layers[0].descriptor.digest.encoded}", Status(code=413))


def broken_piece(proxy: FaultyRegistry, image: Image) -> None:
    """Have a piece break, so that the registry is asked how much has arrived."""
    in_pieces(proxy, image)
    proxy.rule("PATCH", "/uploads/", BreakUpload(after=10), skip=1)


PIECES = {
    "first piece": Moment(
        method="PATCH",
        path="/uploads/",
        prepare=in_pieces,
        faults={**PASSES, **LASTS, **{name: BODY_PASSES[name] for name in ("cut upload at 0", "cut upload at 1")}},
    ),
    "second piece": Moment(
        method="PATCH",
        path="/uploads/",
        prepare=in_pieces,
        skip=1,
        faults={**PASSES, "lost session": status(404, 1, 0), "out of order": status(416, 1, 0)},
    ),
    "how much arrived": Moment(
        method="GET",
        path="/uploads/",
        prepare=broken_piece,
        faults={
            **PASSES,
            "lost session": status(404, 1, 0),
            "no Range": header("Range", None),
            "odd Range": header("Range", "0-" + "9" * 50),
            "more than was sent": header("Range", "0-" + "9" * 14),
        },
    ),
}
MOUNT = {
    "mount": Moment(
        method="POST", path="mount=", faults={**OPTIONAL, "another digest": header("Docker-Content-Digest", "x")}
    ),
}
LOGIN = {
    "token": Moment(
        method="GET",
        path="/token",
        faults={name: fault for name, fault in {**PASSES, **LASTS}.items() if isinstance(fault.action, Status)}
        | {name: READ_LASTS[name] for name in ("a web page", "nothing")}
        | {"404 for ever": status(404, ALWAYS, FOR_GOOD)},
    ),
}
FEW = ("reset", "503", "429", "503 for ever", "403 for ever", "damaged", "damaged for ever", "cut", "404 for ever")


def few(moments: dict[str, Moment]) -> dict[str, Moment]:
    """Return moments with the faults that differ most: where a path that is tried elsewhere is gone once more."""
    return {
        name: replace(moment, faults={key: fault for key, fault in moment.faults.items() if key in FEW})
        for name, moment in moments.items()
    }


TABLE: dict[str, dict[str, Moment]] = {
    "pull to a layout": PULL,
    "pull to an archive": few(PULL),
    "pull with a login": LOGIN,
    "push": PUSH,
    "push in pieces": PIECES,
    "copy within": MOUNT,
    "copy elsewhere: source": few(PULL),
    "copy elsewhere: target": few(PUSH),
    "build": few(PULL),
    "build with a cache": few(PULL),
}
CASES = [
    pytest.param(operation, moment, name, id=f"{operation}-{moment}-{name}".replace(" ", "_"))
    for operation, moments in TABLE.items()
    for moment, found in moments.items()
    for name in found.faults
]


class Bench:
    """What an operation works with: the misbehaving registry, a registry that behaves, folders."""

    def __init__(self, proxy: FaultyRegistry, upstream: str, folder: Path, repository: str) -> None:
        self.proxy = proxy
        self.folder = folder
        self.good = f"docker://{upstream}/{repository}"
        self.bad = f"docker://{proxy.address}/{repository}"
        self.options = StoreOptions(environ={"HOME": str(folder)}, etc=folder, timeout=3, attempts=6)
        self.cache: Path | None = None

    def prepare(self, operation: str) -> tuple[str, Image, Callable[[], object]]:
        """Return where the operation writes to (to be read without faults), the image at hand, and the operation."""
        if operation.startswith("pull"):
            target = f"oci-archive:{self.folder}/a.tar:1" if "archive" in operation else f"oci:{self.folder}/layout:1"
            if "login" in operation:
                self.proxy.auth = "bearer"
                authfile = made.authfile(self.folder / "auth.json", self.proxy.address)
                self.options = replace(self.options, authfile=authfile)
            made.write(f"{self.good}/source:1", NEW)
            return self._over_old(target, f"{self.bad}/source:1", target)
        if operation.startswith("push"):
            made.write(f"{self.good}/target:1", OLD)
            write = open_destination(Location.parse(f"{self.bad}/target:1"), self.options).write
            return f"{self.good}/target:1", NEW, lambda: write(NEW)
        if operation.startswith("copy"):
            made.write(f"{self.good}/source:1", NEW)
            of, to = {
                "copy within": (self.bad, self.bad),
                "copy elsewhere: source": (self.bad, self.good),
                "copy elsewhere: target": (self.good, self.bad),
            }[operation]
            return self._over_old(f"{self.good}/target:1", f"{of}/source:1", f"{to}/target:1")
        self.cache = self.folder / "cache" if "cache" in operation else None
        made.write(f"{self.good}/base:1", BASE)
        made.write(f"{self.good}/source:1", NEW)
        made.write(f"{self.good}/target:1", OLD)
        return f"{self.good}/target:1", NEW, self._build

    def _over_old(self, kept: str, source: str, target: str) -> tuple[str, Image, Callable[[], object]]:
        made.write(kept, OLD)
        places = Location.parse(source), Location.parse(target)
        return kept, NEW, lambda: copy(*places, self.options)

    def _build(self) -> object:
        copies = [("/file200", "/first"), ("/file201", "/second")]
        request = BuildRequest(
            plan=plan(copies, base=f"{self.good}/base:1", builder=f"{self.bad}/source:1"),
            stores=self.options,
            workspace=self.folder,
            cache_dir=self.cache,
        )
        return build(request, load_builder("native"), [Location.parse(f"{self.good}/target:1")])


@pytest.fixture
def bench(
    proxy: FaultyRegistry, upstream: str, tmp_path: Path, passing: Path, request: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    timing = made.Clock().timing
    for module in ("pull", "push"):
        monkeypatch.setattr(f"runtimeimg.stores.registry.{module}.Timing", lambda: timing)
    monkeypatch.setattr("runtimeimg.stores.registry.upload._PIECES", (SIZE // 3, SIZE // 6))
    yield Bench(proxy, upstream, tmp_path, f"f{CASE_NUMBERS[request.node.callspec.id]}")
    assert list(passing.iterdir()) == []


CASE_NUMBERS = {case.id: number for number, case in enumerate(CASES)}


@pytest.mark.parametrize(("operation", "at", "fault"), CASES)
def test_the_image_is_whole_or_as_it_was(bench: Bench, operation: str, at: str, fault: str) -> None:
    kept, image, work = bench.prepare(operation)
    moment, wrong = TABLE[operation][at], TABLE[operation][at].faults[fault]
    names = {"layer": image.layers[0].descriptor.digest.encoded, "config": image.config.digest}
    moment.prepare(bench.proxy, image)
    rule = bench.proxy.rule(
        moment.method, moment.path.format_map(names), wrong.action, times=wrong.times, skip=moment.skip
    )
    error = None
    try:
        work()
    except RuntimeimgError as raised:
        error = raised
    assert rule.times < wrong.times, "the fault did not happen"
    if wrong.code:
        assert error is not None, "nothing was said of it"
        assert error.exit_code == wrong.code, error
        assert "127.0.0.1:" in error.message
        assert "\n" not in error.message
        # The registry has done what it was asked for last where only its answer to that is lost or odd.
        done = at == "tag" and not isinstance(wrong.action, Status)
        assert contents(kept) == layers(NEW if done else OLD)
    else:
        assert error is None, error
        found = contents(kept)
        if operation.startswith("build"):
            assert found[:2] == layers(BASE)
            assert len(found) == 3
            assert built_files(kept) == {"first", "second"}
        else:
            assert found == layers(NEW)
    left = [path.name for path in bench.folder.rglob("*") if path.name.startswith(".runtimeimg")]
    assert left == []


def layers(image: Image) -> list[Digest]:
    return made.digests([layer.descriptor for layer in image.layers])


def contents(where: str) -> list[Digest]:
    """Return the digests of the layers of an image, of the bytes that come when it is read."""
    return made.contents_of(made.read_image(where))


def built_files(where: str) -> set[str]:
    """Return the paths in the last layer of an image."""
    return {entry.path.decode() for entry in read(made.read_image(where).layers[-1])}
