"""The artifact side of the image specification: what is about an image, kept beside it, and what descriptors carry."""

import base64
import itertools
import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.errors import InvalidDocumentError, NotFoundError, TransientError, UsageError
from runtimeimg.image import Image
from runtimeimg.oci import Descriptor, Digest, Index, Location, Manifest
from runtimeimg.oci.documents import dump_json
from runtimeimg.oci.mediatypes import OCI_EMPTY
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.artifacts import Artifacts, artifacts_of, blob
from runtimeimg.stores.registry.referrers import RegistryArtifacts, fallback_tag
from tests.published import validate
from tests.stores import made

TYPE = "application/vnd.example.note.v1"
TEXT = "text/plain"


def artifacts(where: str) -> Artifacts:
    return artifacts_of(Location.parse(where), StoreOptions())


@pytest.fixture(params=["oci", pytest.param("docker", marks=pytest.mark.registry)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "oci":
        return f"oci:{tmp_path}/layout:1"
    repository: str = request.getfixturevalue("repository")
    return f"docker://{request.getfixturevalue('own_registry')}/{repository}:1"


def test_what_is_attached_is_found_again(place: str, reference: Path) -> None:
    image = made.image(1)
    made.write(place, image)
    subject = image.to_manifest().descriptor
    kept = artifacts(place)
    entry = kept.attach(TYPE, [blob(b"a note", TEXT)], subject, {"annotations": {"by": "me"}})
    other = kept.attach("application/vnd.example.other", [], subject, {})
    assert {item.digest for item in kept.referrers(subject.digest)} == {entry.digest, other.digest}
    assert [(item.digest, item.annotations["by"]) for item in kept.of_type(subject.digest, TYPE)] == [
        (entry.digest, "me")
    ]
    assert kept.referrers(Digest.of(b"of nothing")) == ()
    manifest = kept.manifest(entry.digest)
    assert (manifest.artifact_type, manifest.subject.digest if manifest.subject else None) == (TYPE, subject.digest)
    assert kept.files(entry.digest, 100) == {TEXT: b"a note"}
    with pytest.raises(InvalidDocumentError, match="holds a file of 6 bytes"):
        kept.files(entry.digest, 5)
    empty = kept.manifest(other.digest)
    assert [(item.media_type, item.size) for item in (empty.config, *empty.layers)] == [(OCI_EMPTY, 2)] * 2
    for document in (manifest, empty):
        validate(reference, "image-manifest-schema.json", document.data)


def test_attached_twice_is_listed_once(place: str) -> None:
    image = made.image(2)
    made.write(place, image)
    subject = image.to_manifest().descriptor
    first, again = (artifacts(place).attach(TYPE, [blob(b"x", TEXT)], subject, {}) for _ in range(2))
    assert first == again
    assert len(artifacts(place).referrers(subject.digest)) == 1


def test_several_at_once_are_all_listed_in_a_layout(tmp_path: Path) -> None:
    image = made.image(3)
    made.write(f"oci:{tmp_path}/layout", image)
    subject = image.to_manifest().descriptor
    texts = [f"note {number}".encode() for number in range(4)]
    kept = artifacts(f"oci:{tmp_path}/layout")

    def attach(text: bytes) -> None:
        artifacts(f"oci:{tmp_path}/layout").attach(TYPE, [blob(text, TEXT)], subject, {})

    with ThreadPoolExecutor() as pool:
        list(pool.map(attach, texts))
    found = [kept.files(item.digest, 100)[TEXT] for item in kept.of_type(subject.digest, TYPE)]
    assert sorted(found) == texts


@pytest.mark.registry
@pytest.mark.parametrize("lost", [1, 99])
def test_a_list_that_somebody_else_replaces_is_written_again(
    own_registry: str, repository: str, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """Registries without the API of referrers have a list under a tag, which the last writer decides."""
    place = f"docker://{own_registry}/{repository}:1"
    image = made.image(3)
    made.write(place, image)
    subject = image.to_manifest().descriptor
    kept = artifacts(place)
    other = kept.attach(TYPE, [blob(b"theirs", TEXT)], subject, {})
    put, count = RegistryArtifacts.put, itertools.count()

    def replaced(self: RegistryArtifacts, document: Manifest | Index, name: str) -> bool:
        answer = put(self, document, name)
        if name == fallback_tag(subject.digest) and next(count) < lost:
            put(self, Index.of([other]), name)
        return answer

    monkeypatch.setattr(RegistryArtifacts, "put", replaced)
    if lost == 1:
        kept.attach(TYPE, [blob(b"ours", TEXT)], subject, {})
        assert len(kept.referrers(subject.digest)) == 2
    else:
        with pytest.raises(TransientError, match="others write there"):
            kept.attach(TYPE, [blob(b"ours", TEXT)], subject, {})


def test_a_layout_is_opened_and_written_as_before(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    image = made.image(4)
    made.write(f"oci:{layout}", image)
    subject = image.to_manifest().descriptor
    entry = artifacts(f"oci:{layout}").attach(TYPE, [blob(b"x", TEXT)], subject, {})
    assert made.read_image(f"oci:{layout}").to_manifest().digest == subject.digest
    made.write(f"oci:{layout}", made.image(5))
    made.write(f"oci:{layout}:named", image)
    listed = json.loads((layout / "index.json").read_text())["manifests"]
    assert [item["digest"] for item in listed if item.get("artifactType") == TYPE] == [entry.digest]
    assert len(listed) == 3
    copied = subprocess.run(["skopeo", "inspect", f"oci:{layout}:named"], check=True, capture_output=True, text=True)
    assert json.loads(copied.stdout)["Digest"] == subject.digest


def test_what_keeps_no_artifacts_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither in a registry nor in a layout"):
        artifacts_of(Location.parse(f"oci-archive:{tmp_path}/x.tar"), StoreOptions())


def rewritten(layout: Path, image: Image, change: Callable[[dict[str, Any]], None]) -> Manifest:
    """Put a changed manifest in the place of the only one of a layout, and return it."""
    data = json.loads(image.to_manifest().raw)
    change(data)
    manifest = Manifest(dump_json(data), image.to_manifest().media_type)
    (layout / "blobs/sha256" / manifest.digest.encoded).write_bytes(manifest.raw)
    index = {"schemaVersion": 2, "manifests": [manifest.descriptor.to_json()]}
    (layout / "index.json").write_bytes(dump_json(index))
    return manifest


def config_of(layout: Path, image: Image) -> Path:
    return layout / "blobs/sha256" / image.config.digest.encoded


def test_content_that_a_descriptor_carries_is_taken_from_it(tmp_path: Path) -> None:
    image = made.image(6)
    made.write(f"oci:{tmp_path}/layout", image)
    embedded = base64.b64encode(image.config.raw).decode()
    manifest = rewritten(tmp_path / "layout", image, lambda data: data["config"].update(data=embedded))
    config_of(tmp_path / "layout", image).unlink()
    found = made.read_image(f"oci:{tmp_path}/layout")
    assert found.config.raw == image.config.raw
    made.write(f"oci:{tmp_path}/copy", found)
    assert config_of(tmp_path / "copy", image).read_bytes() == image.config.raw
    assert made.read_image(f"oci:{tmp_path}/copy").to_manifest().raw == manifest.raw


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (base64.b64encode(b"{}").decode(), "is other content than it names"),
        ("e30", "is not base64"),
        ("%%%%", "is not base64"),
        (7, "is not base64"),
        (["e30="], "is not base64"),
    ],
)
def test_content_that_is_not_what_its_descriptor_says_is_refused(tmp_path: Path, data: object, said: str) -> None:
    image = made.image(7)
    made.write(f"oci:{tmp_path}/layout", image)
    rewritten(tmp_path / "layout", image, lambda found: found["config"].update(data=data))
    with pytest.raises(InvalidDocumentError, match=said) as refused:
        made.read_image(f"oci:{tmp_path}/layout")
    assert image.config.digest in refused.value.message


def test_manifests_are_carried_too(tmp_path: Path) -> None:
    image = made.image(8)
    made.write(f"oci:{tmp_path}/layout", image)
    manifest = image.to_manifest()
    entry = replace(manifest.descriptor, extra={"data": base64.b64encode(manifest.raw).decode()})
    index = {"schemaVersion": 2, "manifests": [entry.to_json()]}
    (tmp_path / "layout/index.json").write_bytes(dump_json(index))
    (tmp_path / "layout/blobs/sha256" / manifest.digest.encoded).unlink()
    assert made.read_image(f"oci:{tmp_path}/layout").to_manifest().digest == manifest.digest


def test_content_that_is_elsewhere_is_never_fetched(place: str, tmp_path: Path) -> None:
    """A layer that the store has not is an error that names where it is said to be."""
    layout = tmp_path / "source"
    image = made.image(9)
    made.write(f"oci:{layout}", image)
    lost = image.layers[1].descriptor
    manifest = rewritten(
        layout, image, lambda data: data["layers"][1].update(urls=["http://127.0.0.1:9/\u001b[2Jlayer"])
    )
    found = made.read_image(f"oci:{layout}")
    assert made.contents_of(found) == [layer.descriptor.digest for layer in image.layers]  # the store has it
    (layout / "blobs/sha256" / lost.digest.encoded).unlink()
    with pytest.raises(NotFoundError) as missing:
        made.contents_of(made.read_image(f"oci:{layout}"))
    assert missing.value.hint is not None
    assert "kept at 'http://127.0.0.1:9/" in missing.value.hint
    assert "\u001b" not in missing.value.hint
    with pytest.raises(NotFoundError):
        made.write(place, made.read_image(f"oci:{layout}"))
    with pytest.raises(NotFoundError):
        made.read(place.rpartition(":")[0] + ":2")
    assert manifest.layers[1].urls == ("http://127.0.0.1:9/\u001b[2Jlayer",)


def test_fields_of_other_types_are_passed_over() -> None:
    entry = Descriptor.from_json(
        {"mediaType": TEXT, "digest": Digest.of(b""), "size": 0, "urls": "http://x", "artifactType": 7}
    )
    assert (entry.urls, entry.artifact_type, entry.data) == ((), None, None)
    assert entry.to_json()["urls"] == "http://x"
