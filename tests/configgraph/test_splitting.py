"""Images split into a small one and the paths of their store, and put together again with the same files."""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.bundle.layerfiles import opened
from runtimeimg.configgraph.splitting import LABEL, PATH, REFERENCES
from runtimeimg.image import Image
from runtimeimg.image.layertar import DIRECTORY
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_image
from tests.configgraph import layouts
from tests.configgraph.layouts import CONFIG, LAYER, MANIFEST, Layout
from tests.indexes.command import done, run

HELLO, LIBC, DATA = (f"{letter * 32}-{name}" for letter, name in zip("abc", ("hello-1.0", "libc", "data"), strict=True))
Members = list[tuple[str, Mapping[str, Any]]]
APP: Members = [
    ("nix", {"type": tarfile.DIRTYPE}),
    ("nix/store", {"type": tarfile.DIRTYPE}),
    (f"nix/store/{HELLO}", {"type": tarfile.DIRTYPE}),
    (f"nix/store/{HELLO}/bin", {"type": tarfile.DIRTYPE}),
    (f"nix/store/{HELLO}/bin/hello", {"data": b"x" * 70_000 + f"/nix/store/{LIBC}/lib".encode(), "mode": 0o555}),
    (f"nix/store/{HELLO}/bin/again", {"type": tarfile.LNKTYPE, "linkname": f"nix/store/{HELLO}/bin/hello"}),
    (f"nix/store/{HELLO}/share", {"type": tarfile.SYMTYPE, "linkname": f"/nix/store/{DATA}"}),
    ("bin", {"type": tarfile.DIRTYPE}),
    ("bin/hello", {"type": tarfile.SYMTYPE, "linkname": f"/nix/store/{HELLO}/bin/hello"}),
]
LIBRARIES: Members = [
    (f"nix/store/{LIBC}/lib/libc.so", {"data": f"/nix/store/{LIBC}".encode(), "uid": 7}),
    (f"nix/store/{DATA}", {"data": b"only a file"}),
]
REST: Members = [("etc/passwd", {"data": b"root:x:0:0::/:\n"})]


def archive(members: Members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, fields in members:
            entry = tarfile.TarInfo(name)
            data = fields.get("data", b"")
            entry.size, entry.mode = len(data), fields.get("mode", 0o755)
            for key in fields.keys() - {"data", "mode"}:
                setattr(entry, key, fields[key])
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def image(layout: Layout, tag: str, *layers: Members) -> None:
    archives = [archive(members) for members in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/bin/hello"], "Labels": {"a": "b"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in archives]},
    }
    made = layouts.json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.blob(made, CONFIG),
        "layers": [layout.blob(data, LAYER.removesuffix("+gzip")) for data in archives],
    }
    layout._named(layout.blob(layouts.json.dumps(manifest).encode(), MANIFEST), tag)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.chdir(tmp_path)
    return Layout(tmp_path / "images")


def found(name: str) -> Image:
    opened_one = open_image(Location.parse(name), StoreOptions())
    assert isinstance(opened_one, Image)
    return opened_one


def files(name: str, *paths: str) -> dict[str, Any]:
    """Return what is at some paths of an image."""
    with opened(found(name)) as there:
        result = {}
        for path in paths:
            item = there.lookup(path)
            if item is not None:
                data = (
                    there.read(path, 1 << 20) if item.kind not in {DIRECTORY, "symlink"} and not item.target else None
                )
                result[path] = (item.kind, item.mode, item.uid, item.gid, item.target, data)
        return result


EVERY = tuple(f"/{name}" for name, _ in [*APP, *LIBRARIES, *REST])


