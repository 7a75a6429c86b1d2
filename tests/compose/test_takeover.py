"""Parts of builder layers taken over packed as they are: the same image as when all is packed anew, and always it."""

import gzip
import io
import random
from array import array
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtimeimg.account import Account
from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.native import NativeBuilder
from runtimeimg.cache import Cache
from runtimeimg.compose import packed, sparse, takeover
from runtimeimg.errors import IntegrityError
from runtimeimg.image import compress, marks
from runtimeimg.image.layertar import DIRECTORY, FILE, HARDLINK, SYMLINK, Entry
from runtimeimg.image.spans import Spans
from runtimeimg.image.tarwrite import END, Style, header, padding
from runtimeimg.oci import Digest
from runtimeimg.stores import StoreOptions

from .images import contents, image, plan, read
from .test_sparse import RemoteLayer, index_of, prose
from .test_sparse import packed as packed_by

STYLES = {
    "like ours": Style(False, {}, {}),
    "like Docker's": Style(True, {0: b"root", 501: b"node"}, {0: b"root", 20: b"dialout"}),
}


@pytest.fixture(autouse=True)
def close_marks(monkeypatch):
    """Set marks often, so that small blobs have many."""
    monkeypatch.setattr(marks, "SPACING", 20_000)
    monkeypatch.setattr(marks, "_AGAIN", 5_000)
    monkeypatch.setattr(sparse, "LEAST_INDEXED", 30_000)


def entry(path: str, kind: str = FILE, size: int = 0, target: str = "", uid: int = 0, gid: int = 0) -> Entry:
    mode = {DIRECTORY: 0o755, SYMLINK: 0o777}.get(kind, 0o644)
    return Entry(path.encode(), kind, mode, uid, gid, size, 1_700_000_000, target.encode())


def archive(members, style: Style, odd: str = "") -> bytes:
    """Return an archive of entries and contents; `odd` tells what is unusual about some of them."""
    out = bytearray()
    for number, (item, data) in enumerate(members):
        if odd == "global headers" and number % 9 == 4:
            records = b"19 comment=nothing\n"
            block = bytearray(header(entry("pax", size=len(records))))
            block[156:157] = b"g"
            block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 8 * 32)
            out += bytes(block) + records + padding(len(records))
        written = bytearray(header(item, style))
        if odd == "other headers" and number % 11 == 5:
            written[-200:-199] = b"x"  # in the prefix, or behind its end
            written[-364:-356] = b"%06o\0 " % (sum(written[-512:]) - sum(written[-364:-356]) + 8 * 32)
        out += written + data
        fill = padding(len(data))
        out += b"\7" * len(fill) if odd == "padding" and number % 9 == 4 else fill
    return bytes(out + END)


def members(seed: int, count: int = 60, *, links: bool = False):
    chance = random.Random(seed)
    made = [(entry("app", DIRECTORY), b"")]
    for number in range(count):
        if number % 12 == 0:
            made.append((entry(f"app/d{number:03}", DIRECTORY), b""))
        path = f"app/d{number - number % 12:03}/f{number:03}"
        size = chance.choice((0, 100, 512, chance.randrange(30_000), chance.randrange(90_000)))
        data = (prose(seed + number, size), chance.randbytes(size), bytes(size))[chance.choice((0, 0, 0, 0, 1, 2))]
        if chance.random() < 0.05:
            path += "-" + "n" * chance.choice((80, 120, 200))
        owned = chance.random() < 0.1
        made.append((entry(path, size=size, uid=501 * owned, gid=20 * owned), data))
        if chance.random() < 0.1:
            made.append((entry(path + ".l", SYMLINK, target="f000"), b""))
        if links and chance.random() < 0.1:
            made.append((entry(path + ".h", HARDLINK, target=path), b""))
    return made


