"""A registry of these tests' own, and the misbehaving one before it."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from faults import FaultyRegistry

CONFIG = """\
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: {address}}}
"""


@pytest.fixture(scope="session")
def own_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a registry that only these tests use; for tests marked `registry`."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = folder / "config.yml"
    config.write_text(CONFIG.format(root=folder / "data", address=address))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        _wait_for(address, process, folder / "log")
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    host, _, port = address.partition(":")
    for _ in range(200):
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the registry on {address} does not answer: {log.read_text()}")


@pytest.fixture
def faulty(own_registry: str) -> Iterator[Callable[..., FaultyRegistry]]:
    """Start misbehaving registries: `faulty(auth="bearer")`."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(FaultyRegistry(own_registry, **options))


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository that no other test uses."""
    name = "".join(char if char.isalnum() else "-" for char in request.node.name.lower())
    return f"test/{name.strip('-')}"
