"""Parts of blobs out of a registry: by closed ranges, and whatever the registry makes of them."""

from collections.abc import Callable

import pytest
from made import Clock, image
from misbehaving import Break, Forward, Header, Status

from runtimeimg.errors import IntegrityError, RemoteError, TransientError
from runtimeimg.image import choose_platform
from runtimeimg.oci import Reference
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.registry import RegistryDestination, RegistrySource

pytestmark = pytest.mark.registry

SIZE = 3_000_000
START, END = 1_000_001, 2_500_000


@pytest.fixture
def served(faulty: Callable[..., object], repository: str):
    """A misbehaving registry with an image in it, the image's layer out of it, the layer's bytes, and the account."""
    proxy = faulty()
    options, clock = StoreOptions(), Clock()
    reference = Reference.parse(f"{proxy.address}/{repository}:1")
    RegistryDestination(reference, options, timing=clock.timing).write(image(31, SIZE, layers=1))
    layer = choose_platform(RegistrySource(reference, options, timing=clock.timing).open(), None).layers[0]
    with layer.open() as blob:
        data = blob.read()
    proxy.log.clear()
    options.account.downloaded_bytes = 0
    return proxy, layer, data, options.account


def part(layer, start: int = START, end: int = END) -> bytes:
    made = bytearray()
    opened = layer.ranges(start, end)
    while data := opened.read(1 << 18):
        made += data
    opened.close()
    return bytes(made)


def test_a_part_is_asked_for_by_a_closed_range_and_nothing_else_is_downloaded(served) -> None:
    proxy, layer, data, account = served
    assert part(layer) == data[START:END]
    assert account.downloaded_bytes == END - START
    assert [item.headers.get("Range") for item in proxy.seen("GET", "/blobs/")] == [f"bytes={START}-{END - 1}"]


@pytest.mark.parametrize(("start", "end"), [(0, 10), (0, 1_000_000), (2_000_000, None), (5, 6)])
def test_any_part(served, start: int, end: int | None) -> None:
    _, layer, data, _ = served
    assert part(layer, start, end or len(data)) == data[start:end]


def test_all_of_a_blob_in_the_place_of_a_part_is_taken(served) -> None:
    proxy, layer, data, _ = served
    proxy.rule("GET", "/blobs/", Forward(drop=("range",)))
    assert part(layer) == data[START:END]


def test_a_part_that_breaks_is_taken_up_where_it_broke(served) -> None:
    proxy, layer, data, _ = served
    proxy.rule("GET", "/blobs/", Break(after=400_000), times=2)
    assert part(layer) == data[START:END]
    asked = [item.headers["Range"] for item in proxy.seen("GET", "/blobs/")]
    assert len(asked) == 3
    assert all(item.endswith(f"-{END - 1}") for item in asked)
    assert len(set(asked)) == 3


@pytest.mark.parametrize("code", [400, 403, 416, 501])
def test_a_registry_that_refuses_parts_says_so(served, code: int) -> None:
    proxy, layer, _, _ = served
    proxy.rule("GET", "/blobs/", Status(code=code), times=99)
    with pytest.raises((RemoteError, TransientError)):
        part(layer)


def test_another_part_is_refused(served) -> None:
    proxy, layer, _, _ = served
    proxy.rule("GET", "/blobs/", Header(name="Content-Range", value="bytes 5-100/200"))
    with pytest.raises(RemoteError, match="sent another part"):
        part(layer)


def test_a_part_of_another_length_is_refused(served) -> None:
    _, layer, _, _ = served
    with pytest.raises(IntegrityError, match="not the"):
        part(layer, START, SIZE * 9)
