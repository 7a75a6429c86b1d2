"""Builds that are interrupted, and Engines that go away in the middle: nothing may be left."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from privateengine import OwnEngine, own_engine

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SLOW_RUN = "    base: {image: 'tiny:1'}\n    env: {A: b}\n    run: ['touch /first', 'echo at-work; sleep 300']\n"
SLOW_COPY = "    base: {image: 'tiny:1'}\n    env: {A: b}\n    directories: ['/big:/big']\n"

# What the command line does around a build: SIGTERM becomes an exception, an error ends with its own exit code.
DRIVER = """
import signal, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from privateengine import request_of
from runtimeimg.builders.docker import DockerBuilder
from runtimeimg.errors import RuntimeimgError
from runtimeimg.progress import Silent
from runtimeimg.stores.base import StoreOptions

class Shown(Silent):
    def line(self, text):
        print(text, flush=True)

def ended(*_):
    raise SystemExit(143)

signal.signal(signal.SIGTERM, ended)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would pass it over
options = StoreOptions(environ={{"DOCKER_HOST": {url!r}, "TMPDIR": {tmp!r}}}, progress=Shown())
request = request_of({text!r}, options, Path({tmp!r}), cache_dir=Path({cache!r}))
try:
    with DockerBuilder().build(request):
        print("built", flush=True)
        if {wait!r}:
            signal.pause()
except RuntimeimgError as error:
    print(f"error: {{error}} hint: {{error.hint}}", flush=True)
    sys.exit(error.exit_code)
"""


@pytest.fixture(scope="module")
def own() -> Iterator[OwnEngine]:
    for engine in own_engine():
        big = {f"big/{number}": bytes(50_000_000) for number in range(4)}
        engine.add("bare:1", {**big, "app/a": b"a"})
        yield engine


class Driver:
    """A process that builds."""

    def __init__(self, own: OwnEngine, folder: Path, text: str, *, wait: bool = False) -> None:
        self.tmp, self.cache = folder / "tmp", folder / "cache"
        self.tmp.mkdir(exist_ok=True)
        script = DRIVER.format(
            tests=str(Path(__file__).parent),
            url=own.url,
            tmp=str(self.tmp),
            cache=str(self.cache),
            text=text,
            wait=wait,
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": "/usr/bin:/bin", "TMPDIR": str(self.tmp), "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self.lines: list[str] = []

    def until(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if text in line:
                return
        raise AssertionError(self.lines)

    def end(self) -> int:
        with self.process as process:
            assert process.stdout is not None
            self.lines += process.stdout.read().splitlines()
            return process.wait(60)


@pytest.fixture
def nothing_left(own: OwnEngine, tmp_path: Path) -> Iterator[None]:
    before = (own.images(), own.containers())
    yield
    assert (own.images(), own.containers()) == before
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture
def no_volume_left(own: OwnEngine) -> Iterator[None]:
    """Not for Engines that go away: they may lose track of a volume whose container they were about to remove."""
    before = own.volumes()
    yield
    assert own.volumes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_in_a_run_step(
    own: OwnEngine, nothing_left: None, no_volume_left: None, tmp_path: Path, number: int
) -> None:
    driver = Driver(own, tmp_path, SLOW_RUN)
    driver.until("at-work")
    began = time.monotonic()
    driver.process.send_signal(number)
    assert driver.end() == (143 if number == signal.SIGTERM else -signal.SIGINT)
    assert time.monotonic() - began < 120


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
def test_interrupt_in_a_copy_step(
    own: OwnEngine, nothing_left: None, no_volume_left: None, tmp_path: Path, delay: float
) -> None:
    driver = Driver(own, tmp_path, SLOW_COPY)
    driver.until(": COPY")
    time.sleep(delay)
    driver.process.send_signal(signal.SIGTERM)
    assert driver.end() == 143


@pytest.mark.parametrize("delay", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2])
def test_interrupt_at_any_moment(
    own: OwnEngine, nothing_left: None, no_volume_left: None, tmp_path: Path, delay: float
) -> None:
    driver = Driver(own, tmp_path, SLOW_RUN)
    time.sleep(delay)
    driver.process.send_signal(signal.SIGINT)
    assert driver.end() in {-signal.SIGINT, 1}


def test_interrupt_after_the_build(own: OwnEngine, nothing_left: None, no_volume_left: None, tmp_path: Path) -> None:
    driver = Driver(own, tmp_path, SLOW_COPY, wait=True)
    driver.until("built")
    driver.process.send_signal(signal.SIGINT)
    driver.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_engine_that_comes_back_in_time(own: OwnEngine, nothing_left: None, tmp_path: Path, number: int) -> None:
    driver = Driver(own, tmp_path, SLOW_RUN)
    driver.until("at-work")
    own.signal(number)
    own.start()
    assert driver.end() in {1, 5}
    assert driver.lines[-1].startswith("error: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_engine_that_comes_back_later(own: OwnEngine, nothing_left: None, tmp_path: Path, number: int) -> None:
    driver = Driver(own, tmp_path, SLOW_RUN)
    driver.until("at-work")
    own.signal(number)
    assert driver.end() == 5
    assert driver.lines[-1].startswith("error: ")
    assert "docker image prune" in driver.lines[-1]
    own.start()
    # The next build does what that one could not.
    driver = Driver(own, tmp_path, "    base: {image: 'tiny:1'}\n")
    assert driver.end() == 0, driver.lines
