"""Layers read in their middle: the same image as of layers read whole, whatever becomes of index, blob or registry."""

import gzip
import io
import random
import zlib
from dataclasses import dataclass, field

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtimeimg.account import Account
from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.native import NativeBuilder
from runtimeimg.cache import Cache
from runtimeimg.compose import sparse
from runtimeimg.errors import RemoteError, TransientError
from runtimeimg.image import Origin, compress, marks
from runtimeimg.image.decompress import Unfolded
from runtimeimg.image.marks import Marker
from runtimeimg.image.spans import Spans
from runtimeimg.image.zstd import zstd
from runtimeimg.stores import StoreOptions

from .images import MemoryLayer, file, folder, hardlink, image, plan, symlink, tar

WORDS = [b"alpha ", b"beta\n", b"gamma-", b"delta", b"epsilon=", b"0123456789"]


def prose(seed: int, size: int) -> bytes:
    """Return text that packs to about a third."""
    chance = random.Random(seed)
    made = bytearray()
    while len(made) < size:
        made += chance.choice(WORDS) + str(chance.randrange(10**6)).encode()
    return bytes(made[:size])


def packed(codec: str, data: bytes) -> bytes:
    if codec == "zstd":
        return b"".join(zstd().compress(data[at : at + 50_000], 1) for at in range(0, len(data), 50_000))
    if codec == "members":
        return b"".join(gzip.compress(data[at : at + 70_000], 6, mtime=0) for at in range(0, len(data), 70_000))
    if codec == "none":
        return data
    level = int(codec.removeprefix("gzip"))
    coder = zlib.compressobj(level, zlib.DEFLATED, 31)
    return coder.compress(data) + coder.flush()


CODECS = ("gzip1", "gzip6", "gzip9", "members", "zstd", "none")


@pytest.fixture(autouse=True)
def close_marks(monkeypatch):
    """Set marks often, so that small blobs have many."""
    monkeypatch.setattr(marks, "SPACING", 20_000)
    monkeypatch.setattr(marks, "_AGAIN", 5_000)
    monkeypatch.setattr(sparse, "LEAST_INDEXED", 0)


def index_of(blob: bytes, piece: int = 30_000) -> tuple[Spans, bytes]:
    """Return the index of a blob, without entries, and what it unfolds to."""
    marker = Marker()
    unfolded = Unfolded(iter([blob[at : at + piece] for at in range(0, len(blob), piece)]), "blob", marker=marker)
    data = b"".join(unfolded)
    marker.finish()
    starts = sparse.array("Q", [0, len(data)])
    made = Spans(
        kind=unfolded.kind,
        size=len(blob),
        marks=tuple(marker.marks),
        digests=tuple(marker.digests),
        starts=starts,
    )
    return made, data


def ranges_of(blob: bytes):
    return lambda start, end: io.BytesIO(blob[start:end])


@pytest.mark.parametrize("piece", [4096, 30_000, 1 << 20])
@pytest.mark.parametrize("codec", CODECS)
def test_every_span_unfolds_to_what_the_whole_does(codec, piece):
    data = prose(1, 900_000)
    blob = packed(codec, data)
    spans, whole = index_of(blob, min(piece, 100_000) if codec == "none" else piece)
    assert whole == data
    assert len(spans.marks) >= 3
    assert Spans.from_bytes(spans.to_bytes()) == spans
    for first in range(len(spans.marks)):
        for last in {first + 1, min(first + 3, len(spans.marks)), len(spans.marks)}:
            end = spans.marks[last].at if last < len(spans.marks) else len(data)
            wanted = data[spans.marks[first].at : end]
            found = bytearray()
            for made in spans.unfolded(range(first, last), ranges_of(blob), "blob"):
                found += made
                if len(found) >= len(wanted):
                    break
            assert found[: len(wanted)] == wanted


def test_what_is_packed_in_a_layer_is_not_taken_for_a_block_of_it():
    """Packed files within a layer hold headers of blocks that are none of the layer's."""
    inner = b"".join(gzip.compress(prose(seed, 60_000), 9) for seed in range(30))
    data = prose(7, 200_000) + inner + prose(8, 200_000)
    blob = packed("gzip6", data)
    spans, whole = index_of(blob)
    assert whole == data
    assert len(spans.marks) > 2
    for number, mark in enumerate(spans.marks):
        made = next(iter(spans.unfolded(range(number, len(spans.marks)), ranges_of(blob), "blob")))
        assert data[mark.at : mark.at + len(made)] == made


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    chunks=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60_000)), min_size=1, max_size=8),
    codec=st.sampled_from(CODECS),
    piece=st.integers(1_000, 300_000),
)
def test_spans_of_anything(chunks, codec, piece):
    """Text, zeros, bytes of no order and packed data in any mixture."""
    kinds = (
        lambda size: prose(size, size),
        lambda size: random.Random(size).randbytes(size),
        bytes,
        lambda size: gzip.compress(prose(size, size)),
    )
    data = b"tar" + b"".join(kinds[kind](size) for kind, size in chunks)
    blob = packed(codec, data)
    spans, whole = index_of(blob, piece)
    assert whole == data
    assert [spans.bounds(number) for number in range(len(spans.marks))][-1][1] == len(blob)
    for number, mark in enumerate(spans.marks):
        found = bytearray()
        for made in spans.unfolded(range(number, len(spans.marks)), ranges_of(blob), "blob"):
            found += made
        assert found == data[mark.at :]


