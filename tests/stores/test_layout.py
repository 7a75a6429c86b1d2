"""OCI layouts: what is written is read, by others too; other names are kept; broken ones are refused."""

import errno
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made import contents_of, digests, docker_schema2, image, index, read, read_image, write

from runtimeimg.errors import IntegrityError, InvalidDocumentError, NotFoundError, RuntimeimgError, UsageError
from runtimeimg.image import Image, ImageIndex, Origin, choose_platform
from runtimeimg.oci import Platform
from runtimeimg.stores import StoreOptions, files
from runtimeimg.stores.layout import files as layoutfiles
from tests.published import validate


def entries(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / "index.json").read_text())["manifests"]
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = image(1)
    written = write(f"oci:{tmp_path}/l:v1", made)
    assert written.descriptor is not None
    assert written.descriptor.digest == made.to_manifest().digest
    found = read_image(f"oci:{tmp_path}/l:v1")
    assert found.to_manifest().raw == made.to_manifest().raw
    assert contents_of(found) == digests([item.descriptor for item in made.layers])
    origin = found.layers[0].origin
    assert origin == Origin(
        store="file", place=str(tmp_path / "l/blobs/sha256" / found.layers[0].descriptor.digest.encoded)
    )
    assert names(tmp_path / "l") == ["blobs", "index.json", "oci-layout"]
    assert (tmp_path / "l/oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'


def test_names_are_those_that_skopeo_and_containerd_read(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/l:v1", image(1))
    write(f"oci:{tmp_path}/l:example.com/web:2", image(2))
    write(f"oci:{tmp_path}/l:debian:3", image(3))
    assert [item["annotations"] for item in entries(tmp_path / "l")] == [
        {"org.opencontainers.image.ref.name": "v1"},
        {
            "io.containerd.image.name": "example.com/web:2",
            "org.opencontainers.image.ref.name": "example.com/web:2",
        },
        {"io.containerd.image.name": "docker.io/library/debian:3", "org.opencontainers.image.ref.name": "debian:3"},
    ]
    assert [item["platform"] for item in entries(tmp_path / "l")] == [{"architecture": "amd64", "os": "linux"}] * 3


def test_other_names_are_kept_and_the_same_replaced(tmp_path: Path) -> None:
    for tag, seed in (("a", 1), ("b", 2), ("a", 3)):
        write(f"oci:{tmp_path}/l:{tag}", image(seed))
    assert read_image(f"oci:{tmp_path}/l:a").config.labels == {"seed": "3"}
    assert read_image(f"oci:{tmp_path}/l:b").config.labels == {"seed": "2"}
    assert len(entries(tmp_path / "l")) == 2


def test_unknown_fields_of_the_index_survive(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/l:a", image(1))
    path = tmp_path / "l/index.json"
    data = json.loads(path.read_text())
    data["x-note"] = {"kept": True}
    data["manifests"][0]["x-more"] = [1]
    path.write_text(json.dumps(data))
    write(f"oci:{tmp_path}/l:b", image(2))
    data = json.loads(path.read_text())
    assert data["x-note"] == {"kept": True}
    assert data["manifests"][0]["x-more"] == [1]


def test_without_a_tag_it_is_the_only_image(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/l", image(1))
    assert read_image(f"oci:{tmp_path}/l").config.labels == {"seed": "1"}
    write(f"oci:{tmp_path}/l", image(2))
    assert read_image(f"oci:{tmp_path}/l").config.labels == {"seed": "2"}
    write(f"oci:{tmp_path}/l:named", image(3))
    assert read_image(f"oci:{tmp_path}/l").config.labels == {"seed": "2"}
    assert len(entries(tmp_path / "l")) == 2


def test_several_images_want_a_tag(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/l:a", image(1))
    write(f"oci:{tmp_path}/l:b", image(2))
    with pytest.raises(UsageError, match="holds several images") as caught:
        read(f"oci:{tmp_path}/l")
    assert caught.value.hint == "add one of the tags: a, b"
    with pytest.raises(NotFoundError, match="does not exist") as missing:
        read(f"oci:{tmp_path}/l:c")
    assert missing.value.hint == "the layout holds a, b"


def test_one_image_under_two_names_wants_none(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/l:a", image(1))
    write(f"oci:{tmp_path}/l:b", image(1))
    assert read_image(f"oci:{tmp_path}/l").config.labels == {"seed": "1"}


def test_containerd_s_name_is_found(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/l:x", image(1))
    path = tmp_path / "l/index.json"
    data = json.loads(path.read_text())
    data["manifests"][0]["annotations"] = {
        "io.containerd.image.name": "docker.io/library/web:1",
        "org.opencontainers.image.ref.name": "1",
    }
    path.write_text(json.dumps(data))
    for tag in ("1", "web:1", "docker.io/library/web:1"):
        assert isinstance(read(f"oci:{tmp_path}/l:{tag}"), Image)


def test_layout_whose_index_is_the_image(tmp_path: Path) -> None:
    one, two = image(1), image(2, arch="arm64")
    write(f"oci:{tmp_path}/l:a", one)
    write(f"oci:{tmp_path}/l:b", two)
    path = tmp_path / "l/index.json"
    data = json.loads(path.read_text())
    for item in data["manifests"]:
        del item["annotations"]
    path.write_text(json.dumps(data))
    found = read(f"oci:{tmp_path}/l")
    assert isinstance(found, ImageIndex)
    assert choose_platform(found, Platform.parse("arm64")).config.raw == two.config.raw


def test_index_and_what_is_in_it(tmp_path: Path) -> None:
    made = index(image(1), image(2, arch="arm64"))
    write(f"oci:{tmp_path}/l:all", made)
    found = read(f"oci:{tmp_path}/l:all")
    assert isinstance(found, ImageIndex)
    assert found.index.raw == made.index.raw
    write(f"oci:{tmp_path}/again:all", found)
    assert names(tmp_path / "again/blobs/sha256") == names(tmp_path / "l/blobs/sha256")


def test_schema_2_keeps_its_bytes(tmp_path: Path) -> None:
    made = docker_schema2(image(3))
    write(f"oci:{tmp_path}/l:a", made)
    assert read_image(f"oci:{tmp_path}/l:a").to_manifest().raw == made.to_manifest().raw


def test_blobs_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/l:a", image(1))
    blob = next((tmp_path / "l/blobs/sha256").iterdir())
    before = blob.stat().st_mtime_ns, blob.stat().st_ino
    options = StoreOptions()
    write(f"oci:{tmp_path}/l:b", image(1), options)
    assert options.account.existing_blobs == 3
    assert (blob.stat().st_mtime_ns, blob.stat().st_ino) == before


def test_blob_that_was_cut_is_written_again(tmp_path: Path) -> None:
    made = image(1)
    write(f"oci:{tmp_path}/l:a", made)
    blob = tmp_path / "l/blobs/sha256" / made.layers[0].descriptor.digest.encoded
    blob.write_bytes(b"cut")
    with pytest.raises(IntegrityError, match="ends after 3 of the"):
        contents_of(read_image(f"oci:{tmp_path}/l:a"))
    write(f"oci:{tmp_path}/l:a", made)
    assert contents_of(read_image(f"oci:{tmp_path}/l:a")) == digests([item.descriptor for item in made.layers])


@pytest.mark.parametrize("code", [None, errno.EXDEV, errno.EOPNOTSUPP], ids=["in the kernel", "EXDEV", "EOPNOTSUPP"])
def test_files_are_copied_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None) -> None:
    if code is not None:

        def refuse(*_: object) -> int:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "copy_file_range", refuse)
    write(f"oci:{tmp_path}/l:a", image(1, 3_000_000))
    found = read_image(f"oci:{tmp_path}/l:a")
    write(f"oci:{tmp_path}/m:a", found)
    assert contents_of(read_image(f"oci:{tmp_path}/m:a")) == digests([item.descriptor for item in found.layers])
    origin = found.layers[0].origin
    assert origin is not None
    raw = bytearray(Path(origin.place).read_bytes())
    raw[-20] ^= 1
    Path(origin.place).write_bytes(raw)
    with pytest.raises(IntegrityError, match="has the digest"):
        write(f"oci:{tmp_path}/n:a", found)
    Path(origin.place).write_bytes(raw + b"x")
    with pytest.raises(IntegrityError, match=r"is longer than|is not of the"):
        write(f"oci:{tmp_path}/n:a", found)
    assert entries(tmp_path / "n") == []
    assert not list((tmp_path / "n").glob(".runtimeimg*"))


def test_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "important").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        write(f"oci:{tmp_path}:a", image(1))
    assert names(tmp_path) == ["important"]


def test_empty_folder_becomes_a_layout(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}:a", image(1))
    assert read_image(f"oci:{tmp_path}:a").layers


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("oci-layout", '{"imageLayoutVersion":"2.0.0"}', "layout version '2.0.0'"),
        ("oci-layout", "no", "not valid JSON"),
        ("index.json", "[]", "not a JSON object"),
        ("index.json", '{"manifests": 5}', "not a list of objects"),
        ("index.json", '{"manifests": [{"digest": "../../x", "size": 1, "mediaType": "a"}]}', "not a sha256 or sha512"),
        ("index.json", '{"mediaType": "text/plain", "manifests": []}', "not an image index"),
        ("index.json", " " * (9 << 20), "larger than"),
    ],
)
def test_broken_layouts_are_refused_and_never_overwritten(tmp_path: Path, name: str, text: str, message: str) -> None:
    write(f"oci:{tmp_path}/l:a", image(1))
    (tmp_path / "l" / name).write_text(text)
    with pytest.raises(InvalidDocumentError, match=message):
        read(f"oci:{tmp_path}/l:a")
    with pytest.raises(InvalidDocumentError, match=message):
        write(f"oci:{tmp_path}/l:a", image(2))
    assert (tmp_path / "l" / name).read_text() == text


def test_what_is_no_layout_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        read(f"oci:{tmp_path}/none:a")
    with pytest.raises(NotFoundError, match="is not an OCI layout"):
        read(f"oci:{tmp_path}:a")


def test_missing_and_strange_blobs(tmp_path: Path) -> None:
    made = image(1)
    write(f"oci:{tmp_path}/l:a", made)
    found = read_image(f"oci:{tmp_path}/l:a")
    blob = tmp_path / "l/blobs/sha256" / made.layers[0].descriptor.digest.encoded
    blob.unlink()
    with pytest.raises(NotFoundError, match="the layout has no blob"):
        contents_of(found)
    os.mkfifo(blob)
    with pytest.raises(InvalidDocumentError, match="is not a regular file"):
        contents_of(found)


def test_indexes_in_indexes_end_somewhere(tmp_path: Path) -> None:
    made: ImageIndex | Image = image(1)
    for _ in range(12):
        raw = made.index if isinstance(made, ImageIndex) else made.to_manifest()
        outer = index(image(1), attested=False)
        entry = replace(outer.index.manifests[0], digest=raw.digest, size=len(raw.raw), media_type=raw.media_type)
        made = ImageIndex(index=outer.index.of([entry]), open_manifest=lambda _entry, inner=made: inner, name="nested")
    with pytest.raises(InvalidDocumentError, match="more than 8 deep"):
        write(f"oci:{tmp_path}/l:a", made)


def test_full_disk_leaves_the_old_tag(tmp_path: Path) -> None:
    """A real file system of 4 MB; needs root to mount it."""
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a small file system cannot be mounted here")
    try:
        write(f"oci:{small}/l:a", image(1))
        with pytest.raises(RuntimeimgError, match="no space left on device") as caught:
            write(f"oci:{small}/l:a", image(2, 3_000_000))
        assert "free some space" in (caught.value.hint or "")
        assert contents_of(read_image(f"oci:{small}/l:a")) == digests([item.descriptor for item in image(1).layers])
        assert not list((small / "l").glob(".runtimeimg*"))
        write(f"oci:{small}/l:b", image(3))
        with pytest.raises(RuntimeimgError, match="no space left on device"):
            write(f"oci-archive:{small}/a.tar:a", image(2, 3_000_000))
        assert not (small / "a.tar").exists()
    finally:
        subprocess.run(["umount", small], check=True)


def test_write_atomically(tmp_path: Path) -> None:
    target = tmp_path / "file"
    files.write_atomically(target, b"one")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    files.write_atomically(str(target), b"two")
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o640
    files.write_atomically(tmp_path / "link", b"of the name alone")
    assert target.read_bytes() == b"two"
    assert not (tmp_path / "link").is_symlink()
    files.write_atomically("/dev/null", b"three")
    with pytest.raises(NotFoundError, match="cannot be written"):
        files.write_atomically(tmp_path / "none/file", b"")
    assert names(tmp_path) == ["file", "link"]


def test_stale_files_of_dead_writers_alone_are_removed(tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/l:a", image(1))
    root = tmp_path / "l"
    stale = root / ".runtimeimg-0123456789abcdef.tmp"
    stale.write_bytes(b"half")
    with files.atomic_file(root / "living") as living:
        living.file.write(b"x")
        with layoutfiles.locked(root):
            assert not stale.exists()
            assert living.temporary.exists()
        living.commit()
    assert (root / "living").read_bytes() == b"x"


@pytest.mark.skopeo
@pytest.mark.umoci
def test_skopeo_and_umoci_read_it(tmp_path: Path) -> None:
    made = image(1)
    write(f"oci:{tmp_path}/l:v1", made)
    ran = subprocess.run(["skopeo", "inspect", f"oci:{tmp_path}/l:v1"], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["Digest"] == made.to_manifest().digest
    subprocess.run(["skopeo", "copy", "-q", f"oci:{tmp_path}/l:v1", f"oci:{tmp_path}/s:v2"], check=True)
    assert read_image(f"oci:{tmp_path}/s:v2").to_manifest().raw == made.to_manifest().raw
    ran = subprocess.run(["umoci", "ls", "--layout", tmp_path / "l"], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["v1"]
    subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/l:v1", tmp_path / "bundle"],
        capture_output=True,
        check=True,
    )
    assert names(tmp_path / "bundle/rootfs") == ["file100", "file101"]


@pytest.mark.reference
def test_schemas_of_the_specification(tmp_path: Path, reference: Path) -> None:
    write(f"oci:{tmp_path}/l:example.com/web:1", image(1))
    write(f"oci:{tmp_path}/l:all", index(image(1), image(2, arch="arm64")))
    validate(reference, "image-layout-schema.json", json.loads((tmp_path / "l/oci-layout").read_text()))
    validate(reference, "image-index-schema.json", json.loads((tmp_path / "l/index.json").read_text()))
    seen = set()
    for path in (tmp_path / "l/blobs/sha256").iterdir():
        raw = path.read_bytes()
        if raw.startswith(b"{") and (kind := json.loads(raw).get("mediaType", "")):
            name = "image-index-schema.json" if "index" in kind else "image-manifest-schema.json"
            validate(reference, name, json.loads(raw))
            seen.add(name)
        elif raw.startswith(b'{"architecture":"a'):
            validate(reference, "config-schema.json", json.loads(raw))
            seen.add("config-schema.json")
    assert len(seen) == 3
