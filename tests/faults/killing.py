"""Commands that are killed at random moments, and what there is afterwards."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import docker

from runtimeimg.errors import NotFoundError
from runtimeimg.image import choose_platform
from runtimeimg.oci import Location
from runtimeimg.remains import is_temporary
from runtimeimg.runtimegraph import VERSION_LABEL
from runtimeimg.stores import StoreOptions, open_image
from tests.compose.images import file, folder, symlink, tar, write_layout

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("RUNTIMEIMG_KILLS") or 45)
SEED = int(os.environ.get("RUNTIMEIMG_KILL_SEED") or time.time())
"""Commands killed in all, and what the moments come from; both can be said by hand."""
IMAGE = "runtimeimg-faults/out:1"
BASE, APP = "runtimeimg-faults/base:1", "runtimeimg-faults/app:1"

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {{image: '{app}'}}
  output: {{image: 'runtimeimg-faults/out:1'}}
  runtime:
    base: {{image: '{base}'}}
    env: {{A: b}}
    directories: [/app, '/more:/srv/more']
    workDir: /app
    entrypoint: [sh, -c, 'sleep 60']
"""


@dataclass(kw_only=True)
class World:
    """A folder to work in, with a folder of temporary files and a cache of its own."""

    folder: Path
    registry: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = (sys.executable, "-m", "runtimeimg")

    def __post_init__(self) -> None:
        for name in ("tmp", "cache", "out"):
            (self.folder / name).mkdir(parents=True)
        base = [folder("bin"), file("bin/sh", Path("/bin/busybox").read_bytes(), 0o755), symlink("bin/sleep", "sh")]
        chance = random.Random(1)
        app = [
            folder("app"),
            *(file(f"app/{number}", chance.randbytes(50_000)) for number in range(30)),
            folder("more"),
            file("more/large", chance.randbytes(3_000_000)),
        ]
        self.tars = {BASE: tar(base), APP: tar(app)}
        layers = [self.tars[BASE]], [self.tars[APP]]
        images = {"base": (layers[0], {"Env": ["PATH=/bin"]}), "app": (layers[1], {})}
        for number in (0, 1):
            more = tar([file(f"data/{number}", chance.randbytes(4_000_000))])
            # Stamped: an Engine's image that loses its name to another is ours to remove.
            labels = {"n": str(number), VERSION_LABEL: "v1"}
            images[f"source{number}"] = ([*layers[0], more], {"Env": ["PATH=/bin"], "Labels": labels})
        write_layout(self.folder / "images", images)
        (self.folder / "native.yaml").write_text(SPEC.format(base="oci:images:base", app="oci:images:app"))
        (self.folder / "engine.yaml").write_text(SPEC.format(base=BASE, app=APP))
        own = {"TMPDIR": str(self.folder / "tmp"), "XDG_CACHE_HOME": str(self.folder / "cache")}
        self.environ = {**os.environ, "PYTHONPATH": str(ROOT), **own, **self.environ}

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """Start a command; what it says goes to the file `said`."""
        with (self.folder / "said").open("wb") as said:
            return subprocess.Popen(
                [*self.command, *args],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=self.folder,
                env=self.environ,
            )

    def run(self, *args: str) -> float:
        """Run a command to its good end and return the seconds it took."""
        began = time.monotonic()
        code = self.start(*args).wait(300)
        assert code == 0, f"exit code {code} of {args}\n{self.said()}"
        return time.monotonic() - began

    def kill(self, after: float, *args: str) -> int:
        """Start a command, kill it after that many seconds, and return its exit code."""
        process = self.start(*args)
        time.sleep(after)
        process.kill()
        return process.wait(60)

    def said(self) -> str:
        return (self.folder / "said").read_text(errors="replace")

    def remains(self) -> list[str]:
        """What lies about in the folders of temporary files and beside what was written."""
        found = list((self.folder / "tmp").rglob("*"))
        found += [path for path in self.folder.rglob(".*") if is_temporary(path.name.removesuffix(".d"))]
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def marks(self, text: str) -> str | None:
        """Return what marks the image at a location, its layers read and verified; None when there is none."""
        place = Location.parse(text)
        if place.path is not None:
            place = Location.parse(text.replace(place.path, str(self.folder / place.path), 1))
        options = StoreOptions(environ=self.environ, plain_http=frozenset({self.registry}))
        try:
            image = choose_platform(open_image(place, options), None)
        except NotFoundError:
            return None
        for layer in image.layers:
            with layer.open() as reader:
                while reader.read(1 << 20):
                    pass
        environ = dict(item.split("=", 1) for item in image.config.config["Env"])
        return image.config.labels.get("n") or environ.get("N")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A command that writes to a destination; `argv` makes the command that writes an image marked by a number."""

    name: str
    argv: Callable[[int], tuple[str, ...]]
    to: str
    engine: bool = False

    def __str__(self) -> str:
        return self.name


def left_on(client: docker.APIClient) -> set[str]:
    """What an Engine has that nobody could want: images without a name that nothing builds on, and containers."""
    images = {image["Id"] for image in client.images(filters={"dangling": True})}
    return images | {container["Id"] for container in client.containers(all=True)}


def play(world: World, scene: Scene, kills: int, engine: docker.APIClient | None) -> None:
    """Kill the scene's command again and again; each time its destination is whole, and the next command tidies up."""
    chance = random.Random(f"{SEED} {scene}")
    before = left_on(engine) if engine is not None else set()
    world.run(*scene.argv(0))
    was = world.marks(scene.to)
    assert was == "0"
    length = world.run(*scene.argv(1))
    was = "1"
    for turn in range(2, kills + 2):
        moment = chance.uniform(0.1, 1.05) * length
        story = f"seed {SEED}, {scene}, kill {turn - 1} after {moment:.3f} of {length:.3f} seconds"
        code = world.kill(moment, *scene.argv(turn))
        now = world.marks(scene.to)
        new = str(turn % 2 if scene.name.startswith("copy") else turn)
        assert now in {was, new}, f"{story}: neither old ({was}) nor new ({new}) but {now}"
        assert now == new or code != 0, f"{story}: ended well, but the old image is there"
        world.run(*(("ps",) if scene.engine else ("schema",)))
        was = world.marks(scene.to)  # an Engine may have been at its last step
        assert was in {now, new}, story
        remains = world.remains()
        assert remains == [], f"{story}: {remains}"
        if engine is not None:
            assert left_on(engine) - before == set(), story
    world.run(*scene.argv(kills + 2))
    world.run("cache", "prune")
    assert list((world.folder / "cache").rglob("tmp/*")) == []