class World:
    """A base and a builder of one large layer, built to the same paths."""

    def __init__(self, monkeypatch, folder, blob: bytes) -> None:
        self.layer = RemoteLayer(blob)
        images = {"builder": image("builder", self.layer), "base": image("base", [])}
        monkeypatch.setattr("runtimeimg.builders.native.open_one", lambda location, *_: images[str(location)])
        self.cache = Cache(folder)

    def build(self, copies=(("/app", "/app"),), *, cached: bool = True, level: str | None = None, early=None):
        """Return what the new layer is: digests, blob, entries, contents, and how many bytes of it were taken over."""
        account = Account()
        request = BuildRequest(
            plan=plan(copies),
            stores=StoreOptions(account=account),
            workspace=None,
            cache_dir=self.cache.root if cached else None,
            options={} if level is None else {"level": level},
            early=early,
        )
        with NativeBuilder().build(request) as built:
            layer = built.layers[-1]
            with layer.open() as stream:
                blob = stream.read()
            return layer, blob, read(layer), contents(layer), account.taken_bytes

    def forget(self, *kinds: str) -> None:
        for kind in ("part", "result", *kinds):
            for path in (self.cache.root / "v1" / kind).glob("??/*"):
                path.unlink()


@pytest.fixture
def world(monkeypatch, tmp_path_factory):
    return lambda blob: World(monkeypatch, tmp_path_factory.mktemp("cache"), blob)


def assert_whole(made) -> None:
    """The blob is gzip for others too, and holds the archive whose digest the image names."""
    layer, blob, *_ = made
    assert Digest.of(blob) == layer.descriptor.digest
    assert Digest.of(gzip.decompress(blob)) == layer.diff_id


@pytest.mark.parametrize("style", sorted(STYLES))
@pytest.mark.parametrize("level", [1, 6, 9])
def test_what_is_packed_already_is_not_packed_again(world, style, level):
    place = world(packed_by(f"gzip{level}", archive(members(1, 200), STYLES[style])))
    made = place.build()
    assert_whole(made)
    anew = place.build(level="1")
    assert (made[2], made[3]) == (anew[2], anew[3])
    assert made[4] > len(place.layer.blob) / 3
    assert anew[4] == 0


ODD = ("", "", "", "global headers", "padding", "other headers")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    style=st.sampled_from(sorted(STYLES)),
    codec=st.sampled_from(("gzip1", "gzip6", "gzip9", "members", "zstd", "none")),
    odd=st.sampled_from(ODD),
    links=st.booleans(),
    wanted=st.sampled_from(
        ((("/app", "/app"),), (("/app/d000", "/app/d000"), ("/app/d024", "/app/d024")), (("/app", "/x"),))
    ),
    lost=st.sets(st.sampled_from(("blob", "spans", "toc"))),
    workers=st.sampled_from((1, 2, 8)),
)
def test_any_layer_gives_the_image_that_packing_anew_gives(
    monkeypatch, world, seed, style, codec, odd, links, wanted, lost, workers
):
    """Whatever is lost of the cache, with any number of threads, the same bytes each time."""
    place = world(packed_by(codec, archive(members(seed, links=links), STYLES[style], odd)))
    made = place.build(wanted, cached=False)
    assert_whole(made)
    anew = place.build(wanted, level="1")
    assert (made[2], made[3]) == (anew[2], anew[3])
    monkeypatch.setattr(compress, "_WORKERS", workers)
    place.forget(*lost)
    assert place.build(wanted)[1] == made[1]
    place.forget()
    assert place.build(wanted)[1] == made[1]


@pytest.mark.parametrize("odd", ["padding", "global headers", "other headers"])
def test_a_layer_that_others_wrote_in_their_own_way_is_packed_where_it_differs(world, odd):
    place = world(packed_by("gzip6", archive(members(3), STYLES["like Docker's"], odd)))
    made = place.build()
    assert_whole(made)
    assert (made[2], made[3]) == place.build(level="1")[2:4]


def test_padding_that_is_none_is_noticed_by_its_checksum_and_all_is_packed(monkeypatch, world):
    """The headers are as they should be, so that only shows when the part was read."""
    tried = []
    judge = takeover.Plan._judge
    monkeypatch.setattr(
        takeover.Plan, "_judge", lambda self, layer: (judge(self, layer), tried.append(len(self.regions)))
    )
    place = world(packed_by("gzip6", archive(members(3), STYLES["like ours"], "padding")))
    made = place.build()
    assert max(tried) > 0
    assert made[1] == place.build(level="1")[1]