def test_there_and_back(layout: Layout) -> None:
    image(layout, "whole", APP, LIBRARIES, REST)
    paths = done("graph", "split", "oci:images:whole", "-o", "oci:out:small", "--closure", "oci:out:closure").split()
    assert paths == [f"/nix/store/{name}" for name in (HELLO, LIBC, DATA)]
    small, closure = found("oci:out:small"), found("oci:out:closure")
    assert small.config.labels == {"a": "b", LABEL: " ".join(paths)}
    assert small.layers[2].descriptor == found("oci:images:whole").layers[2].descriptor, "nothing of the store is in it"
    assert set(files("oci:out:small", *EVERY)) == {"/nix", "/nix/store", "/bin", "/bin/hello", "/etc/passwd"}
    told = {layer.descriptor.annotations[PATH]: layer.descriptor.annotations for layer in closure.layers}
    assert {path: said.get(REFERENCES, "").split() for path, said in told.items()} == {
        paths[0]: [paths[1], paths[2]],
        paths[1]: [],
        paths[2]: [],
    }
    digest = done("graph", "join", "oci:out:small", "oci:out:closure", "-o", "oci:out:joined")
    joined = found("oci:out:joined")
    assert joined.manifest is not None
    assert joined.manifest.digest == digest
    assert joined.config.labels == {"a": "b"}
    assert joined.config.config["Entrypoint"] == ["/bin/hello"]
    assert files("oci:out:joined", *EVERY) == files("oci:images:whole", *EVERY)
    assert len(files("oci:out:joined", *EVERY)) == len(EVERY)


def test_the_same_image_is_always_split_the_same(layout: Layout) -> None:
    image(layout, "whole", APP, LIBRARIES)
    for name in ("one", "two"):
        done("graph", "split", "oci:images:whole", "-o", f"oci:{name}:small", "--closure", f"oci:{name}:closure")
    for tag in ("small", "closure"):
        first, second = (found(f"oci:{name}:{tag}").to_manifest().digest for name in ("one", "two"))
        assert first == second


WHITEOUT: Members = [(f"nix/store/.wh.{LIBC}", {"data": b""})]
INSIDE: Members = [(f"nix/store/{LIBC}/.wh.lib", {"data": b""})]
ACROSS: Members = [(f"nix/store/{DATA}", {"type": tarfile.LNKTYPE, "linkname": f"nix/store/{HELLO}/bin/hello"})]
ODD: Members = [("nix/store/a b/c", {"data": b""})]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ((REST,), "has nothing below /nix/store"),
        ((LIBRARIES, WHITEOUT), "is removed by a later layer"),
        ((LIBRARIES, INSIDE), "is removed by a later layer"),
        ((LIBRARIES, LIBRARIES), "is in two layers"),
        ((APP, ACROSS), "is a hard link across paths"),
        ((ODD,), "has a name that no path of a store has"),
    ],
)
def test_what_cannot_be_split(layers: tuple[Members, ...], said: str, layout: Layout) -> None:
    image(layout, "whole", *layers)
    outcome = run("graph", "split", "oci:images:whole", "-o", "oci:out:small", "--closure", "oci:out:closure")
    assert outcome.code == 2
    assert said in outcome.err
    assert not Path("out").exists()


def test_what_cannot_be_joined(layout: Layout) -> None:
    image(layout, "whole", APP, LIBRARIES)
    image(layout, "other", LIBRARIES[1:])
    done("graph", "split", "oci:images:whole", "-o", "oci:out:small", "--closure", "oci:out:closure")
    done("graph", "split", "oci:images:other", "-o", "oci:out:tiny", "--closure", "oci:out:less")
    outcome = run("graph", "join", "oci:out:small", "oci:out:less", "-o", "oci:out:joined")
    assert (outcome.code, outcome.out) == (3, "")
    assert f"has no path '/nix/store/{HELLO}'" in outcome.err or f"has no path '/nix/store/{LIBC}'" in outcome.err
    assert run("graph", "join", "oci:images:whole", "oci:out:closure", "-o", "oci:out:joined").code == 2
    done("graph", "join", "oci:out:tiny", "oci:out:closure", "-o", "oci:out:joined")
    assert set(files("oci:out:joined", *EVERY)) == {"/nix", "/nix/store", f"/nix/store/{DATA}"}, (
        "no more than is needed"
    )
