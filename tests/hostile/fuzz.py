"""Mutated inputs over all readers: `python tests/hostile/fuzz.py --count 1000000`.

Each input is a valid one with a few bytes, pieces or numbers changed. What is wrong with it must be told by an error
of ours; any other exception, more than 64 MiB of new memory or a second of processor time for one input is a fault,
and the input that shows it is written beside the report. The same `--seed` gives the same inputs.
"""

import argparse
import base64
import contextlib
import gzip
import io
import itertools
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from runtimeimg import runtimegraph
from runtimeimg.cli.index import images, picking
from runtimeimg.compose.merge import merge
from runtimeimg.compose.wanted import Wanted
from runtimeimg.configgraph import bills, impact, saved
from runtimeimg.configgraph.closure import closure, had
from runtimeimg.configgraph.differing import difference
from runtimeimg.configgraph.folding import fold
from runtimeimg.configgraph.model import Kind, View
from runtimeimg.configgraph.placement import place
from runtimeimg.configgraph.views import Whole, named
from runtimeimg.errors import RuntimeimgError
from runtimeimg.image import ImageIndex
from runtimeimg.image.decompress import Unfolded
from runtimeimg.image.indexes import added, assembled, entries_of, flattened
from runtimeimg.image.layertar import LayerTar
from runtimeimg.image.toc import Toc, TocBuilder
from runtimeimg.image.zstd import zstd
from runtimeimg.oci import ImageConfig, Index, Location, Manifest, Platform, parse_manifest
from runtimeimg.oci.mediatypes import OCI_INDEX
from runtimeimg.plan import Facts, resolve
from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph
from runtimeimg.spec import load_spec_text
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.stores.registry import credentials
from runtimeimg.stores.registry.conf import registries_conf
from runtimeimg.stores.registry.daemonjson import daemon_json
from runtimeimg.strategy.amend import Amendment, amend
from runtimeimg.strategy.convert import convert
from tests.compose.images import Item, file, folder, hardlink, symlink, tar, write_layout
from tests.configgraph.graphs import shop

