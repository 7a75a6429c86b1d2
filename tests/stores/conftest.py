"""A registry of these tests' own, and the misbehaving one before it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from misbehaving import FaultyRegistry
from served import serve


@pytest.fixture(scope="session")
def own_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a registry that only these tests use; for tests marked `registry`."""
    with serve(tmp_path_factory.mktemp("registry"), log={"level": "error"}) as address:
        yield address


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