# ---- builds

FILES = 24


def builder_items(seed: int) -> list[object]:
    chance = random.Random(seed)
    items = [folder("app")]
    for number in range(FILES):
        name = f"app/f{number:02}"
        items.append(file(name, prose(100 * seed + number, chance.randrange(200, 30_000))))
        if number % 7 == 3:
            items.append(hardlink(f"app/h{number:02}", name))
        if number % 5 == 2:
            items.append(symlink(f"app/l{number:02}", f"f{number:02}"))
    return items


class RemoteLayer(MemoryLayer):
    """A layer of a registry that also hands out parts; `part` may be made to do it wrongly."""

    def __init__(self, blob: bytes) -> None:
        super().__init__(blob)
        self.origin = Origin(store="registry", place="registry.example/x")
        self.part = ranges_of(blob)
        self.parts = 0

    @property
    def ranges(self):
        def opened(start, end):
            self.parts += 1
            return self.part(start, end)

        return opened


@dataclass
class World:
    """A base, a builder of two layers, and a cache."""

    cache: Cache
    layers: list[RemoteLayer]
    account: Account = field(default_factory=Account)

    def digest(self, copies, *, cached: bool = True) -> str:
        """Build and return the manifest's digest; every new layer is read, and so verified."""
        self.account = Account()
        request = BuildRequest(
            plan=plan(copies),
            stores=StoreOptions(account=self.account),
            workspace=None,
            cache_dir=self.cache.root if cached else None,
        )
        with NativeBuilder().build(request) as built:
            for item in built.layers:
                with item.open() as blob:
                    while blob.read(1 << 20):
                        pass
            return str(built.to_manifest().digest)

    def forget(self, *kinds: str) -> None:
        """Throw out of the cache what would spare the reading."""
        for kind in kinds:
            for path in (self.cache.root / "v1" / kind).glob("??/*"):
                path.unlink()


@pytest.fixture(scope="session")
def blobs():
    """Blobs of builder layers by codec."""
    return {codec: [packed(codec, tar(builder_items(seed))) for seed in (1, 2)] for codec in CODECS}


@pytest.fixture
def make_world(monkeypatch, tmp_path_factory, blobs):
    def make(codec: str) -> World:
        layers = [RemoteLayer(blob) for blob in blobs[codec]]
        images = {
            "builder": image("builder", *layers),
            "base": image("base", [folder("etc"), file("etc/os", b"x")]),
        }
        monkeypatch.setattr("runtimeimg.builders.native.open_one", lambda location, *_: images[str(location)])
        return World(cache=Cache(tmp_path_factory.mktemp("cache")), layers=layers)

    return make


WANTED = ("/app/f03", "/app/f00", "/app/f23", "/app/h10", "/app/f1*", "/app/l07", "/app")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    codec=st.sampled_from(CODECS),
    wanted=st.lists(st.sampled_from(WANTED), min_size=1, max_size=3),
    lost=st.sets(st.sampled_from(("blob", "spans", "toc", "part", "result"))),
    workers=st.sampled_from((1, 2, 8)),
)
def test_indexed_or_not_the_digest_is_the_same(monkeypatch, make_world, codec, wanted, lost, workers):
    world = make_world(codec)
    copies = [(path, f"/to/{number}/") for number, path in enumerate(wanted)]
    cold = world.digest(copies, cached=False)
    monkeypatch.setattr(compress, "_WORKERS", workers)
    world.digest([("/app/f05", "/only")])
    world.forget(*lost)
    assert world.digest(copies) == cold
    world.forget("part", "result")
    assert world.digest(copies) == cold


def test_a_second_service_reads_a_small_part_and_downloads_nothing(make_world):
    world = make_world("gzip6")
    world.digest([("/app/f05", "/only")])
    whole, opened = world.account.unpacked_bytes, [layer.opened for layer in world.layers]
    world.digest([("/app/f11", "/other")])
    assert 0 < world.account.unpacked_bytes < whole / 4
    assert [layer.opened for layer in world.layers] == opened
    assert [layer.parts for layer in world.layers] == [0, 0]


def test_of_a_blob_that_is_not_kept_parts_are_downloaded(make_world):
    world = make_world("gzip6")
    world.digest([("/app/f05", "/only")])
    opened = [layer.opened for layer in world.layers]
    world.forget("blob")
    world.digest([("/app/f11", "/other")])
    assert [layer.opened for layer in world.layers] == opened
    assert sum(layer.parts for layer in world.layers) == 1
    assert world.account.unpacked_bytes < sum(len(layer.blob) for layer in world.layers) / 4


