"""The Python in docs/python.md passes mypy --strict and does what the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: "dir:files"}
  output: {image: "web:1"}
  runtime:
    base: {image: scratch}
    directories: [/app]
    expose: [{port: 8080}]
    entrypoint: [/app/run]
"""


def blocks() -> list[tuple[str, str]]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [(page.name, block) for page in pages for block in BLOCK.findall(page.read_text())]


@pytest.mark.slow
def test_every_example_is_typed(tmp_path: Path) -> None:
    found = blocks()
    assert len(found) >= 3
    for number, (_, block) in enumerate(found):
        (tmp_path / f"example_{number}.py").write_text(block)
    argv = [sys.executable, "-m", "mypy", "--strict", "--disallow-any-expr", "--config-file=", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_examples_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text(SPEC.replace("dir:files", "web-build:1"))
    render, compose, read = (block for page, block in blocks() if page == "python.md")
    said = run(render, tmp_path)
    assert "FROM web-build:1 AS builder" in said
    assert "ENV VERSION=1.4.2" in said
    (tmp_path / "files/app").mkdir(parents=True)
    (tmp_path / "files/app/run").write_text("#!/bin/sh\n")
    (tmp_path / "build.yaml").write_text(SPEC)
    assert re.fullmatch(r"oci:web.oci:1 sha256:[a-f0-9]{64}\n", run(compose, tmp_path))
    assert run(read, tmp_path) == "ports: [8080]\ndaemons: []\n"


def test_an_example_ends_with_what_is_wrong(tmp_path: Path) -> None:
    render = next(block for page, block in blocks() if page == "python.md")
    done = subprocess.run([sys.executable, "-c", render], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("spec 'build.yaml' does not exist\n")


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
