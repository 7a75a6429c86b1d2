"""Indexes in a real registry: what is sent, what is not, and what happens when two change one at once."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimeimg.errors import TransientError
from runtimeimg.image.indexes import assembled, entries_of, entry_of
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_index
from runtimeimg.stores.indexes import write_index
from tests.indexes.command import done, run
from tests.indexes.conftest import image
from tests.stores import made
from tests.stores.misbehaving import FaultyRegistry, Status

pytestmark = pytest.mark.registry


@pytest.fixture
def proxy(own_registry: str) -> Iterator[FaultyRegistry]:
    """What stands before the registry and notes all requests."""
    with FaultyRegistry(own_registry) as registry:
        yield registry


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository that no other test uses."""
    return "indexes/" + "".join(char if char.isalnum() else "-" for char in request.node.name.lower()).strip("-")


def test_images_of_another_repository_are_mounted_and_the_tag_is_last(proxy: FaultyRegistry, repository: str) -> None:
    base = f"docker://{proxy.address}/{repository}"
    for tag, item in {"a": image(1), "b": image(2)}.items():
        made.write(f"{base}-images:{tag}", item)
    proxy.log.clear()
    done("index", "create", f"{base}:1", "--image", f"{base}-images:a", "--image", f"{base}-images:b,annotation=k=v")
    layers = [layer.descriptor.digest for seed in (1, 2) for layer in image(seed).layers]
    assert {
        found for item in proxy.seen("POST", "mount=") for found in layers if found in item.path.replace("%3A", ":")
    } == set(layers)
    assert not [item for item in proxy.seen("GET", "/blobs/") if any(layer in item.path for layer in layers)]
    puts = [item.path.rpartition("/")[2] for item in proxy.seen("PUT", "/manifests/")]
    assert [path[:7] for path in puts] == ["sha256:"] * 3 + ["1"]


def test_an_entry_of_the_same_repository_is_left_where_it_is(proxy: FaultyRegistry, repository: str) -> None:
    base = f"docker://{proxy.address}/{repository}"
    made.write(f"{base}:1", made.index(image(1), image(2, "linux/arm64")))
    proxy.log.clear()
    done("index", "annotate", f"{base}:1", "--entry", "1", "k=v")
    assert not [item for item in proxy.log if "/blobs/" in item.path]
    assert len(proxy.seen("PUT", "/manifests/")) == 2
    proxy.log.clear()
    assert "is unchanged" in run("index", "annotate", f"{base}:1", "--entry", "1", "k=v").err
    assert not proxy.seen("PUT", "/")


def test_a_bare_name_is_the_registry_s(own_registry: str, repository: str) -> None:
    made.write(f"docker://{own_registry}/{repository}:a", image(1))
    done("index", "create", f"{own_registry}/{repository}:1", "--image", f"{own_registry}/{repository}:a")
    assert "linux/amd64" in done("index", "show", f"{own_registry}/{repository}:1")


def test_many_who_add_to_one_index_at_once_lose_nothing(tmp_path: Path) -> None:
    where = Location.parse(f"oci:{tmp_path / 'layout'}:1")
    made.write(str(where), made.index(image(0), attested=False))
    written: list[int] = []

    def add(seed: int) -> None:
        for _ in range(100):
            found = open_index(where, StoreOptions())
            new = entry_of(image(seed)).marked(None, {"n": str(seed)})
            changed = assembled([*entries_of(found), new], {}, base=found)
            with contextlib.suppress(TransientError):
                write_index(changed, where, StoreOptions(), expected=found.index.digest)
                written.append(seed)
                return

    threads = [threading.Thread(target=add, args=(seed,)) for seed in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    told = [entry.annotations.get("n") for entry in open_index(where, StoreOptions()).index.manifests]
    assert told == [None, *map(str, written)]
    assert len(written) == 8


def test_what_somebody_else_changed_meanwhile_is_not_lost(own_registry: str, repository: str) -> None:
    where = f"docker://{own_registry}/{repository}:1"
    first, second = made.index(image(1), attested=False), made.index(image(2), attested=False)
    made.write(where, first)
    found = open_index(Location.parse(where), StoreOptions())
    made.write(where, second)
    third = made.index(image(3), attested=False)
    with pytest.raises(TransientError, match="was changed by somebody else meanwhile"):
        write_index(third, Location.parse(where), StoreOptions(), expected=found.index.digest)
    assert open_index(Location.parse(where), StoreOptions()).index.digest == second.index.digest


def test_a_failure_leaves_the_tag_as_it_was(proxy: FaultyRegistry, repository: str) -> None:
    base = f"docker://{proxy.address}/{repository}"
    made.write(f"{base}:a", image(1))
    made.write(f"{base}:b", image(2))
    before = done("index", "create", f"{base}:1", "--image", f"{base}:a")
    proxy.rule("PUT", "/manifests/sha256", Status(code=400), times=1)
    failed = run("index", "create", f"{base}:1", "--image", f"{base}:b", "--retry-time", "0")
    assert failed.code == 5, failed.err
    assert before in done("index", "show", f"{base}:1")
