"""Archives of both kinds: round trips, other programs, hostile ones."""

import gzip
import io
import json
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from made import MadeLayer, contents_of, digests, image, index, layer, read, read_image, write

from runtimeimg.errors import IntegrityError, InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.image.zstd import zstd
from runtimeimg.oci import Descriptor, Digest, ImageConfig
from runtimeimg.oci.mediatypes import OCI_LAYER
from runtimeimg.stores.archive import index as tarindex

NAME = "stores-test/archive:1"


def tar(path: Path, members: list[tuple[tarfile.TarInfo | str, bytes]]) -> Path:
    """Write a tar by hand."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for entry, data in members:
            item = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
    return path


def saved(made: Image, *, compressed: bool = False) -> list[tuple[tarfile.TarInfo | str, bytes]]:
    """Return the members of an archive as old versions of docker save make it, one layer a link to another."""
    members: list[tuple[tarfile.TarInfo | str, bytes]] = []
    names = []
    for number, item in enumerate(made.layers):
        with item.open() as reader:
            raw = reader.read()
        name = f"{number:064}/layer.tar"
        members.append((name, raw if compressed else gzip.decompress(raw)))
        link = tarfile.TarInfo(f"{number:063}x/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, f"../{name}"
        members.append((link, b""))
        names.append(link.name)
    config = f"{made.config.digest.encoded}.json"
    entry = {"Config": config, "RepoTags": [NAME], "Layers": names}
    return [*members, (config, made.config.raw), ("manifest.json", json.dumps([entry]).encode())]


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_what_is_written_is_read(tmp_path: Path, kind: str) -> None:
    made = image(1)
    write(f"{kind}:{tmp_path}/a.tar:{NAME}", made)
    for name in (f"{kind}:{tmp_path}/a.tar", f"{kind}:{tmp_path}/a.tar:{NAME}", f"oci-archive:{tmp_path}/a.tar"):
        found = read_image(name)
        assert found.to_manifest().raw == made.to_manifest().raw
        assert contents_of(found) == digests([item.descriptor for item in made.layers])
    with pytest.raises(NotFoundError, match="does not exist"):
        read(f"{kind}:{tmp_path}/a.tar:other:2")


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_the_same_image_gives_the_same_archive(tmp_path: Path, kind: str) -> None:
    for name in "ab":
        write(f"{kind}:{tmp_path}/{name}.tar:{NAME}", image(1))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert (tmp_path / "a.tar").stat().st_size % tarfile.RECORDSIZE == 0
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert {(item.mtime, item.uid, item.gid, item.mode) for item in archive} == {(0, 0, 0, 0o644)}


def test_index_goes_into_an_oci_archive_whole(tmp_path: Path) -> None:
    made = index(image(1), image(2, arch="arm64"))
    write(f"oci-archive:{tmp_path}/a.tar:all", made)
    found = read(f"oci-archive:{tmp_path}/a.tar:all")
    assert isinstance(found, ImageIndex)
    assert found.index.raw == made.index.raw
    write(f"oci:{tmp_path}/l:all", found)
    copied = read(f"oci:{tmp_path}/l:all")
    assert isinstance(copied, ImageIndex)
    assert copied.index.raw == made.index.raw


@pytest.mark.parametrize("compressed", [False, True])
def test_old_docker_archives(tmp_path: Path, compressed: bool) -> None:
    made = image(3)
    path = tar(tmp_path / "a.tar", saved(made, compressed=compressed))
    for name in (f"docker-archive:{path}", f"docker-archive:{path}:{NAME}"):
        found = read_image(name)
        assert found.config.raw == made.config.raw
        expected = [item.descriptor for item in made.layers] if compressed else []
        assert contents_of(found) == (digests(expected) or list(made.config.diff_ids))
    write(f"oci:{tmp_path}/l:a", read_image(f"docker-archive:{path}"))
    assert read_image(f"oci:{tmp_path}/l:a").config.diff_ids == made.config.diff_ids


@pytest.mark.parametrize("compressed", [False, True])
def test_layer_that_is_not_what_the_config_says(tmp_path: Path, compressed: bool) -> None:
    members = saved(image(4), compressed=compressed)
    with layer(99, compressed=compressed).open() as reader:
        members[0] = (members[0][0], reader.read())
    found = read_image(f"docker-archive:{tar(tmp_path / 'a.tar', members)}")
    with pytest.raises(IntegrityError, match=r"unpacks to|has the digest|is longer|ends after"):
        contents_of(found)


@pytest.mark.parametrize(
    ("members", "kind", "message"),
    [
        ([], InvalidDocumentError, "holds no image"),
        ([("manifest.json", b"no")], InvalidDocumentError, "not valid JSON"),
        ([("manifest.json", b"[]")], NotFoundError, "holds no image"),
        ([("manifest.json", b'[{"Config": "../../../etc/passwd", "Layers": []}]')], NotFoundError, "has no"),
        ([("manifest.json", b'[{"Config": 5}]')], InvalidDocumentError, "no config"),
        ([("manifest.json", b'[{"Config": "c"}, {"Config": "d"}]')], UsageError, "several images"),
        (
            [
                ("manifest.json", b'[{"Config": "c", "Layers": ["/etc/passwd"]}]'),
                (
                    "c",
                    b'{"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ["sha256:' + b"0" * 64 + b'"]}}',
                ),
            ],
            NotFoundError,
            "has no layer '/etc/passwd'",
        ),
    ],
)
def test_broken_archives(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo | str, bytes]], kind: type[Exception], message: str
) -> None:
    path = tar(tmp_path / "a.tar", members)
    with pytest.raises(kind, match=message):
        read(f"docker-archive:{path}")


def test_links_in_a_circle_and_out(tmp_path: Path) -> None:
    members: list[tuple[tarfile.TarInfo | str, bytes]] = []
    for name, target in (("a", "b"), ("b", "a"), ("out", "../../../etc/passwd"), ("self", "self")):
        item = tarfile.TarInfo(name)
        item.type, item.linkname = tarfile.SYMTYPE, target
        members.append((item, b""))
    found = tarindex.TarIndex(tar(tmp_path / "a.tar", members))
    assert [found.find(name) for name in ("a", "b", "out", "self", "none")] == [None] * 5


def test_what_is_no_tar(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"hello" * 1000)
    with pytest.raises(InvalidDocumentError, match="is not a tar archive"):
        read(f"oci-archive:{path}")
    with pytest.raises(NotFoundError, match="does not exist"):
        read(f"oci-archive:{tmp_path}/none.tar")
    path.write_bytes(gzip.compress(b"x"))
    with pytest.raises(InvalidDocumentError, match="is compressed as a whole") as caught:
        read(f"docker-archive:{path}")
    assert caught.value.hint == "unpack it first with gunzip"


def test_header_that_claims_to_be_huge_is_not_read(tmp_path: Path) -> None:
    item = tarfile.TarInfo("x")
    item.type, item.size = tarfile.XHDTYPE, 5 << 30
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(item.tobuf(tarfile.GNU_FORMAT))
        file.truncate(6 << 30)
    with pytest.raises(InvalidDocumentError, match="header larger than"):
        read(f"oci-archive:{path}")


def test_archive_that_was_cut(tmp_path: Path) -> None:
    write(f"oci-archive:{tmp_path}/a.tar:a", image(5, 200_000))
    raw = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(raw[:150_000])
    with pytest.raises(InvalidDocumentError, match=r"ends within|is not a tar"):
        read(f"oci-archive:{tmp_path}/a.tar:a")


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarindex, "MAX_MEMBERS", 10)
    path = tar(tmp_path / "a.tar", [(f"f{number}", b"") for number in range(11)])
    with pytest.raises(InvalidDocumentError, match="more than 10 members"):
        read(f"oci-archive:{path}")


def test_failed_write_leaves_the_old_archive(tmp_path: Path) -> None:
    write(f"oci-archive:{tmp_path}/a.tar:a", image(6))
    broken = read_image(f"oci-archive:{tmp_path}/a.tar:a")
    before = (tmp_path / "a.tar").read_bytes()
    raw = bytearray(before)
    at = raw.index(b"\x1f\x8b") + 1000
    raw[at] ^= 1
    (tmp_path / "b.tar").write_bytes(raw)
    broken = read_image(f"oci-archive:{tmp_path}/b.tar:a")
    with pytest.raises(IntegrityError):
        write(f"oci-archive:{tmp_path}/a.tar:a", broken)
    assert (tmp_path / "a.tar").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "b.tar"]


def test_name_in_a_docker_archive_is_a_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not valid"):
        write(f"docker-archive:{tmp_path}/a.tar:Not A Name", image(7))
    write(f"docker-archive:{tmp_path}/a.tar", image(7))
    with tarfile.open(tmp_path / "a.tar") as archive:
        entry = archive.extractfile("manifest.json")
        assert entry is not None
        assert json.load(entry)[0]["RepoTags"] == []


@pytest.mark.skopeo
def test_skopeo_reads_both(tmp_path: Path) -> None:
    made = image(8)
    write(f"oci-archive:{tmp_path}/o.tar:v1", made)
    write(f"docker-archive:{tmp_path}/d.tar:{NAME}", made)
    ran = subprocess.run(["skopeo", "inspect", f"oci-archive:{tmp_path}/o.tar:v1"], capture_output=True, check=True)
    assert json.loads(ran.stdout)["Digest"] == made.to_manifest().digest
    ran = subprocess.run(
        ["skopeo", "inspect", "--config", f"docker-archive:{tmp_path}/d.tar:{NAME}"], capture_output=True, check=True
    )
    assert json.loads(ran.stdout)["rootfs"]["diff_ids"] == list(made.config.diff_ids)
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci-archive:{tmp_path}/o.tar:v1", f"docker-archive:{tmp_path}/s.tar:{NAME}"],
        check=True,
    )
    assert read_image(f"docker-archive:{tmp_path}/s.tar").config.diff_ids == made.config.diff_ids


def test_zstd_layers_are_unpacked_for_docker(tmp_path: Path) -> None:
    plain = image(10, compressed=False)
    layers = []
    for item in plain.layers:
        assert isinstance(item, MadeLayer)
        raw = zstd().compress(item.raw)
        descriptor = Descriptor(media_type=OCI_LAYER + "+zstd", digest=Digest.of(raw), size=len(raw))
        layers.append(MadeLayer(descriptor=descriptor, raw=raw, diff_id=item.diff_id))
    made = replace(plain, layers=tuple(layers))
    write(f"docker-archive:{tmp_path}/d.tar:{NAME}", made)
    assert contents_of(read_image(f"docker-archive:{tmp_path}/d.tar")) == list(plain.config.diff_ids)
    write(f"oci-archive:{tmp_path}/o.tar:a", made)
    assert contents_of(read_image(f"oci-archive:{tmp_path}/o.tar")) == digests([item.descriptor for item in layers])
    wrong = replace(made, layers=(replace(layers[0], diff_id=layers[1].diff_id), layers[1]))
    with pytest.raises(IntegrityError, match="does not unpack to"):
        write(f"docker-archive:{tmp_path}/w.tar:{NAME}", wrong)
    assert not (tmp_path / "w.tar").exists()


@pytest.mark.engine
@pytest.mark.parametrize("compressed", [True, False])
def test_docker_load_takes_it_and_docker_save_is_read(
    tmp_path: Path, engine: docker.APIClient, compressed: bool
) -> None:
    made = image(9, compressed=compressed)
    write(f"docker-archive:{tmp_path}/a.tar:{NAME}", made)
    try:
        with (tmp_path / "a.tar").open("rb") as file:
            list(engine.load_image(file))
        assert engine.inspect_image(NAME)["Id"] == made.config.digest
        assert engine.inspect_image(NAME)["RootFS"]["Layers"] == list(made.config.diff_ids)
        with (tmp_path / "saved.tar").open("wb") as file:
            file.writelines(engine.get_image(NAME))
    finally:
        engine.remove_image(NAME, force=True)
    found = read_image(f"docker-archive:{tmp_path}/saved.tar:{NAME}")
    assert found.config.raw == made.config.raw
    assert contents_of(found) == list(made.config.diff_ids)
    assert isinstance(found.config, ImageConfig)