MEMORY = 64 << 10
SECONDS = 1.0
SPEC = b"""\
apiVersion: runtimeimg.dev/v1
kind: Build
metadata: {name: web}
spec:
  builder: {image: "registry.example.com/web-build:1"}
  output: {image: web}
  runtime:
    base: {image: debian:12}
    workDir: /app
    env: {PATH: "/app/bin:$PATH", A: "${B:-x${C:+y}}", B: '\\$5'}
    labels: {a.b/c: "d"}
    directories: [/x, "/y*:/z/", {source: "/[a-z]?", destination: /q/, chown: "a:b"}, $(workspace)/s:/s]
    user: {name: app, group: "1001"}
    entrypoint: [java, -jar]
    expose: [8080, {port: 8443, hostPort: 443, serviceName: https, listeningAddr: 127.0.0.1}]
    daemons: [[redis-server, --port, "6379"]]
    volumes: [/data]
    stopSignal: SIGTERM
  variants:
  - {name: plain}
  - name: gpu
    platform: linux/amd64/v3
    annotations: {a.b/c: "d"}
    builder: {image: "gpu:1"}
    runtime: {base: {image: scratch}, env: {A: "$B"}, args: [x], paths: [/x]}
---
"""
BUILD = SPEC.replace(b"runtimeimg.dev/v1", b"shipwright.io/v1alpha1")
TASK = b"""\
apiVersion: tekton.dev/v1
kind: Task
metadata: {name: build}
spec:
  params:
  - {name: image, type: string}
  steps:
  - name: build
    image: builder
    args: ["$(params.image)"]
"""
LAYER = tar(
    [
        folder("a", 0o1755, 5, 6),
        file("a/plain", b"x" * 700),
        file("a/" + "n" * 120 + "/" + "m" * 150, b"long"),
        file("a/é\udcff", b"odd"),
        symlink("a/link", "../" + "t" * 120),
        hardlink("a/hard", "a/plain"),
        Item(path="a/null", kind="c"),
        file("a/.wh.gone", b""),
        file("a/.wh..wh..opq", b""),
        symlink("b", "a"),
        file("b/through", b"1"),
        Item(path="a/cap", data=b"c", xattrs=(("security.capability", "\x01\x02"), ("user.b", "z"))),
    ]
)
CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2024-05-06T07:08:09Z",
    "config": {"Env": ["A=1"], "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}, "Cmd": ["x"]},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "a" * 64]},
    "history": [{"created_by": "x", "empty_layer": True}],
}
DESCRIPTOR = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "b" * 64, "size": 5}
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": DESCRIPTOR["mediaType"],
    "config": {**DESCRIPTOR, "mediaType": "application/vnd.oci.image.config.v1+json"},
    "layers": [{**DESCRIPTOR, "annotations": {"a": "b"}}],
}
INDEX = {"schemaVersion": 2, "manifests": [{**DESCRIPTOR, "platform": {"os": "linux", "architecture": "arm64"}}]}
AUTHS = {
    "auths": {"host": {"auth": base64.b64encode(b"a:b").decode()}, "other/x": {"identitytoken": "t"}},
    "credHelpers": {},
}
CONF = b"""\
unqualified-search-registries = ["a.test", "b.test:5000"]
short-name-mode = "permissive"
[aliases]
"debian" = "docker.io/library/debian"
[[registry]]
prefix = "*.test"
location = "mirror.test/a"
insecure = true
[[registry.mirror]]
location = "m.test"
pull-from-mirror = "digest-only"
"""
DAEMON = {"insecure-registries": ["host:5000", "10.0.0.0/8"], "registry-mirrors": ["https://mirror.test"]}
BILL = json.dumps(
    {
        "components": [{"purl": "pkg:deb/debian/a@1", "components": [{"purl": "pkg:npm/%40s/b@2"}]}],
        "packages": [{"externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:apk/alpine/c@3"}]}],
    }
).encode()
TIMES = itertools.count()
GRAPH = RuntimeGraph(
    daemons=(("redis", "-p"),), expose=(ExposeItem(port=80, host_port=8080, service_name="a", listening_addr=""),)
)
ODD = (
    b"-1",
    b"0",
    b"99999999999999999999999",
    b"null",
    b"[]",
    b"{}",
    b"\0",
    b"\xff",
    b"../",
    b"$",
    b"\\",
    b"1e999",
    b'"',
)


def read_layer(data: bytes) -> None:
    archive = LayerTar(Unfolded(iter([data]), "layer", size=len(data)), "layer", lambda: len(data))
    builder = TocBuilder("layer", lambda: len(data))
    for entry in archive:
        builder.add(entry)
        if entry.size < 1 << 20:
            for _ in archive.content():
                pass
    table = builder.finish()
    again = Toc.from_bytes(table.to_bytes())
    assert again is not None
    tree = merge([again], Wanted([b""]))
    for path in (b"a/link", b"b/through", b"a/../b"):
        with contextlib.suppress(OSError):
            tree.resolve(path)


def read_spec(data: bytes) -> None:
    spec = load_spec_text(data).spec
    resolve(spec)
    for variant in spec.spec.variants:
        resolve(spec, Facts(variant=variant.name))


def read_config(data: bytes) -> None:
    config = ImageConfig(data, "application/vnd.oci.image.config.v1+json")
    config.check()
    _ = (config.platform, config.env, config.annotations)


def read_manifest(data: bytes) -> None:
    found = parse_manifest(data)
    _ = (found.layers, found.config) if isinstance(found, Manifest) else found.manifests
    _ = found.annotations
    assert isinstance(found, Manifest | Index)


def read_index(data: bytes) -> None:
    document = parse_manifest(data, OCI_INDEX)
    assert isinstance(document, Index)
    found = ImageIndex(index=document, open_manifest=lambda _: found, name="fuzzed")
    entries = entries_of(found)
    made = assembled(added(entries, [item.marked(None, {"k": "v"}) for item in entries[:2]]), {"a": "b"}, base=found)
    assert Index(made.index.raw, made.index.media_type).manifests == made.index.manifests
    list(flattened(found))


