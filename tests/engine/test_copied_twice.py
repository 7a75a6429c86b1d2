"""Copies out of a real Engine: layers are compressed once, and an unchanged second copy reads none of them."""

import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from runtimeimg.account import Account
from runtimeimg.cache import Cache
from runtimeimg.errors import IntegrityError, NotFoundError
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.stores.copying import copy

pytestmark = [pytest.mark.engine, pytest.mark.registry]
BASE = "debian:bookworm-slim"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    found = Cache.open(tmp_path / "cache")
    assert found is not None
    return found


def copied(cache: Cache | None, destination: str) -> tuple[Account, str]:
    options = replace(StoreOptions(), account=Account())
    written = copy(Location.parse(f"docker-daemon:{BASE}"), Location.parse(destination), options, cache=cache)
    assert written.descriptor is not None
    return options.account, written.descriptor.digest


@pytest.mark.usefixtures("engine")
def test_the_second_copy_reads_and_sends_nothing(cache: Cache, registry: str, tmp_path: Path) -> None:
    name = f"docker://{registry}/copied-{secrets.token_hex(6)}"
    first, digest = copied(cache, f"{name}:1")
    assert first.read_bytes > first.uploaded_bytes > 10_000_000
    again, same = copied(cache, f"{name}:2")
    assert (again.read_bytes, again.uploaded_bytes, same) == (0, 0, digest)
    # Where it is wanted it is read, and packed to the same.
    elsewhere, other = copied(cache, f"oci:{tmp_path / 'layout'}:1")
    assert elsewhere.read_bytes > 0
    assert other == digest == copied(None, f"oci:{tmp_path / 'plain'}:1")[1]


@pytest.mark.usefixtures("engine")
def test_what_is_remembered_wrongly_is_an_error_and_nothing_is_written(cache: Cache, tmp_path: Path) -> None:
    _, digest = copied(cache, f"oci:{tmp_path / 'layout'}:1")
    found = open_image(Location.parse(f"oci:{tmp_path / 'layout'}:1"), StoreOptions())
    assert isinstance(found, Image)
    (place,) = (cache.root / "v1/packed").glob("??/*")
    right = found.layers[0].descriptor
    wrong = right.to_json() | {"digest": digest}
    cache.put("packed", place.name, str(wrong).replace("'", '"').encode())
    with pytest.raises(IntegrityError, match="is packed to sha256:"):
        copied(cache, f"oci:{tmp_path / 'other'}:1")
    with pytest.raises(NotFoundError):
        open_image(Location.parse(f"oci:{tmp_path / 'other'}:1"), StoreOptions())
    for odd in (b"[]", b"1", b"{}", b"\xff"):
        cache.put("packed", place.name, odd)
        assert copied(cache, f"oci:{tmp_path / 'odd'}:1")[1] == digest
