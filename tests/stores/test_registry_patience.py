"""Registries that are away for a while, bytes that are damaged once, requests that can be done without."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from made import Clock, Lines, contents_of, digests, image, read_image, write
from misbehaving import Break, Corrupt, FaultyRegistry, Status
from served import free_port, serve

from runtimeimg import provenance
from runtimeimg.errors import IntegrityError, RemoteError, TransientError
from runtimeimg.oci import Reference
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.registry import RegistryDestination, RegistrySource
from runtimeimg.stores.registry.failures import Budget, Passing

pytestmark = pytest.mark.registry

Faulty = Callable[..., FaultyRegistry]


def test_a_registry_that_is_started_anew_is_waited_for(tmp_path: Path) -> None:
    lines = Lines()
    options = StoreOptions(etc=tmp_path, attempts=1, retry_time=120, progress=lines)
    address = f"127.0.0.1:{free_port()}"
    made = image(1, 50_000, layers=4)
    with ExitStack() as stack:

        def start_late() -> None:
            time.sleep(4)
            stack.enter_context(serve(tmp_path / "r", address))

        thread = threading.Thread(target=start_late)
        thread.start()
        write(f"docker://{address}/a/b:1", made, options)
        thread.join()
        assert contents_of(read_image(f"docker://{address}/a/b:1", options)) == digests(
            [item.descriptor for item in made.layers]
        )
    assert lines.lines == [f"registry '{address}': connection refused; trying again for up to 120 seconds"]


@pytest.mark.parametrize("fault", [Status(code=503), Break(after=0)], ids=["503", "reset"])
@pytest.mark.parametrize(("method", "path"), [("PUT", "/manifests/"), ("GET", "/manifests/")])
def test_thirty_seconds_are_ridden_out(
    faulty: Faulty, repository: str, method: str, path: str, fault: Status | Break
) -> None:
    proxy, clock, lines = faulty(), Clock(), Lines()
    options = StoreOptions(retry_time=60, progress=lines)
    reference = Reference.parse(f"{proxy.address}/{repository}:1")
    proxy.rule(method, path, fault, times=7)  # 0.5 + 1 + 2 + 4 + 8 + 16 + 20 seconds between them
    RegistryDestination(reference, options, timing=clock.timing).write(image(2, layers=1))
    assert RegistrySource(reference, options, timing=clock.timing).open()
    assert sum(clock.slept) > 30
    assert len(lines.lines) == 1
    assert lines.lines[0].endswith("; trying again for up to 60 seconds")


def test_patience_ends(faulty: Faulty, repository: str) -> None:
    proxy, clock = faulty(), Clock()
    proxy.rule("GET", "/manifests/", Status(code=503), times=99)
    options = StoreOptions(retry_time=60)
    source = RegistrySource(Reference.parse(f"{proxy.address}/{repository}:1"), options, timing=clock.timing)
    with pytest.raises(TransientError, match=r"\(tried 9 times\)"):
        source.open()
    assert sum(clock.slept) == pytest.approx(60)


def test_names_that_are_not_known_for_the_moment_are_not_waited_for() -> None:
    clock = Clock()
    budget = Budget(3, clock.timing, 60)
    for _ in range(2):
        budget.spend(Passing("x", brief=True))
    with pytest.raises(TransientError, match="tried 3 times"):
        budget.spend(Passing("x", brief=True))


@pytest.mark.parametrize("where", ["layout", "registry", "config"])
def test_damaged_bytes_are_fetched_once_more(faulty: Faulty, repository: str, tmp_path: Path, where: str) -> None:
    proxy, other = faulty(), faulty()
    made = image(3, 3_000_000, layers=1)
    source = f"docker://{proxy.address}/{repository}:1"
    write(source, made)
    layer = made.layers[0].descriptor.digest
    target = f"oci:{tmp_path}/layout:1"
    if where == "config":
        proxy.rule("GET", f"/blobs/{made.config.digest}", Corrupt(at=5))
    else:
        proxy.rule("GET", f"/blobs/{layer}", Corrupt(at=1_000_000))
    if where == "registry":
        target = f"docker://{other.address}/{repository}/copy:1"
    found = read_image(source)
    write(target, found)
    assert contents_of(read_image(target)) == [layer]
    if where == "layout":
        proxy.rule("GET", f"/blobs/{layer}", Corrupt(at=1_000_000), times=2)
        with pytest.raises(IntegrityError):
            write(f"oci:{tmp_path}/second:1", found)


@pytest.mark.parametrize("fault", [Status(code=405), Status(code=500), Status(code=403), Break(after=0)])
@pytest.mark.parametrize("what", ["HEAD", "mount"])
def test_what_is_optional_may_fail(faulty: Faulty, repository: str, what: str, fault: Status | Break) -> None:
    proxy, clock = faulty(), Clock()
    options = StoreOptions(retry_time=60)
    write(f"docker://{proxy.address}/{repository}/a:1", image(4), options)
    found = read_image(f"docker://{proxy.address}/{repository}/a:1", options)
    if what == "HEAD":
        proxy.rule("HEAD", "/blobs/", fault, times=999)
    else:
        proxy.rule("POST", "mount=", fault, times=999)
    reference = Reference.parse(f"{proxy.address}/{repository}/b:1")
    RegistryDestination(reference, options, timing=clock.timing).write(found)
    assert contents_of(read_image(f"docker://{reference}", options)) == contents_of(found)
    assert sum(clock.slept) < 10


@pytest.mark.parametrize("body", [b"{}", b'{"manifests": 5}', b'{"mediaType": []}', b"[]", b"\xff", b"{" * 9])
def test_provenance_beside_a_list_of_strangers_is_the_registrys_fault(
    faulty: Faulty, repository: str, body: bytes
) -> None:
    """What a step does without, as it does without whatever the registry refuses."""
    proxy, made = faulty(), image(5)
    written = write(f"docker://{proxy.address}/{repository}:1", made)
    assert written.descriptor is not None
    kind = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
    proxy.rule("GET", "/manifests/sha256-", Status(code=200, headers=kind, body=body), times=1 if body == b"{}" else 9)
    document = provenance.Provenance(dockerfile="FROM x\n", plan={"images": []})
    reference = Reference.parse(f"{proxy.address}/{repository}:1")
    if body == b"{}":  # a list without entries
        provenance.push(reference, written.descriptor, document, StoreOptions())
        return
    with pytest.raises(RemoteError, match=proxy.address):
        provenance.push(reference, written.descriptor, document, StoreOptions())
