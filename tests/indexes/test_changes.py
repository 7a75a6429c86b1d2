"""`index create`, `add`, `remove` and `annotate`, on layouts and archives."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.cli.index.places import report
from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Index
from runtimeimg.oci.mediatypes import OCI_INDEX, OCI_MANIFEST
from runtimeimg.stores import Written
from runtimeimg.stores.indexes import WrittenIndex
from tests.indexes.command import done, run
from tests.indexes.conftest import image
from tests.stores import made


@pytest.fixture
def layout(tmp_path: Path) -> str:
    """A layout with the images a, b (linux/amd64), arm (linux/arm64/v8), win and old (of Docker's types)."""
    where = f"oci:{tmp_path / 'layout'}"
    images = {
        "a": image(1),
        "b": image(2),
        "arm": image(3, "linux/arm64/v8"),
        "win": image(4, "windows(10.0.20348.1+win32k)/amd64"),
        "old": made.docker_schema2(image(5)),
    }
    for tag, item in images.items():
        made.write(f"{where}:{tag}", item)
    return where


def digest(where: str) -> str:
    found = made.read(where)
    document = found.index if isinstance(found, ImageIndex) else found.manifest
    assert document is not None
    return str(document.digest)


def single(where: str) -> Image:
    """Return an image, or the only one of an index."""
    found = made.read(where)
    if isinstance(found, ImageIndex):
        (entry,) = found.index.manifests
        child = found.open_manifest(entry)
        assert isinstance(child, Image)
        return child
    return found


def shown(where: str) -> list[dict[str, Any]]:
    manifests: list[dict[str, Any]] = json.loads(done("index", "show", where, "--format", "json"))["manifests"]
    return manifests


def digests(where: str) -> list[str]:
    return [item["digest"] for item in shown(where)]


def platforms(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item["platform"] for item in items]


def test_entries_are_in_the_order_given_and_tell_what_the_configs_say(layout: str) -> None:
    printed = done("index", "create", f"{layout}:i", "--annotation", "com.example.release=1", *(
        part for tag in ("win", "arm", "a") for part in ("--image", f"{layout}:{tag}")
    ))  # fmt: skip
    assert printed == digest(f"{layout}:i")
    items = shown(f"{layout}:i")
    assert [item["digest"] for item in items] == [digest(f"{layout}:{tag}") for tag in ("win", "arm", "a")]
    windows = {"architecture": "amd64", "os": "windows", "os.version": "10.0.20348.1", "os.features": ["win32k"]}
    arm = {"architecture": "arm64", "os": "linux", "variant": "v8"}
    assert platforms(items) == [windows, arm, {"architecture": "amd64", "os": "linux"}]
    found = made.read(f"{layout}:i")
    assert isinstance(found, ImageIndex)
    assert found.index.annotations == {"com.example.release": "1"}
    assert found.index.data["mediaType"] == OCI_INDEX
    for entry, tag in zip(found.index.manifests, ("win", "arm", "a"), strict=True):
        child = found.open_manifest(entry)
        assert isinstance(child, Image)
        assert made.contents_of(child) == [layer.descriptor.digest for layer in single(f"{layout}:{tag}").layers]


def test_annotations_and_a_closer_platform(layout: str) -> None:
    done(
        "index", "create", f"{layout}:i", "--image", f"{layout}:a",
        "--image", f'{layout}:b,platform=linux/amd64/v3,annotation=com.example.gpu=a100,"annotation=com.example.x=y,z"',
    )  # fmt: skip
    first, second = shown(f"{layout}:i")
    assert "annotations" not in first
    assert second["annotations"] == {"com.example.gpu": "a100", "com.example.x": "y,z"}
    assert second["platform"] == {"architecture": "amd64", "os": "linux", "variant": "v3"}


def test_a_platform_that_the_image_is_not_for_is_refused(layout: str) -> None:
    refused = run("index", "create", f"{layout}:i", "--image", f"{layout}:a,platform=linux/arm64")
    assert refused.code == 2
    assert "is for linux/amd64, not for linux/arm64" in refused.err


def test_an_index_that_is_there_is_not_written_again(layout: str, tmp_path: Path) -> None:
    for where in (f"{layout}:i", f"oci-archive:{tmp_path / 'i.tar'}:1"):
        args = ("index", "create", where, "--image", f"{layout}:a", "--image", f"{layout}:arm")
        first = run(*args)
        assert "wrote" in first.err
        path = tmp_path / "i.tar" if where.startswith("oci-archive") else tmp_path / "layout" / "index.json"
        before = (path.read_bytes(), path.stat().st_ino)
        second = run(*args)
        assert (second.code, second.out) == (0, first.out)
        assert "is unchanged" in second.err
        assert (path.read_bytes(), path.stat().st_ino) == before


def test_docker_types_become_those_of_oci_unless_they_are_to_be_kept(layout: str) -> None:
    converted = run("index", "create", f"{layout}:i", "--image", f"{layout}:old")
    assert "is of Docker's media types" in converted.err
    (entry,) = shown(f"{layout}:i")
    assert entry["mediaType"] == OCI_MANIFEST
    found = single(f"{layout}:i")
    assert found.manifest is not None
    assert found.config.digest == single(f"{layout}:old").config.digest
    assert "docker" not in found.manifest.raw.decode()
    done("index", "create", f"{layout}:kept", "--keep-types", "--image", f"{layout}:old")
    assert digests(f"{layout}:kept") == [digest(f"{layout}:old")]


def test_indexes_are_nested_or_flattened_on_wish(layout: str) -> None:
    made.write(f"{layout}:in", made.index(image(6), image(7, "linux/arm64")))
    nested = run("index", "create", f"{layout}:i", "--image", f"{layout}:a", "--image", f"{layout}:in,annotation=a=b")
    assert "--flatten lists its images" in nested.err
    assert digests(f"{layout}:i") == [digest(f"{layout}:a"), digest(f"{layout}:in")]
    done("index", "create", f"{layout}:flat", "--flatten", "--image", f"{layout}:i,annotation=c=d")
    items = shown(f"{layout}:flat")
    assert [item["digest"] for item in items] == [digest(f"{layout}:a"), *digests(f"{layout}:in")[:2]]
    assert [item["annotations"] for item in items] == [{"c": "d"}, {"a": "b", "c": "d"}, {"a": "b", "c": "d"}]
    assert not any(item["platform"]["os"] == "unknown" for item in items)


def test_one_image_of_an_index(layout: str) -> None:
    made.write(f"{layout}:in", made.index(image(6), image(7, "linux/arm64/v8")))
    done("index", "create", f"{layout}:i", "--image", f"{layout}:in,platform=linux/arm64")
    (entry,) = shown(f"{layout}:i")
    assert entry["digest"] == digests(f"{layout}:in")[1]
    assert entry["platform"] == {"architecture": "arm64", "os": "linux", "variant": "v8"}
    missing = run("index", "create", f"{layout}:i", "--image", f"{layout}:in,platform=linux/s390x")
    assert missing.code == 3
    assert "has nothing for linux/s390x" in missing.err


def test_adding(layout: str) -> None:
    done("index", "create", f"{layout}:i", "--image", f"{layout}:a")
    done("index", "add", f"{layout}:i", "--image", f"{layout}:arm")
    done("index", "add", f"{layout}:i", "--at", "1", "--image", f"{layout}:win")
    assert digests(f"{layout}:i") == [digest(f"{layout}:{tag}") for tag in ("win", "a", "arm")]
    # One of the same platform and annotations takes the place of what is there.
    done("index", "add", f"{layout}:i", "--image", f"{layout}:b")
    assert digests(f"{layout}:i") == [digest(f"{layout}:{tag}") for tag in ("win", "b", "arm")]
    assert "is unchanged" in run("index", "add", f"{layout}:i", "--image", f"{layout}:b").err
    done("index", "add", f"{layout}:i", "-o", f"{layout}:j", "--image", f"{layout}:a,annotation=k=v")
    assert digests(f"{layout}:j") == [digest(f"{layout}:{tag}") for tag in ("win", "b", "arm", "a")]
    assert len(digests(f"{layout}:i")) == 3


REMOVALS = {
    "number": ("2", [0, 2, 3]),
    "platform": ("linux/arm64", [0, 1, 3]),
    "bare architecture": ("arm64", [0, 1, 3]),
    "annotation": ("k=v", [0, 2, 3]),
    "all that is said": ("linux/amd64,k=v", [0, 2, 3]),
    "windows": ("windows/amd64", [0, 1, 2]),
    "windows in full": ("windows(10.0.20348.1+win32k)/amd64", [0, 1, 2]),
}


@pytest.fixture
def four(layout: str) -> str:
    done("index", "create", f"{layout}:i", *(
        part for item in ("a", "b,annotation=k=v", "arm", "win") for part in ("--image", f"{layout}:{item}")
    ))  # fmt: skip
    return f"{layout}:i"


@pytest.mark.parametrize(("entry", "kept"), REMOVALS.values(), ids=REMOVALS)
def test_removing(four: str, entry: str, kept: list[int]) -> None:
    before = digests(four)
    done("index", "remove", four, entry)
    assert digests(four) == [before[at] for at in kept]


def test_removing_by_digest(four: str) -> None:
    before = digests(four)
    done("index", "remove", four, before[0], before[2].partition(":")[2][:12])
    assert digests(four) == [before[1], before[3]]


def test_what_is_not_one_entry_is_not_removed(four: str) -> None:
    several = run("index", "remove", four, "linux/amd64")
    assert (several.code, "means 2 entries: 1, 2" in several.err) == (2, True)
    none = run("index", "remove", four, "linux/s390x")
    assert (none.code, "it holds 1 (linux/amd64), 2 (linux/amd64), 3 (linux/arm64/v8)" in none.err) == (3, True)
    done("index", "remove", four, "--all", "linux/amd64")
    assert len(digests(four)) == 2


def test_an_attestation_goes_with_its_image(layout: str) -> None:
    source = made.index(image(6), image(7, "linux/arm64"))
    listed = [entry.to_json() for entry in source.index.manifests]
    listed[2]["annotations"]["vnd.docker.reference.digest"] = listed[0]["digest"]
    attested = ImageIndex(index=source.index.evolve(manifests=listed), open_manifest=source.open_manifest)
    made.write(f"{layout}:in", attested)
    done("index", "remove", f"{layout}:in", "2", "-o", f"{layout}:first")
    assert digests(f"{layout}:first") == [listed[0]["digest"], listed[2]["digest"]]
    done("index", "remove", f"{layout}:in", "1", "-o", f"{layout}:second")
    assert digests(f"{layout}:second") == [listed[1]["digest"]]


def test_annotating_leaves_the_images_as_they_are(four: str) -> None:
    before = digests(four)
    done("index", "annotate", four, "--entry", "3", "--entry", "k=v", "com.example.gpu=a100", "--remove", "k")
    done("index", "annotate", four, "org.example.release=7")
    items = shown(four)
    assert [item["digest"] for item in items] == before
    assert [item.get("annotations") for item in items] == [
        None,
        {"com.example.gpu": "a100"},
        {"com.example.gpu": "a100"},
        None,
    ]
    done("index", "annotate", four, "--entry", "1", "--platform", "linux/amd64/v2")
    assert shown(four)[0]["platform"]["variant"] == "v2"
    assert "is unchanged" in run("index", "annotate", four, "org.example.release=7").err
    done("index", "annotate", four, "--entry", "1", "--platform", "linux/amd64")
    assert "variant" not in shown(four)[0]["platform"]
    refused = run("index", "annotate", four, "--entry", "1", "--platform", "linux/arm64")
    assert (refused.code, "is for linux/amd64, not for linux/arm64" in refused.err) == (2, True)


def test_the_other_spelling_is_written_as_the_specification_has_it(layout: str) -> None:
    entry = single(f"{layout}:a").to_manifest().descriptor.to_json()
    index = Index.of([]).evolve(manifests=[{**entry, "annotation": {"a": "b"}, "com.example.unknown": [1]}])
    made.write(f"{layout}:i", ImageIndex(index=index, open_manifest=lambda _: single(f"{layout}:a")))
    done("index", "annotate", f"{layout}:i", "--entry", "1", "c=d")
    raw = json.loads(run("index", "show", f"{layout}:i", "--format", "raw").out)
    assert raw["manifests"] == [{**entry, "annotations": {"a": "b", "c": "d"}, "com.example.unknown": [1]}]


def test_entries_that_are_never_chosen_are_told(layout: str) -> None:
    said = run("index", "create", f"{layout}:i", "--image", f"{layout}:a", "--image", f"{layout}:b").err
    assert "entry 2 is never chosen: entry 1 has the same platform and annotations" in said


BAD = {
    "no such field": (["create", "DEST", "--image", "oci:x:a,plattform=linux/amd64"], "is not understood"),
    "two platforms": (["create", "DEST", "--image", "oci:x:a,platform=a/b,platform=c/d"], "is not understood"),
    "an open quote": (["create", "DEST", "--image", '"oci:x:a'], "cannot be taken apart"),
    "a line break": (["create", "DEST", "--image", "oci:x:a\nb"], "holds a line break"),
    "an empty field": (["create", "DEST", "--image", "oci:x:a,"], "empty part"),
    "an annotation without a value": (["create", "DEST", "--image", "oci:x:a,annotation=x"], "key=value"),
    "the Engine": (["create", "docker-daemon:web:1", "--image", "oci:x:a"], "cannot hold an index"),
    "docker's archive": (["create", "docker-archive:web.tar", "--image", "oci:x:a"], "cannot hold an index"),
    "a digest": (["create", "docker://h.example/w@sha256:" + "a" * 64, "--image", "oci:x:a"], "by its digest"),
    "nothing to change": (["annotate", "DEST"], "nothing to change"),
    "a platform of the index": (["annotate", "DEST", "--platform", "linux/amd64"], "says nothing of an index"),
}


@pytest.mark.parametrize(("args", "said"), BAD.values(), ids=BAD)
def test_bad_usage(args: list[str], said: str, layout: str) -> None:
    refused = run("index", *[f"{layout}:i" if arg == "DEST" else arg for arg in args])
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err


def test_a_single_image_is_changed_by_nothing(layout: str) -> None:
    for args in (["add", "--image", f"{layout}:b"], ["remove", "1"], ["annotate", "a=b"]):
        refused = run("index", args[0], f"{layout}:a", *args[1:])
        assert refused.code == 2
        assert "is a single image, not an index" in refused.err


def test_an_index_that_many_do_not_take_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    large = replace(image(1).to_manifest().descriptor, size=(4 << 20) + 1)
    report(WrittenIndex(written=Written(name="docker://h/x:1", descriptor=large), changed=True))
    assert "many registries and engines take 4194304 at the most" in capsys.readouterr().err
