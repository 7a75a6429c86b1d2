"""Layouts under writers that are killed and writers that come together."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made import contents_of, digests, image, read_image, write

from runtimeimg.oci import Digest

TESTS = Path(__file__).parent
ROOT = TESTS.parents[1]

# Writes image after image until it is killed. It is ready when all is imported and one is written; making an image
# costs little beside writing it, so that most kills fall into a write.
ENDLESS = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from made import image, write
seed = {seed}
while True:
    write("oci:{layout}:new", image(seed, 400_000, layers=4, compressed=False))
    if seed == {seed}:
        print("ready", flush=True)
    seed += 1
"""

# Writes so many images under names of its own.
SOME = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from made import image, write
print("ready", flush=True)
for number in range({count}):
    write(f"oci:{layout}:{name}{{number}}", image({seed} + number % 3, 20_000))
"""


def start(script: str, **values: object) -> subprocess.Popen[str]:
    text = script.format(tests=str(TESTS), root=str(ROOT), **values)
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def check_layout(root: Path, checked: set[str]) -> set[str]:
    """Check every blob not in `checked` against its name, and that all an image needs is there; return the tags."""
    assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    for path in (root / "blobs/sha256").iterdir():
        assert path.name in checked or Digest.of(path.read_bytes()).encoded == path.name
        checked.add(path.name)
    tags = set()
    for entry in json.loads((root / "index.json").read_text())["manifests"]:
        tag = entry["annotations"]["org.opencontainers.image.ref.name"]
        found = read_image(f"oci:{root}:{tag}")
        assert contents_of(found) == digests([item.descriptor for item in found.layers])
        tags.add(tag)
    return tags


@pytest.mark.slow
def test_killed_at_fifty_moments(tmp_path: Path) -> None:
    layout = tmp_path / "l"
    write(f"oci:{layout}:old", image(1))
    moments = random.Random(7)
    left = 0
    checked: set[str] = set()
    for number in range(50):
        process = start(ENDLESS, layout=layout, seed=1000 * (number + 1))
        time.sleep(moments.uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        left += len(list(layout.glob(".runtimeimg*")))
        tags = check_layout(layout, checked)
        assert "old" in tags
        assert tags <= {"old", "new"}
        assert read_image(f"oci:{layout}:old").to_manifest().raw == image(1).to_manifest().raw
    assert left, "no writer was killed while it wrote: the test proves nothing"
    write(f"oci:{layout}:last", image(2))
    assert not list(layout.glob(".runtimeimg*"))


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    layout = tmp_path / "l"
    writers = [start(SOME, layout=layout, name=name, seed=seed, count=15) for name, seed in (("a", 1), ("b", 2))]
    for process in writers:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert check_layout(layout, set()) == {f"{name}{number}" for name in "ab" for number in range(15)}
    assert sorted(path.name for path in layout.iterdir()) == ["blobs", "index.json", "oci-layout"]
