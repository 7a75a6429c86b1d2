"""Copies from store to store: the same digest everywhere, some platforms or all."""

from itertools import pairwise
from pathlib import Path

import pytest
from made import image, index, read, write

from runtimeimg.errors import NotFoundError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Location, Platform
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.copying import copy


def go(source: str, destination: str, *platforms: str) -> str:
    written = copy(
        Location.parse(source),
        Location.parse(destination),
        StoreOptions(),
        platforms=[Platform.parse(item) for item in platforms],
    )
    assert written.descriptor is not None
    return written.descriptor.digest


@pytest.mark.registry
@pytest.mark.parametrize("whole", [True, False], ids=["index", "image"])
def test_all_the_way_round(own_registry: str, repository: str, tmp_path: Path, whole: bool) -> None:
    made = index(image(1), image(2, arch="arm64")) if whole else image(1)
    written = write(f"oci:{tmp_path}/a:1", made)
    assert written.descriptor is not None
    places = [
        f"oci:{tmp_path}/a:1",
        f"docker://{own_registry}/{repository}/one:1",
        f"oci:{tmp_path}/b:1",
        f"oci-archive:{tmp_path}/c.tar:1",
        f"docker://{own_registry}/{repository}/two:1",
        f"docker://{own_registry}/{repository}/three:1",
        f"oci:{tmp_path}/b:2",
    ]
    for source, destination in pairwise(places):
        assert go(source, destination) == written.descriptor.digest


def test_one_platform_is_an_image_several_are_an_index(tmp_path: Path) -> None:
    images = [image(1), image(2, arch="arm64"), image(3, arch="s390x")]
    write(f"oci:{tmp_path}/a:1", index(*images))
    source = f"oci:{tmp_path}/a:1"
    assert go(source, f"oci:{tmp_path}/b:one", "arm64") == images[1].to_manifest().digest
    assert isinstance(read(f"oci:{tmp_path}/b:one"), Image)
    go(source, f"oci:{tmp_path}/b:two", "linux/s390x", "linux/amd64")
    found = read(f"oci:{tmp_path}/b:two")
    assert isinstance(found, ImageIndex)
    assert [str(item.platform) for item in found.index.manifests] == ["linux/amd64", "linux/s390x"]
    with pytest.raises(NotFoundError, match="nothing for linux/riscv64") as caught:
        go(source, f"oci:{tmp_path}/b:three", "linux/amd64", "linux/riscv64")
    assert caught.value.hint == "it holds linux/amd64, linux/arm64, linux/s390x"
    with pytest.raises(NotFoundError, match="does not exist"):
        read(f"oci:{tmp_path}/b:three")


def test_all_platforms_by_name_keep_the_bytes_of_an_index_without_more(tmp_path: Path) -> None:
    made = index(image(1), image(2, arch="arm64"), attested=False)
    write(f"oci:{tmp_path}/a:1", made)
    assert go(f"oci:{tmp_path}/a:1", f"oci:{tmp_path}/b:1", "amd64", "arm64") == made.index.digest