def test_marks_do_not_depend_on_the_pieces_that_a_blob_comes_in():
    blob = packed_by("gzip6", archive(members(5, 200), STYLES["like ours"]))
    found = {}
    for piece in (1, 999, 30_000, 100_000, 262_144):
        spans, _ = index_of(blob, piece)
        found[piece] = spans.marks
    assert len(found[1]) > 5
    assert len(set(found.values())) == 1


@pytest.mark.parametrize("gone", ["blob", "blob and ranges", "ranges that lie", "nothing"])
def test_the_blob_is_found_again_wherever_it_is(world, gone):
    place = world(packed_by("gzip6", archive(members(7), STYLES["like ours"])))
    made = place.build()
    assert made[4] > 0
    place.forget(*(("blob",) if gone != "nothing" else ()))
    whole = place.layer.part
    if gone == "blob and ranges":
        place.layer.part = lambda start, end: io.BytesIO(b"")
    elif gone == "ranges that lie":
        place.layer.part = lambda start, end: io.BytesIO(bytes(end - start))
    again = place.build()
    assert (again[1], again[4]) == (made[1], made[4])
    place.layer.part = whole


def test_parts_that_were_read_are_not_downloaded_again(world):
    place = world(packed_by("gzip6", archive(members(7), STYLES["like ours"])))
    place.build((("/app/d000", "/app/d000"),))
    place.forget("blob")
    opened, read_before = place.layer.opened, 0
    sent = []
    whole = place.layer.part
    place.layer.part = lambda start, end: sent.append(end - start) or whole(start, end)
    made = place.build((("/app/d012", "/app/d012"), ("/app/d024", "/app/d024")))
    assert made[4] > 0
    assert place.layer.opened == opened
    assert read_before < sum(sent) < len(place.layer.blob)


def test_a_part_that_is_nowhere_as_it_was_is_an_error(world, monkeypatch):
    place = world(packed_by("gzip6", archive(members(7), STYLES["like ours"])))
    monkeypatch.setattr(packed.Blobs, "places", lambda *_: iter([lambda start, end: io.BytesIO(bytes(end - start))]))
    with pytest.raises(IntegrityError, match="is not what it was"):
        place.build()
    assert not list((place.cache.root / "v1" / "layer").glob("??/*"))


