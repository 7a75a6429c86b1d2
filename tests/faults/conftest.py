"""A registry of the faults' own, and one that misbehaves before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.misbehaving import FaultyRegistry
from tests.stores.served import serve


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a registry; for tests marked `registry`."""
    with serve(tmp_path_factory.mktemp("registry"), log={"level": "error"}) as address:
        yield address


@pytest.fixture
def proxy(upstream: str) -> Iterator[FaultyRegistry]:
    """What misbehaves in front of it."""
    with FaultyRegistry(upstream) as registry:
        yield registry


@pytest.fixture
def passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, which has to be empty afterwards."""
    folder = tmp_path / "passing"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder
