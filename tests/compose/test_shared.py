"""Indexes beside builder images: made by one machine, read by another, and what a hostile one can and cannot do."""

import random
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

from runtimeimg.account import Account
from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.native import NativeBuilder
from runtimeimg.cache import Cache
from runtimeimg.compose import shared, sparse
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import marks
from runtimeimg.image.layertar import FILE
from runtimeimg.image.sharing import decode, encode
from runtimeimg.image.spans import Spans
from runtimeimg.image.toc import Chunk, Toc
from runtimeimg.image.zstd import zstd
from runtimeimg.oci import Location
from runtimeimg.oci.mediatypes import OCI_LAYER
from runtimeimg.stores import StoreOptions, open_one
from runtimeimg.stores.artifacts import artifacts_of, blob
from runtimeimg.stores.registry import RegistryDestination

from .images import MemoryLayer, file, folder, hardlink, image, plan, symlink, tar
from .test_sparse import packed, prose

pytestmark = pytest.mark.registry
COPIES = [("/app/f03", "/to/one"), ("/app/l", "/to/link"), ("/app/h", "/to/hard"), ("/late", "/late")]


@pytest.fixture(autouse=True)
def close_marks(monkeypatch):
    """Set marks often, so that small blobs have many."""
    monkeypatch.setattr(marks, "SPACING", 20_000)
    monkeypatch.setattr(marks, "_AGAIN", 5_000)
    monkeypatch.setattr(sparse, "LEAST_INDEXED", 2_000)


def first_layer(seed: int = 1):
    files = [file(f"app/f{number:02}", prose(100 * seed + number, 25_000)) for number in range(40)]
    return [folder("app"), *files, symlink("app/l", "f05"), hardlink("app/h", "app/f06"), file("app/gone", b"x")]


def second_layer():
    return [
        file("app/.wh.gone", b""),
        folder("late"),
        file("late/x", prose(7, 90_000)),
        file("late/y", prose(8, 90_000)),
        file("late/.wh..wh..opq", b""),
    ]


class Machine:
    """A machine with a cache of its own that builds from the registry."""

    def __init__(self, cache: Path, builder: str, base: str) -> None:
        self.cache = Cache.open(cache)
        self._builder, self._base = builder, base
        self.said: list[str] = []
        self.account = Account()

    def build(self, *, share: bool = True, copies=COPIES) -> str:
        """Build, read all that is new, and return the manifest's digest."""
        self.account, self.said = Account(), []
        made = plan(copies, builder=f"docker://{self._builder}", base=f"docker://{self._base}")
        options = StoreOptions(account=self.account)
        options.progress.line = self.said.append
        request = BuildRequest(
            plan=made,
            stores=options,
            workspace=Path(),
            cache_dir=self.cache.root,
            options={"share-index": "true"} if share else {},
        )
        with ExitStack() as stack:
            built = stack.enter_context(NativeBuilder().build(request))
            for item in built.layers[1:]:
                with item.open() as opened:
                    while opened.read(1 << 20):
                        pass
            return str(built.to_manifest().digest)


@pytest.fixture
def repository(registry, request) -> str:
    return f"{registry}/shared/{abs(hash(request.node.name)) % 10**9}-{random.SystemRandom().randrange(10**9)}"


@pytest.fixture
def machine(repository, tmp_path):
    """Return what makes machines, all with the same builder image and base in the registry."""
    blobs = [
        MemoryLayer(packed("gzip6", tar(items)), media_type=f"{OCI_LAYER}+gzip")
        for items in (first_layer(), second_layer())
    ]
    for name, made in (
        ("builder", image("builder", *blobs)),
        ("base", image("base", [folder("etc"), file("etc/os", b"x")])),
    ):
        RegistryDestination(Location.parse(f"docker://{repository}:{name}").reference, StoreOptions()).write(made)

    def make(name: str) -> Machine:
        return Machine(tmp_path / name, f"{repository}:builder", f"{repository}:base")

    return make


def beside(repository: str) -> list[bytes]:
    """Return the indexes that are kept beside the builder image."""
    location, options = Location.parse(f"docker://{repository}:builder"), StoreOptions()
    manifest = open_one(location, None, options).manifest
    kept = artifacts_of(location, options)
    found = kept.of_type(manifest.digest, shared.ARTIFACT_TYPE)
    return [kept.files(item.digest, 1 << 24)[shared.ARTIFACT_TYPE] for item in found]


def put_beside(repository: str, data: bytes) -> None:
    location, options = Location.parse(f"docker://{repository}:builder"), StoreOptions()
    subject = open_one(location, None, options).manifest.descriptor
    artifacts_of(location, options).attach(shared.ARTIFACT_TYPE, [blob(data, shared.ARTIFACT_TYPE)], subject, {})


def of_a_build(machine) -> dict:
    """Return what an honest machine finds in the layers, by their digests."""
    honest = machine("honest")
    honest.build(share=False)
    options = StoreOptions()
    layers = open_one(Location.parse(f"docker://{honest._builder}"), None, options).layers
    found = {}
    for layer in layers:
        digest = layer.descriptor.digest
        toc, spans = (honest.cache.get(kind, digest.encoded) for kind in ("toc", "spans"))
        found[digest] = (Toc.from_bytes(toc), Spans.from_bytes(spans))
    return found


def test_another_machine_downloads_only_the_spans_that_it_wants(machine, repository) -> None:
    plain = machine("plain").build(share=False)
    assert beside(repository) == []
    first = machine("first")
    assert first.build() == plain
    whole = first.account.downloaded_bytes
    assert len(beside(repository)) == 1
    second = machine("second")
    assert second.build() == plain
    assert second.account.unpacked_bytes < first.account.unpacked_bytes / 2
    assert second.account.downloaded_bytes < whole
    assert not any("note" in line for line in second.said)
    assert len(beside(repository)) == 1  # nothing is written again


def test_what_comes_of_an_index_is_no_other_builds(machine, repository) -> None:
    machine("first").build()
    second = machine("second")
    second.build()
    assert second.build(share=False)
    assert second.account.unpacked_bytes > whole_of(machine) - 20_000  # all but the base, whose table is known
    assert second.build(share=False)
    assert second.account.unpacked_bytes == 0


def whole_of(machine) -> int:
    """Return the bytes that a machine which knows nothing unpacks."""
    fresh = machine("fresh")
    fresh.build(share=False)
    return fresh.account.unpacked_bytes


def test_an_index_that_is_known_is_not_downloaded_again(machine, repository) -> None:
    machine("first").build()
    second = machine("second")
    second.build()
    size = len(beside(repository)[0])
    second.build(copies=[("/app/f09", "/other")])
    assert second.account.downloaded_bytes < size + 30_000
    assert not second.said


def test_nobodys_index_is_read_or_kept_without_being_asked_for(machine, repository) -> None:
    put_beside(repository, b"nonsense")
    plain = machine("plain")
    plain.build(share=False)
    assert plain.said == []
    assert beside(repository) == [b"nonsense"]


def wrong(found: dict, change) -> bytes:
    """Return the file of an index whose first layer's table and spans are changed."""
    form, layers = msgpack.unpackb(encode(found), use_list=False)
    key = next(iter(layers))
    return msgpack.packb((form, {**layers, key: change(*layers[key])}))


def rows_changed(change):
    """Return what changes the rows of a table and leaves its spans."""

    def changed(table: bytes, spans: bytes):
        rows = [change(list(row)) for _, row in Toc.from_bytes(table).rows()]
        packed_rows = zstd().compress(b"".join(msgpack.packb(tuple(row)) for row in rows), 1)
        return Toc([Chunk(len(rows), (), packed_rows)], whiteouts=0).to_bytes(), spans

    return changed


def value(number: int, new):
    def change(row):
        row[number] = new
        return row

    return change


UNREADABLE = {
    "path climbs": rows_changed(value(0, b"../../etc/passwd")),
    "path with NUL": rows_changed(value(0, b"a\0b")),
    "path is a text": rows_changed(value(0, "app")),
    "path too long": rows_changed(value(0, b"a/" * 3000)),
    "no such kind": rows_changed(value(1, "q")),
    "mode is a text": rows_changed(value(2, "755")),
    "owner below zero": rows_changed(value(3, -1)),
    "owner too large": rows_changed(value(4, 1 << 60)),
    "size too large": rows_changed(value(5, 1 << 70 - 7)),
    "time is a text": rows_changed(value(6, "now")),
    "device of three": rows_changed(value(8, (1, 2, 3))),
    "attributes are numbers": rows_changed(value(9, ((1, 2),))),
    "attribute without value": rows_changed(value(9, ((b"user.x",),))),
    "attribute too long": rows_changed(value(9, ((b"user.x", b"x" * 70_000),))),
    "entries fewer": lambda table, spans: (Toc([], whiteouts=0).to_bytes(), spans),
    "table cut off": lambda table, spans: (table[:-5], spans),
    "table is nothing": lambda table, spans: (b"", spans),
    "spans cut off": lambda table, spans: (table, spans[:-5]),
    "spans are a number": lambda table, spans: (table, 5),
    "spans that unfold without end": lambda table, spans: (table, bomb(spans)),
    "table that unfolds without end": lambda table, spans: (bombed_table(), spans),
}