@pytest.mark.parametrize("how", ["digests", "kept blob"])
def test_what_is_wrong_in_the_cache_is_made_anew(world, how):
    place = world(packed_by("gzip6", archive(members(7), STYLES["like ours"])))
    made = place.build()
    key = place.layer.descriptor.digest.encoded
    place.forget()
    if how == "digests":
        spans = Spans.from_bytes(place.cache.get("spans", key))
        place.cache.put("spans", key, replace(spans, digests=tuple(bytes(32) for _ in spans.digests)).to_bytes())
    else:
        (kept,) = (place.cache.root / "v1" / "blob").glob(f"??/{key}")
        kept.chmod(0o600)
        blob = bytearray(kept.read_bytes())
        blob[len(blob) // 2] ^= 1
        kept.write_bytes(blob)
    again = place.build()
    assert again[1] == made[1]
    assert again[4] >= made[4] > 0
    place.forget()
    assert place.build()[1] == made[1]


@pytest.mark.parametrize("what", ["checksums", "heads", "style"])
def test_an_index_that_lies_about_what_is_alike_gives_the_same_files(world, what):
    """As somebody may write it who shares one: the image holds what it should, and says so by its digests."""
    place = world(packed_by("gzip6", archive(members(7), STYLES["like ours"])))
    made = place.build()
    key = place.layer.descriptor.digest.encoded
    place.forget()
    spans = Spans.from_bytes(place.cache.get("spans", key))
    lies = {
        "checksums": array("I", [7] * len(spans.marks)),
        "heads": array("I", [7] * (len(spans.starts) - 1)),
        "style": STYLES["like Docker's"],
    }
    likeness = replace(spans.likeness, **{what: lies[what]})
    place.cache.put("spans", key, replace(spans, likeness=likeness).to_bytes())
    again = place.build()
    assert_whole(again)
    assert again[2:4] == made[2:4]
    assert again[4] == 0


def test_layers_with_a_table_and_of_several_members_are_packed_anew(world):
    blob = packed_by("gzip6", archive(members(7), STYLES["like ours"]))
    place = world(blob)
    annotations = {"containerd.io/snapshot/stargz/toc.digest": str(Digest.of(b""))}
    place.layer.descriptor = replace(place.layer.descriptor, annotations=annotations)
    assert place.build()[4] == 0
    assert world(packed_by("members", archive(members(7), STYLES["like ours"]))).build()[4] == 0


def test_a_span_that_is_too_long_for_memory_is_not_read_by_itself(world, monkeypatch):
    monkeypatch.setattr(sparse, "MOST", 10_000)
    place = world(packed_by("gzip6", archive(members(7), STYLES["like ours"])))
    made = place.build()
    assert made[4] == 0
    opened = place.layer.opened
    place.forget("blob")
    assert place.build()[1] == made[1]
    assert place.layer.opened == opened + 1


def test_what_has_too_many_entries_is_packed_anew(world, monkeypatch):
    monkeypatch.setattr(packed, "_MOST_ENTRIES", 3)
    place = world(packed_by("gzip6", archive(members(7, 200), STYLES["like ours"])))
    few = place.build()
    assert_whole(few)
    monkeypatch.setattr(packed, "_MOST_ENTRIES", 1000)
    place.forget()
    assert few[4] < place.build()[4]


class Sending:
    """Stands for what sends layers while they are made, and notes what it was told of each."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []

    def begin(self, path, *, new):
        assert not path.read_bytes()
        self.told.append([])
        return self

    def grown(self, size):
        self.told[-1].append("grown")

    def finished(self, descriptor):
        self.told[-1].append("finished")

    def dropped(self):
        self.told[-1].append("dropped")


def test_what_was_sent_of_a_layer_that_is_packed_once_more_is_dropped(monkeypatch, world):
    place = world(packed_by("gzip6", archive(members(3), STYLES["like ours"], "padding")))
    sending = Sending()
    made = place.build(early=sending)
    assert made[1] == place.build(level="1")[1]
    assert [several[-1] for several in sending.told] == ["dropped", "finished"]


def test_an_owner_that_is_asked_for_is_written_without_the_builders_names(world):
    place = world(packed_by("gzip6", archive(members(7), STYLES["like Docker's"])))
    made = place.build((("/app", "/app", "501:20"),))
    assert_whole(made)
    assert {(item.uid, item.gid) for item in made[2]} == {(501, 20)}
    assert b"dialout" not in gzip.decompress(made[1])


def test_styles_are_learnt_from_headers():
    style = Style(False, {}, {})
    written = Style(True, {0: b"root", 7: b"seven"}, {0: b"wheel"})
    for item in (entry("a", DIRECTORY), entry("b", uid=7), entry("c", uid=7)):
        style = style.learn(item, header(item, written))
    assert style == Style(True, {0: b"root", 7: b"seven"}, {0: b"wheel"})
    assert style.learn(entry("d", uid=9), header(entry("d", uid=9), Style(True, {9: b"a b\n"}, {}))).users[9] == b""


def test_an_index_with_spans_of_nothing_takes_none():
    spans, _ = index_of(packed_by("gzip6", prose(1, 600_000)))
    still = tuple(replace_at(mark, spans.marks[1].at) if number else mark for number, mark in enumerate(spans.marks))
    likeness = sparse.Likeness(checksums=array("I", [0] * len(still)), heads=array("I", [0]), style=STYLES["like ours"])
    layer = packed.PackedLayer(None, replace(spans, marks=still, likeness=likeness), None, Account())
    assert layer.next_span(1) == len(still) - 1


def replace_at(mark, at):
    return mark._replace(at=at)
