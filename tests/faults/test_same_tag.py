"""Builds that write to one name of an Engine at the same time: all end well, one of them has it, nothing dangles."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.faults.killing import APP, BASE, IMAGE, World, left_on

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
def world(tmp_path: Path, engine: docker.APIClient) -> Iterator[World]:
    made = World(folder=tmp_path / "world")
    before = {image["Id"] for image in engine.images(all=True)}
    for name, data in made.tars.items():
        repository, tag = name.split(":")
        changes = ["ENV PATH=/bin"] if name == BASE else []
        engine.import_image_from_data(data, repository, tag, changes=changes)
    yield made
    for name in (IMAGE, BASE, APP):
        with contextlib.suppress(docker.errors.NotFound):
            engine.remove_image(name, force=True)
    assert {image["Id"] for image in engine.images(all=True)} - before == set()


@pytest.mark.parametrize(
    "builders", [("native",) * 4, ("docker",) * 3, ("docker", "native", "docker", "native")], ids=" ".join
)
@pytest.mark.parametrize("alike", [True, False], ids=["alike", "different"])
def test_all_end_well_and_one_has_the_name(
    world: World, engine: docker.APIClient, builders: tuple[str, ...], alike: bool
) -> None:
    before = left_on(engine)
    for turn in range(2):
        running = [start(world, builder, mark=0 if alike else number) for number, builder in enumerate(builders)]
        ended = [(process.communicate(timeout=240), process.returncode) for process in running]
        assert [code for _, code in ended] == [0] * len(builders), "\n".join(said for (_, said), _ in ended)
        assert engine.inspect_image(IMAGE)["Id"] in [out.strip() for (out, _), _ in ended]
        assert left_on(engine) - before == set(), turn
        assert world.remains() == []


def test_the_later_one_wins(world: World, engine: docker.APIClient) -> None:
    """A build that begins to write when another has written takes the name over, whichever began first."""
    before = left_on(engine)
    running = [start(world, builder, mark=number) for number, builder in enumerate(("docker", "native"))]
    ids = [process.communicate(timeout=240)[0].strip() for process in running]
    ids.append(start(world, "native", mark=2).communicate(timeout=240)[0].strip())
    assert engine.inspect_image(IMAGE)["Id"] == ids[2]
    assert len(set(ids)) == 3
    assert left_on(engine) - before == set()


def start(world: World, builder: str, *, mark: int) -> subprocess.Popen[str]:
    argv = ["build", "engine.yaml", "--builder", builder, "--env", f"N={mark}", "-q"]
    return subprocess.Popen(
        [*world.command, *argv, "-o", f"docker-daemon:{IMAGE}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=world.folder,
        env=world.environ,
    )
