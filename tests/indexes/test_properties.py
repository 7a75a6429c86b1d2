"""Changes of indexes as functions of values: what holds whatever the index."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.image import Image, ImageIndex
from runtimeimg.image.indexes import Entry, added, assembled, entries_of, flattened, removed, shadowed
from runtimeimg.oci import Descriptor, Index, Platform
from runtimeimg.oci.documents import dump_json
from runtimeimg.oci.mediatypes import OCI_INDEX, OCI_MANIFEST

KEYS = st.sampled_from(["a", "b", "com.example.gpu"])
MAPS = st.dictionaries(KEYS, st.sampled_from(["", "1", "x y", "\ud800"]), max_size=2)
PLATFORMS = st.sampled_from(
    ["linux/amd64", "linux/amd64/v1", "linux/amd64/v3", "linux/arm64", "linux/arm64/v8", "windows(10.0.1+win32k)/amd64"]
)
ODD = st.dictionaries(
    st.sampled_from(["com.example.x", "urls", "data"]), st.lists(st.integers()) | st.text(), max_size=1
)


@st.composite
def descriptors(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an entry as it stands in an index, unknown fields among it."""
    platform = {**Platform.parse(draw(PLATFORMS)).to_json(), **draw(ODD)}
    data: dict[str, Any] = {
        "mediaType": OCI_MANIFEST,
        "digest": f"sha256:{draw(st.integers(0, 5)):064x}",
        "size": draw(st.integers(0, 9)),
        "platform": platform,
        **draw(ODD),
    }
    return data | ({"annotations": found} if (found := draw(MAPS)) else {})


def never(entry: Descriptor) -> Image:
    raise AssertionError(f"{entry.digest} was opened")


def index_of(entries: Sequence[dict[str, Any]], **more: Any) -> ImageIndex:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries), **more}
    return ImageIndex(index=Index(dump_json(document), OCI_INDEX), open_manifest=never, name="drawn")


INDEXES = st.builds(
    lambda entries, annotations, odd: index_of(entries, **({"annotations": annotations} if annotations else {}), **odd),
    st.lists(descriptors(), max_size=6),
    MAPS,
    ODD,
)


@given(INDEXES)
def test_what_nothing_changes_is_the_very_same(found: ImageIndex) -> None:
    assert assembled(entries_of(found), found.index.annotations, base=found).index is found.index
    again = added(entries_of(found), entries_of(found)[:0])
    assert assembled(removed(again, []), found.index.annotations, base=found).index is found.index


@given(INDEXES, MAPS)
def test_annotating_the_index_changes_nothing_else(found: ImageIndex, annotations: dict[str, str]) -> None:
    made = assembled(entries_of(found), annotations, base=found).index
    assert made.annotations == annotations
    assert {**made.data, "annotations": None} == {**found.index.data, "annotations": None}


@given(INDEXES, st.data())
def test_removing_leaves_the_others_in_their_order(found: ImageIndex, data: st.DataObject) -> None:
    entries = entries_of(found)
    gone = data.draw(st.sets(st.sampled_from(range(len(entries))))) if entries else set()
    left = removed(entries, gone)
    assert list(left) == [entry for at, entry in enumerate(entries) if at not in gone]
    made = assembled(left, found.index.annotations, base=found).index
    kept = [item for at, item in enumerate(found.index.data["manifests"]) if at not in gone]
    assert made.data["manifests"] == kept


@given(INDEXES, INDEXES, st.data())
def test_adding_never_makes_a_second_of_the_same_place(
    found: ImageIndex, other: ImageIndex, data: st.DataObject
) -> None:
    old, new = entries_of(found), entries_of(other)
    at = data.draw(st.none() | st.integers(0, len(old)))
    result = added(old, new, at)
    places = {entry.place for entry in old}
    fresh = [entry for entry in new if entry.place not in places]
    assert len(result) == len(old) + len(fresh)
    assert [entry.place for entry in result if entry not in fresh] == [entry.place for entry in old]
    start = len(old) if at is None else at
    assert list(result[start : start + len(fresh)]) == fresh
    assert added(result, new[-1:] if new and new[-1].place not in [item.place for item in new[:-1]] else []) == result


@given(INDEXES)
def test_an_entry_is_shadowed_where_one_before_it_tells_the_same(found: ImageIndex) -> None:
    entries = entries_of(found)
    expected = []
    for at, entry in enumerate(entries):
        before = [number for number in range(at) if entries[number].place == entry.place]
        expected += [(before[0], at)] if before else []
    assert list(shadowed(entries)) == expected


TREES: st.SearchStrategy[Any] = st.recursive(
    descriptors(), lambda inner: st.tuples(st.lists(inner, max_size=4), MAPS), max_leaves=12
)


def nested(tree: Any) -> tuple[dict[str, Any], dict[str, ImageIndex]]:
    """Return the entry for a tree, and the indexes below it by digest."""
    if isinstance(tree, dict):
        return tree, {}
    below: dict[str, ImageIndex] = {}
    entries = []
    for inner in tree[0]:
        entry, more = nested(inner)
        entries.append(entry)
        below |= more
    own = Index(dump_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}), OCI_INDEX)
    below[own.digest] = ImageIndex(index=own, open_manifest=lambda item: below[item.digest], name="inner")
    return {**own.descriptor.to_json(), "annotations": tree[1]}, below


def leaves(tree: Any, inherited: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    if isinstance(tree, dict):
        return [(tree["digest"], {**inherited, **tree.get("annotations", {})})]
    return [leaf for inner in tree[0] for leaf in leaves(inner, {**inherited, **tree[1]})]


@given(st.lists(TREES, max_size=4))
def test_flattening_lists_the_images_in_their_order(trees: list[Any]) -> None:
    entry, below = nested((trees, {}))
    found: list[Entry] = list(flattened(below[entry["digest"]]))
    assert [(item.descriptor.digest, dict(item.descriptor.annotations)) for item in found] == leaves((trees, {}), {})