# ---- faults: the right image all the same


def damaged_index(chance: random.Random, raw: bytes) -> bytes:
    """Return an index with one of its values changed to another of some kind."""
    form, kind, size, marked, digests, starts, likeness = msgpack.unpackb(raw, use_list=False, strict_map_key=False)
    marked, digests = [list(mark) for mark in marked], list(digests)
    at = chance.randrange(len(marked))
    how = chance.randrange(9)
    if how == 0:
        marked[at][0] = chance.choice((0, marked[at][0] + 1, 1 << 40, -8))
    elif how == 1:
        marked[at][1] = chance.choice((1 << 60, -1, None))
    elif how == 2:
        marked[at][2] = chance.choice((zstd().compress(bytes(1 << 20)), b"x", 5))
    elif how == 3:
        digests[at] = chance.randbytes(32)
    elif how == 4:
        starts = chance.choice((zstd().compress(bytes(len(zstd().decompress(starts)))), zstd().compress(b"abc"), 7))
    elif how == 5:
        size += chance.choice((1, -1))
    elif how == 6:
        kind = chance.choice(("none", "zstd", "gzip", 3))
    elif how == 7:
        del marked[at], digests[at]
    else:
        return raw[: chance.randrange(len(raw))]
    return msgpack.packb((form, kind, size, marked, digests, starts, likeness))


class Cut(io.BytesIO):
    """Bytes that end with an error."""

    def __init__(self, data: bytes, error: Exception) -> None:
        super().__init__(data)
        self.error = error

    def read(self, count: int | None = -1, /) -> bytes:
        data = super().read(count)
        if not data:
            raise self.error
        return data


def damaged_part(chance: random.Random, layer: RemoteLayer):
    """Return what hands out parts in one of the ways in which registries fail."""
    good, how, after = ranges_of(layer.blob), chance.randrange(6), chance.randrange(3)
    calls = [0]

    def part(start, end):
        calls[0] += 1
        if calls[0] <= after and how != 1:
            return good(start, end)
        data = bytearray(layer.blob[start:end])
        if how == 0:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif how == 1:
            raise RemoteError("registry 'registry.example' refused a part: 416 range not satisfiable")
        elif how == 2:
            return Cut(bytes(data[: chance.randrange(len(data))]), TransientError("the connection broke"))
        elif how == 3:
            return io.BytesIO(bytes(data[: chance.randrange(len(data))]))
        elif how == 4:
            return io.BytesIO(layer.blob[: end - start])
        else:
            return io.BytesIO(chance.randbytes(end - start))
        return io.BytesIO(bytes(data))

    return part


def prune_before(monkeypatch, cache: Cache) -> list[int]:
    """Empty the cache before the first reading of spans; the list gets an entry when that happened."""
    plain, calls, emptied = sparse.read_run, [0], []

    def read_run(*args):
        calls[0] += 1
        if calls[0] == 1:
            emptied.append(cache.prune())
        plain(*args)

    monkeypatch.setattr(sparse, "read_run", read_run)
    return emptied


@pytest.mark.parametrize("number", range(200))
def test_faults_of_index_blob_and_registry(monkeypatch, make_world, number):
    """Damage is found, and the layer is read whole in its place; a cache that is emptied meanwhile is done without."""
    emptied = None
    chance = random.Random(number)
    world = make_world(chance.choice(CODECS))
    copies = [(chance.choice(WANTED[:4]), "/to/")]
    cold = world.digest(copies, cached=False)
    world.digest([("/app/f05", "/only")])
    world.forget("part", "result")
    fault = ("index", "part", "blob", "file", "pruned")[number % 5]
    if fault == "index":
        for layer in world.layers:
            key = layer.descriptor.digest.encoded
            kept = world.cache.get("spans", key)
            assert kept is not None
            world.cache.put("spans", key, damaged_index(chance, kept))
    elif fault == "part":
        world.forget("blob")
        for layer in world.layers:
            layer.part = damaged_part(chance, layer)
    elif fault == "blob":
        for path in (world.cache.root / "v1" / "blob").glob("??/*"):
            data = bytearray(path.read_bytes())
            for _ in range(chance.randrange(1, 400)):
                data[chance.randrange(len(data))] ^= 0xFF
            path.write_bytes(data)
    elif fault == "file":
        for path in (world.cache.root / "v1" / "spans").glob("??/*"):
            data = bytearray(path.read_bytes())
            data[chance.randrange(len(data))] ^= 0xFF
            path.write_bytes(data)
    else:
        emptied = prune_before(monkeypatch, world.cache)
    assert world.digest(copies) == cold
    assert emptied is None or len(emptied) == 1
    world.forget("part", "result")
    assert world.digest(copies) == cold
