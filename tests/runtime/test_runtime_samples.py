"""Samples through runtimes: they answer, and end with nothing left."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run.conftest import runtimeimg

from .conftest import Machine, wait_for
from .test_run_runtime import fetch

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
def started(request: pytest.FixtureRequest, samples: Path, tmp_path: Path) -> Iterator[tuple[Machine, int, str]]:
    runtime, sample, port, expected = request.param
    runtimeimg("build", samples / sample / "build.yaml", "-q", "-o", f"oci:{tmp_path}/images:{sample}")
    machine = Machine(runtime, tmp_path, f"oci:{tmp_path}/images:")
    machine.run(sample, "-d", "--name", sample)
    yield machine, port, expected
    machine("stop", "--all")
    assert machine.left() == []


@pytest.mark.parametrize(
    "started",
    [
        pytest.param(("crun", "nodejs", 3000, "Short links"), marks=pytest.mark.crun, id="nodejs"),
        pytest.param(("runc", "python", 8000, "visitor number 1"), marks=pytest.mark.runc, id="python"),
    ],
    indirect=True,
)
def test_a_sample_answers(started: tuple[Machine, int, str]) -> None:
    machine, port, expected = started
    wait_for(lambda: expected in (fetch(port, "") or ""), lambda: "".join(machine("logs", machine("ps")[0].split()[4])))
