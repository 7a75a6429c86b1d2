"""SIGKILL at random moments of an unpacking, and disks that are full: no half root file system is there.

    RUNTIMEIMG_KILLS=200 scripts/test tests/unpack/test_kills.py -s

kills 200 times in place of six; RUNTIMEIMG_KILL_SEED takes the seed that an earlier run printed.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtimeimg.remains import is_temporary
from tests.compose.images import Item, file, folder, tar, write_layout
from tests.faults.disks import disk
from tests.faults.killing import ROOT, SEED
from tests.unpack.trees import There, tree

KILLS = int(os.environ.get("RUNTIMEIMG_KILLS") or 6)
PROGRAM = """\
import sys
from pathlib import Path
from runtimeimg.image import choose_platform
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.unpack import unpack
unpack(choose_platform(open_image(Location.parse(sys.argv[1]), StoreOptions()), None), Path(sys.argv[2]))
"""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices are set by root")


class World:
    """A folder with a layout, a place for roots and one for temporary files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.target = path / "place" / "root"
        for name in ("tmp", "place", "cache"):
            (path / name).mkdir()
        chance = random.Random(1)
        base = [folder("d"), *(file(f"d/{number}", chance.randbytes(900)) for number in range(2500))]
        over = [Item(path="d/.wh.7"), file("large", chance.randbytes(40_000_000)), folder("e", 0o555)]
        write_layout(path / "images", {"one": ([tar(base), tar([*over, *(file(f"e/{n}") for n in range(500))])], {})})
        own = {"TMPDIR": str(path / "tmp"), "XDG_CACHE_HOME": str(path / "cache"), "PYTHONPATH": str(ROOT)}
        self.environ = {**os.environ, **own}

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PROGRAM, f"oci:{self.path}/images:one", str(self.target)]
        return subprocess.Popen(command, env=self.environ)

    def tidied(self) -> list[str]:
        """What there is beside the root after another command."""
        command = [sys.executable, "-m", "runtimeimg", "schema"]
        subprocess.run(command, env=self.environ, check=True, stdout=subprocess.DEVNULL)
        left = [*(self.path / "tmp").rglob("*"), *(self.path / "place").iterdir()]
        return sorted(path.name for path in left if path != self.target)


def test_a_killed_unpacking_leaves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    began = time.monotonic()
    assert world.start().wait(300) == 0
    length = time.monotonic() - began
    whole: dict[str, There] = tree(world.target)
    assert len(whole) > 3000
    shutil.rmtree(world.target)
    print(f"\nRUNTIMEIMG_KILL_SEED={SEED}, {length:.2f} seconds")  # noqa: T201
    chance = random.Random(SEED)
    half = 0
    for turn in range(KILLS):
        process = world.start()
        time.sleep(chance.uniform(0.2, 1.05) * length)
        process.kill()
        code = process.wait(60)
        story = f"seed {SEED}, kill {turn}"
        half += any(is_temporary(path.name.removesuffix(".d")) for path in world.target.parent.iterdir())
        if world.target.exists():
            assert tree(world.target) == whole, story
            shutil.rmtree(world.target)
        else:
            assert code != 0, story
        assert world.tidied() == [], story
    assert half > 0


@pytest.mark.mounts
@pytest.mark.parametrize(("size", "count", "mode"), [(1 << 20, 8, 0o755), (1 << 16, 2000, 0o555)])
def test_a_full_disk_is_left_as_it_was(tmp_path: Path, size: int, count: int, mode: int) -> None:
    items = [folder("d", mode), *(file(f"d/{number}", bytes(range(256)) * 1200) for number in range(count))]
    write_layout(tmp_path / "images", {"one": ([tar(items)], {})})
    with disk(tmp_path / "disk", size) as small:
        command = [sys.executable, "-c", PROGRAM, f"oci:{tmp_path}/images:one", str(small.path / "root")]
        done = subprocess.run(
            [*small.enter, *command],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "cannot be made: no space left on device" in done.stderr
        assert list(small.outside.iterdir()) == []
