"""`index show`, and the index of the runtime annotations proposal as it is spelt there."""

import json
from pathlib import Path

import pytest

from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Descriptor, Index
from tests.indexes.command import done, run
from tests.stores import made


def proposal(generic: Image, special: Image) -> ImageIndex:
    """Return the index of the proposal's example: two entries for one platform, `annotation` on the second."""
    entries = []
    for image, more in ((generic, {}), (special, {"annotation": {"com.example.gpu": "example-gpu-model"}})):
        manifest = image.to_manifest().descriptor.to_json()
        entries.append({**manifest, "platform": {"architecture": "amd64", "os": "linux"}, **more})
    children = {image.to_manifest().digest: image for image in (generic, special)}
    index = Index.of([]).evolve(manifests=entries)
    return ImageIndex(index=index, open_manifest=lambda entry: children[entry.digest], name="proposal")


@pytest.fixture
def layout(tmp_path: Path) -> str:
    where = f"oci:{tmp_path / 'layout'}:1"
    made.write(where, proposal(made.image(1), made.image(2)))
    return where


def test_entries_are_shown_in_their_order(layout: str) -> None:
    lines = done("index", "show", layout).splitlines()
    assert lines[-3].split() == ["#", "DIGEST", "PLATFORM", "KIND", "ANNOTATIONS"]
    assert lines[-2].split()[2:] == ["linux/amd64", "image"]
    assert lines[-1].split()[2:] == ["linux/amd64", "image", "com.example.gpu=example-gpu-model"]


def test_both_spellings_of_annotations_are_read(layout: str) -> None:
    shown = json.loads(done("index", "show", layout, "--format", "json"))
    assert [item.get("annotations") for item in shown["manifests"]] == [None, {"com.example.gpu": "example-gpu-model"}]
    assert not any("annotation" in item for item in shown["manifests"])


def test_the_raw_bytes_are_those_of_the_digest(layout: str) -> None:
    shown = json.loads(done("index", "show", layout, "--format", "json"))
    raw = run("index", "show", layout, "--format", "raw").out.encode()
    assert len(raw) == shown["size"]
    assert Index(raw, shown["mediaType"]).digest == shown["digest"]


def test_annotations_win_over_the_other_spelling() -> None:
    data = made.image().to_manifest().descriptor.to_json()
    both = Descriptor.from_json({**data, "annotations": {"a": "1"}, "annotation": {"a": "2", "b": "3"}})
    assert both.annotations == {"a": "1", "b": "3"}
    assert "annotation" not in both.to_json()
    strange = Descriptor.from_json({**data, "annotation": [1]})
    assert (strange.annotations, strange.to_json()["annotation"]) == ({}, [1])


def test_an_index_larger_than_allowed_is_refused(layout: str) -> None:
    refused = run("index", "show", layout, "--max-size", "100")
    assert (refused.code, refused.out) == (2, "")
    assert "bytes; 100 are allowed" in refused.err


def test_a_single_image_is_no_index(tmp_path: Path) -> None:
    where = f"oci:{tmp_path / 'layout'}:1"
    made.write(where, made.image())
    refused = run("index", "show", where)
    assert (refused.code, refused.out) == (2, "")
    assert "is a single image, not an index" in refused.err
