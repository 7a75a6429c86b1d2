"""The samples start from their labels alone, in an empty directory, and end together."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from .conftest import PREFIX, Running, ours, runtimeimg

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.usefixtures("leaves_no_run")]

SERVICES = {
    "nodejs": ("web", "Short links"),
    "petclinic": ("clinic", "Dogs &amp; Cats"),
    "python": ("counter", "visitor number 1"),
}


@pytest.fixture(scope="module", params=sorted(SERVICES))
def sample(request: pytest.FixtureRequest, samples: Path, engine: docker.APIClient) -> Iterator[tuple[str, str]]:
    """A sample's name and its image."""
    image = f"{PREFIX}/{request.param}:1"
    runtimeimg("build", samples / request.param / "build.yaml", "-t", image)
    yield request.param, image
    engine.remove_image(image)


def _inside(engine: docker.APIClient, *command: str) -> str:
    """Run a command in the main container."""
    (main,) = [item["Id"] for item in ours(engine) if item["Labels"]["dev.runtimeimg.role"] == "main"]
    made = engine.exec_create(main, list(command))
    return str(engine.exec_start(made["Id"]).decode())


def _kill(engine: docker.APIClient, program: str, number: int) -> None:
    """Send a signal to the oldest process of this name in the main container, through its own shell."""
    found = f'read -r n </proc/$p/comm && [ "$n" = {program} ] && kill -{number} $p && exit'
    script = f"p=0; while [ $p -lt 500 ]; do p=$((p + 1)); {found}; done 2>/dev/null"
    _inside(engine, "/bin/sh", "-c", script)


def _started(running: Callable[..., Running], sample: tuple[str, str], *options: str) -> Running:
    name, image = sample
    service, expected = SERVICES[name]
    run = running(image, *options)
    assert expected in run.fetch(run.url(service))
    return run


def test_it_answers_sees_the_context_and_stops_on_ctrl_c(
    sample: tuple[str, str], running: Callable[..., Running], engine: docker.APIClient, tmp_path: Path
) -> None:
    run = _started(running, sample)
    (tmp_path / "run-0" / "empty" / "hello").write_text("from outside")
    assert _inside(engine, "/bin/sh", "-c", 'cat "$RUNTIMEIMG_CONTEXT/hello"; echo " $RUNTIMEIMG_CONTEXT"') == (
        "from outside /workspace/context\n"
    )
    run.process.send_signal(signal.SIGINT)
    code = run.ends()
    assert code == (130 if sample[0] == "petclinic" else 0), "the program's own code after SIGINT"
    assert ours(engine) == []


def test_it_returns_the_code_of_a_killed_program(
    sample: tuple[str, str], running: Callable[..., Running], engine: docker.APIClient
) -> None:
    run = _started(running, sample)
    if sample[0] == "python":
        _kill(engine, "gunicorn", 9)
    else:
        engine.kill(ours(engine)[0]["Id"])
    assert run.ends() == 137


def test_it_runs_with_sidecars_too(
    sample: tuple[str, str], running: Callable[..., Running], engine: docker.APIClient
) -> None:
    run = _started(running, sample, "--daemons=sidecars")
    if sample[0] == "python":
        run.until(lambda: "redis-server | " in run.out)
    assert len(ours(engine)) == (2 if sample[0] == "python" else 1)
    run.process.send_signal(signal.SIGTERM)
    assert run.ends() == (143 if sample[0] == "petclinic" else 0)


@pytest.mark.parametrize("mode", ["wrapper", "sidecars"])
def test_redis_dies_and_the_rest_ends(
    mode: str, samples: Path, running: Callable[..., Running], engine: docker.APIClient
) -> None:
    image = f"{PREFIX}/python:2"
    runtimeimg("build", samples / "python" / "build.yaml", "-t", image)
    try:
        run = _started(running, ("python", image), f"--daemons={mode}")
        if mode == "wrapper":
            _kill(engine, "redis-server", 9)
        else:
            engine.kill(next(item["Id"] for item in ours(engine) if "dev.runtimeimg.daemon" in item["Labels"]))
        assert run.ends() == 1
        assert "runtimeimg: daemon 'redis-server' ended with exit code 137, and so did the rest" in run.err
        if mode == "sidecars":
            assert "  | " in run.err
            assert "Ready to accept connections" in run.err
    finally:
        engine.remove_image(image)
