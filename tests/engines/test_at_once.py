"""Builds at the same time that write to one name, and commands that are killed: nothing is left on any engine."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from onengines import BASE

pytestmark = [pytest.mark.engine, pytest.mark.slow]

BUILDERS = ("docker", "native", "docker", "native")
KILLS = int(os.environ.get("RUNTIMEIMG_ENGINE_KILLS") or 4)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of the commands, with a folder of temporary files of their own."""
    (tmp_path / "tmp").mkdir()
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}


@pytest.fixture(autouse=True)
def nothing_left(engine: docker.APIClient, images: None, tmp_path: Path) -> Iterator[None]:
    """Fail a test that leaves a container, an image without a name or under a passing one, or a file."""
    before = left_on(engine)
    yield
    assert left_on(engine) - before == set()
    assert list((tmp_path / "tmp").rglob("*")) == []


def left_on(engine: docker.APIClient) -> set[str]:
    passing = {tag for image in engine.images() for tag in image["RepoTags"] or [] if "passing" in tag}
    dangling = {image["Id"] for image in engine.images(filters={"dangling": True})}
    return passing | dangling | {container["Id"] for container in engine.containers(all=True)}


def start(environ: dict[str, str], *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "runtimeimg", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


def build(spec: Path, name: str, builder: str, mark: int) -> tuple[str, ...]:
    return ("build", str(spec), "--builder", builder, "--env", f"MARK={mark}", "-q", "-o", f"docker-daemon:{name}")


@pytest.mark.parametrize("alike", [True, False], ids=["alike", "different"])
def test_builds_that_write_to_one_name(
    engine: docker.APIClient, spec: Path, environ: dict[str, str], image_name: str, alike: bool
) -> None:
    for _ in range(2):
        running = [
            start(environ, *build(spec, image_name, builder, 0 if alike else number))
            for number, builder in enumerate(BUILDERS)
        ]
        ended = [(*process.communicate(timeout=300), process.returncode) for process in running]
        assert [code for _, _, code in ended] == [0] * len(BUILDERS), "\n".join(said for _, said, _ in ended)
        assert engine.inspect_image(image_name)["Id"] in [out.strip() for out, _, _ in ended]
    engine.remove_image(image_name, force=True)


@pytest.mark.parametrize("what", ["docker", "native", "stamp"])
def test_killed_at_random_moments(
    engine: docker.APIClient, spec: Path, environ: dict[str, str], image_name: str, what: str
) -> None:
    def argv(mark: int) -> tuple[str, ...]:
        if what != "stamp":
            return build(spec, image_name, what, mark)
        named = f"docker-daemon:{image_name}"
        return ("stamp", f"docker-daemon:{BASE}", "--spec", str(spec), "--label", f"mark={mark}", "-o", named)

    seed = int(time.time())
    chance = random.Random(seed)
    before = left_on(engine)
    began = time.monotonic()
    process = start(environ, *argv(0))
    assert (process.communicate(timeout=300), process.returncode)[1] == 0
    length = time.monotonic() - began
    for turn in range(1, KILLS + 1):
        process = start(environ, *argv(turn))
        moment = chance.uniform(0.2, 1.0) * length
        time.sleep(moment)
        process.kill()
        process.communicate(timeout=60)
        following = start(environ, "inspect", image_name)
        _, said = following.communicate(timeout=300)
        story = f"seed {seed}, kill {turn} after {moment:.3f} of {length:.3f} seconds"
        assert following.returncode == 0, f"{story}\n{said}"
        assert left_on(engine) - before == set(), story
    engine.remove_image(image_name, force=True)
