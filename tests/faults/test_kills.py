"""SIGKILL at random moments, over all destinations: what is there is whole, and the next command tidies up.

    RUNTIMEIMG_KILLS=500 scripts/test tests/faults/test_kills.py -s

kills 500 commands in place of some forty; RUNTIMEIMG_KILL_SEED takes the seed that an earlier run printed.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.faults.killing import APP, BASE, IMAGE, KILLS, SEED, Scene, World, left_on, play

Argv = Callable[[int], tuple[str, ...]]
DAEMON = f"docker-daemon:{IMAGE}"
PLACES = {
    "layout": "oci:out/layout:1",
    "oci archive": "oci-archive:out/oci.tar:1",
    "docker archive": f"docker-archive:out/docker.tar:{IMAGE}",
}


def native(to: str, *more: str) -> Argv:
    return lambda turn: ("build", "native.yaml", "--builder", "native", "--env", f"N={turn}", "-o", to, *more)


def docker_built(to: str) -> Argv:
    return lambda turn: ("build", "engine.yaml", "--builder", "docker", "--env", f"N={turn}", "-o", to)


def copied(to: str) -> Argv:
    return lambda turn: ("copy", f"oci:images:source{turn % 2}", to)


def stamped(to: str, source: str) -> Argv:
    return lambda turn: ("stamp", source, "--spec", "native.yaml", "--label", f"n={turn}", "-o", to)


def scenes() -> Iterator[Scene]:
    for name, to in PLACES.items():
        yield Scene(name=f"native build to {name}", argv=native(to, "--no-cache"), to=to)
        yield Scene(name=f"copy to {name}", argv=copied(to), to=to)
    layout = PLACES["layout"]
    yield Scene(name="native build to layout, cached", argv=native(layout), to=layout)
    yield Scene(name="stamp of layout", argv=stamped(layout, "oci:images:source1"), to=layout)
    registry = "docker://REGISTRY/faults/out:1"
    yield Scene(name="native build to registry", argv=native(registry, "--no-cache"), to=registry)
    yield Scene(name="copy to registry", argv=copied(registry), to=registry)
    yield Scene(name="stamp to registry", argv=stamped(registry, "oci:images:source1"), to=registry)
    for to in (DAEMON, *list(PLACES.values())[:2]):
        yield Scene(name=f"docker build to {to.partition(':')[0]}", argv=docker_built(to), to=to, engine=True)
    yield Scene(name="native build to Engine", argv=native(DAEMON), to=DAEMON, engine=True)
    yield Scene(name="copy to Engine", argv=copied(DAEMON), to=DAEMON, engine=True)
    yield Scene(name="stamp in Engine", argv=stamped(DAEMON, BASE), to=DAEMON, engine=True)


SCENES = list(scenes())
EACH = -(-KILLS // len(SCENES))


@pytest.fixture(scope="session", autouse=True)
def _seed() -> None:
    print(f"\nRUNTIMEIMG_KILL_SEED={SEED} RUNTIMEIMG_KILLS={KILLS}, {EACH} of each kind")  # noqa: T201


@pytest.fixture
def images(engine: docker.APIClient, world: World) -> Iterator[None]:
    """The base and what is copied from, on the Engine."""
    before = {image["Id"] for image in engine.images(all=True)}
    for name, data in world.tars.items():
        repository, tag = name.split(":")
        changes = ["ENV PATH=/bin"] if name == BASE else []
        engine.import_image_from_data(data, repository, tag, changes=changes)
    yield
    for name in (IMAGE, BASE, APP):
        with contextlib.suppress(docker.errors.NotFound):
            engine.remove_image(name, force=True)
    left = {image["Id"] for image in engine.images(all=True)} - before
    assert left == set()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(folder=tmp_path / "world")


def with_registry(scene: Scene, registry: str) -> Scene:
    def argv(turn: int) -> tuple[str, ...]:
        return tuple(item.replace("REGISTRY", registry) for item in scene.argv(turn))

    return Scene(name=scene.name, argv=argv, to=scene.to.replace("REGISTRY", registry))


@pytest.mark.slow
@pytest.mark.parametrize("scene", [scene for scene in SCENES if not scene.engine and "REG" not in scene.to], ids=str)
def test_killed_while_it_writes_files(scene: Scene, world: World) -> None:
    play(world, scene, EACH, None)


@pytest.mark.slow
@pytest.mark.registry
@pytest.mark.parametrize("scene", [scene for scene in SCENES if "REGISTRY" in scene.to], ids=str)
def test_killed_while_it_pushes(scene: Scene, world: World, upstream: str) -> None:
    play(world, with_registry(scene, upstream), EACH, None)


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene.engine], ids=str)
def test_killed_while_it_works_with_the_engine(scene: Scene, world: World, engine: docker.APIClient) -> None:
    play(world, scene, EACH, engine)


@pytest.mark.engine
@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("state", ["created", "running"])
def test_what_a_killed_run_left_is_removed_by_any_command_that_talks_to_the_engine(
    world: World, engine: docker.APIClient, state: str
) -> None:
    before = left_on(engine)
    process = world.start("run", "--rm", BASE, "--", "sleep", "300")
    while state not in {one["State"] for one in engine.containers(all=True) if one["Id"] not in before}:
        assert process.poll() is None, world.said()
    process.kill()
    process.wait(60)
    assert left_on(engine) - before
    world.run("inspect", BASE)
    assert left_on(engine) - before == set()
    assert world.remains() == []