def bomb(spans: bytes) -> bytes:
    form, kind, size, marked, digests, _, _ = msgpack.unpackb(spans, use_list=False, strict_map_key=False)
    return msgpack.packb((form, kind, size, marked, digests, zstd().compress(bytes(1 << 28), 1), None))


def bombed_table() -> bytes:
    return Toc([Chunk(1, (), zstd().compress(bytes(1 << 30), 1))], whiteouts=0).to_bytes()


@pytest.mark.parametrize("name", sorted(UNREADABLE))
def test_an_index_of_impossible_values_is_none(machine, repository, name) -> None:
    found = of_a_build(machine)
    data = wrong(found, UNREADABLE[name])
    with pytest.raises(InvalidDocumentError):
        decode(data, "index")
    put_beside(repository, data)
    other = machine("other")
    assert other.build() == machine("plain").build(share=False)
    assert [line for line in other.said if "no index beside" in line]


def test_files_that_are_no_index_at_all() -> None:
    for data in (b"", b"nonsense", msgpack.packb(5), msgpack.packb((1, [])), msgpack.packb((2, {})), b"\x92\x01\xdf"):
        with pytest.raises(InvalidDocumentError, match="is not what was written"):
            decode(data, "the index")
    with pytest.raises(InvalidDocumentError):
        decode(msgpack.packb((1, {"sha256:short": (b"", b"")})), "the index")


def test_what_is_shared_comes_back_as_it_was(machine) -> None:
    found = of_a_build(machine)
    back = decode(encode(found), "index")
    assert back.keys() == found.keys()
    for digest, (toc, spans) in found.items():
        assert list(back[digest][0].rows()) == list(toc.rows())
        assert back[digest][0].whiteouts == toc.whiteouts
        assert back[digest][1] == spans


def spans_changed(**changes):
    def changed(table: bytes, spans: bytes):
        found = Spans.from_bytes(spans)
        return table, replace(found, **{key: change(getattr(found, key)) for key, change in changes.items()}).to_bytes()

    return changed


MISLEADING = {
    "digests of others": spans_changed(digests=lambda digests: tuple(bytes(32) for _ in digests)),
    "digests turned round": spans_changed(digests=lambda digests: digests[::-1]),
    "entries begin elsewhere": spans_changed(
        starts=lambda starts: type(starts)("Q", [*(at + 7 for at in starts[:-1]), starts[-1] + 8])
    ),
}
FORGED = {
    "modes": rows_changed(lambda row: value(2, 0o4777)(row) if row[1] == FILE else row),
    "owners": rows_changed(value(3, 1234)),
    "links that lead elsewhere": rows_changed(lambda row: value(7, b"f07")(row) if row[0] == b"app/l" else row),
}


@pytest.mark.parametrize("name", sorted(MISLEADING))
def test_an_index_that_leads_nowhere_costs_time_and_nothing_else(machine, repository, name) -> None:
    put_beside(repository, wrong(of_a_build(machine), MISLEADING[name]))
    other = machine("other")
    assert other.build() == machine("plain").build(share=False)
    assert [line for line in other.said if "does not lead through it" in line]
    assert other.build() == machine("plain").build(share=False)


@pytest.mark.parametrize("name", sorted(FORGED))
def test_what_a_hostile_index_can_do_reaches_no_build_that_does_not_ask_for_it(machine, repository, name) -> None:
    """It can say that files are others than they are, as nothing but the whole blob would tell otherwise."""
    put_beside(repository, wrong(of_a_build(machine), FORGED[name]))
    plain, other = machine("plain").build(share=False), machine("other")
    assert other.build() != plain
    assert other.build(share=False) == plain
    assert other.build(share=False) == plain


def test_a_registry_that_takes_nothing_beside_the_image_is_said(machine, repository, monkeypatch) -> None:
    from runtimeimg.errors import AuthError

    def refuse(*_args, **_more):
        raise AuthError("login refused")

    monkeypatch.setattr("runtimeimg.stores.registry.referrers.RegistryArtifacts.attach", refuse)
    first = machine("first")
    assert first.build()
    assert [line for line in first.said if "is not shared: login refused" in line]
    assert beside(repository) == []


def test_a_key_of_a_layer_that_is_read_by_an_index_is_another_one(machine, repository) -> None:
    machine("first").build()
    second = machine("second")
    second.build()
    builder = open_one(Location.parse(f"docker://{repository}:builder"), None, StoreOptions())
    for layer in shared.known(builder, builder, second.cache).layers:
        digest = layer.descriptor.digest
        assert second.cache.get("toc", digest.encoded) is None
        assert second.cache.get("spans", digest.encoded) is None