def read_entries(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(RuntimeimgError):
        images.Wanted.parse(text)
    document = Index(json.dumps(INDEX).encode(), OCI_INDEX)
    picking.picked(ImageIndex(index=document, open_manifest=lambda _: None, name="x"), text, every=True)  # type: ignore[arg-type,return-value]


def read_label(data: bytes) -> None:
    labels = runtimegraph.encode(GRAPH, "both")
    keys = sorted(labels)
    key = keys[data[0] % len(keys)] if data else keys[0]
    labels[key] = data[1:].decode("utf-8", "replace")
    runtimegraph.decode(labels)


def read_auths(data: bytes) -> None:
    FOLDER.joinpath("auth.json").write_bytes(data)
    options = StoreOptions(environ={}, authfile=FOLDER / "auth.json")
    for registry in ("host", "other", "docker.io"):
        credentials.find_login(registry, "x/y", options)


def read_conf(data: bytes) -> None:
    path = FOLDER / "registries.conf"
    path.write_bytes(data)
    os.utime(path, ns=(0, next(TIMES)))  # what was read before is known by its time and size
    found = registries_conf(StoreOptions(environ={"CONTAINERS_REGISTRIES_CONF": str(path)}, etc=FOLDER))
    found.rule_for("docker.io/library/debian:1")


def read_daemon(data: bytes) -> None:
    FOLDER.joinpath("docker").mkdir(exist_ok=True)
    FOLDER.joinpath("docker/daemon.json").write_bytes(data)
    daemon_json(StoreOptions(etc=FOLDER)).is_insecure("10.0.0.1:5000")


def read_archive(data: bytes) -> None:
    for transport in ("docker-archive", "oci-archive"):
        path = FOLDER / "archive.tar"
        path.write_bytes(data)
        with contextlib.suppress(RuntimeimgError):
            open_image(Location(transport=transport, path=str(path)), StoreOptions())


def read_layout(data: bytes) -> None:
    FOLDER.joinpath("layout/index.json").write_bytes(data)
    open_image(Location(transport="oci", path=str(FOLDER / "layout"), tag="image"), StoreOptions())


def read_amend(data: bytes) -> None:
    amend(data.decode("utf-8", "replace"), Amendment())


def read_convert(data: bytes) -> None:
    convert(data.decode("utf-8", "replace"), strategy="x", kind="ClusterBuildStrategy", builder_image=None)


def read_graph(data: bytes) -> None:
    """Ask a graph everything: as it is read whole, and as it is read by lines."""
    path = FOLDER / "graph.json"
    path.write_bytes(data)
    with contextlib.suppress(RuntimeimgError):
        view = saved.open(path)
        for kind in Kind:
            for node_id in view.ids(kind):
                ask(view, node_id)
        fold(view, limit=3)
    found = saved.load(path)
    view = Whole(found)
    for node_id in found.nodes:
        ask(view, node_id)
    fold(view, limit=3)
    list(difference(found, shop()).transfers)
    list(difference(shop(), found).transfers)
    for item in place(found, shop()).refused:
        item.lines()


def ask(view: View, node_id: str) -> None:
    with contextlib.suppress(RuntimeimgError):
        node = named(view, node_id, tuple(Kind))
        closure(view, node, had(view, node), Platform.parse("linux/arm64"))
        impact.impact(view, impact.of_image(view, node_id) or impact.of_blob(view, node_id)[0])


def read_bill(data: bytes) -> None:
    list(bills.told(data))
    bills.parse(data.decode("utf-8", "replace"))


def read_names(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    Location.parse(text)
    Platform.parse(text)


def _archive() -> bytes:
    out = io.BytesIO()
    import tarfile

    with tarfile.open(fileobj=out, mode="w") as made:
        for name, data in (
            ("manifest.json", json.dumps([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l.tar"]}]).encode()),
            ("c.json", json.dumps(CONFIG).encode()),
            ("l.tar", LAYER[:2048]),
            ("index.json", json.dumps(INDEX).encode()),
            ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def graphs() -> list[bytes]:
    """A saved graph, as it is written and as another program lays it out."""
    made = b"".join(saved.dump(place(shop()).graph))
    return [made, json.dumps(json.loads(made), indent=1).encode()]


def readers() -> dict[str, tuple[Callable[[bytes], None], list[bytes]]]:
    labels = [
        bytes([at]) + value.encode() for at, (_, value) in enumerate(sorted(runtimegraph.encode(GRAPH, "both").items()))
    ]
    write_layout(FOLDER / "layout", {"image": ([LAYER], {})})
    return {
        "spec": (read_spec, [SPEC, json.dumps({"apiVersion": "runtimeimg.dev/v1", "kind": "Build"}).encode()]),
        "layer": (read_layer, [LAYER]),
        "gzip": (read_layer, [gzip.compress(LAYER)]),
        "zstd": (read_layer, [zstd().compress(LAYER)]),
        "config": (read_config, [json.dumps(CONFIG).encode()]),
        "manifest": (read_manifest, [json.dumps(MANIFEST).encode(), json.dumps(INDEX).encode()]),
        "index": (read_index, [json.dumps({**INDEX, "manifests": INDEX["manifests"] * 3}).encode()]),
        "entries": (
            read_entries,
            [b'oci:a:b,platform=linux/amd64/v3,"annotation=a=b,c"', b"linux/arm64,sha256:aaaaaa,k=v,1"],
        ),
        "label": (read_label, labels),
        "auths": (read_auths, [json.dumps(AUTHS).encode()]),
        "conf": (read_conf, [CONF]),
        "daemon": (read_daemon, [json.dumps(DAEMON).encode()]),
        "archive": (read_archive, [_archive()]),
        "layout": (read_layout, [(FOLDER / "layout/index.json").read_bytes()]),
        "amend": (read_amend, [TASK, TASK + b"---\n" + TASK + b"---\n"]),
        "convert": (read_convert, [BUILD]),
        "graph": (read_graph, graphs()),
        "bill": (read_bill, [BILL, b"pkg:deb/debian/a@1?arch=amd64", b"@scope/name@1.0"]),
        "names": (read_names, [b"docker://host:5000/a/b:t@sha256:" + b"a" * 64, b"oci:dir:tag", b"linux/arm64/v8"]),
    }


def mutated(data: bytes, chance: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = chance.randrange(len(out) + 1) if out else 0
        end = min(len(out), at + chance.choice((1, 1, 2, 8, 64)))
        how = chance.randrange(7)
        if how == 0:
            out[at:end] = chance.randbytes(end - at)
        elif how == 1:
            del out[at:end]
        elif how == 2:
            out[at:at] = out[at:end] * chance.choice((1, 2, 16, 200))
        elif how == 3:
            out[at:end] = chance.choice(ODD)
        elif how == 4 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif how == 5:
            out[at:at] = chance.choice(ODD)
        else:
            start = chance.randrange(len(out) + 1)
            out[at:end] = out[start : start + end - at]
    return bytes(out)


def fixed_sums(data: bytes) -> bytes:
    """Put right checksums into what may be headers of a tar archive, so that mutations come through."""
    out = bytearray(data)
    for at in range(0, len(out) - 511, 512):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 155] = b"%06o\0" % sum(out[at : at + 512])
    return bytes(out)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", default="")
    options.add_argument("--report", type=Path, default=Path("fuzz-faults"))
    given = options.parse_args()
    chance = random.Random(given.seed)
    known = {name: found for name, found in readers().items() if not given.only or name == given.only}
    names, faults, refused = sorted(known), 0, 0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(given.count):
        name = names[number % len(names)]
        read, seeds = known[name]
        data = mutated(chance.choice(seeds), chance)
        if name in {"layer", "archive"} and chance.random() < 0.8:
            data = fixed_sums(data)
        began, why = time.process_time(), ""
        try:
            read(data)
        except RuntimeimgError:
            refused += 1
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            why = f"{type(error).__name__}: {error}"
        took, most = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        why = (
            why
            or (f"{took:.1f} s" if took > SECONDS else "")
            or (f"{most - memory} KiB" if most - memory > MEMORY else "")
        )
        memory = max(memory, most)
        if why:
            faults += 1
            given.report.mkdir(exist_ok=True)
            (given.report / f"{name}-{number}").write_bytes(data)
            print(f"{name} {number}: {why[:300]}", flush=True)
    print(f"{given.count} inputs, {refused} refused, {faults} faults, {memory >> 10} MiB at the most")
    return 1 if faults else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="runtimeimg-fuzz-") as _name:
        FOLDER = Path(_name)
        sys.exit(main())
