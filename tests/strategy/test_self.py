"""The tool's own image, composed by the tool from the stages of its Dockerfile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PREFIX, ROOT

import runtimeimg


def docker(*argv: str) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.engine
@pytest.mark.slow
def test_the_tool_composes_its_own_image(tmp_path: Path) -> None:
    stages = {name: f"{PREFIX}/self-{name}:1" for name in ("base", "build")}
    for target, name in stages.items():
        docker("build", "--network=host", f"--target={target}", f"--tag={name}", str(ROOT))
    text = (ROOT / "samples" / "self" / "build.yaml").read_text()
    for target, name in stages.items():
        assert f"runtimeimg-samples/self-{target}:1" in text
        text = text.replace(f"runtimeimg-samples/self-{target}:1", name)
    (tmp_path / "build.yaml").write_text(text)
    result = f"{PREFIX}/self:1"
    argv = [
        sys.executable,
        "-m",
        "runtimeimg",
        "build",
        str(tmp_path / "build.yaml"),
        "--builder=native",
        f"--tag={result}",
    ]
    built = subprocess.run([*argv, f"--output=docker-daemon:{result}"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    config, sizes = json.loads(docker("inspect", result))[0], {}
    for name in (result, stages["build"], stages["base"]):
        sizes[name] = json.loads(docker("inspect", name))[0]["Size"]
    assert config["Config"]["User"] == "65532:65532"
    assert sizes[result] - sizes[stages["base"]] < 60_000_000
    assert sizes[result] < sizes[stages["build"]]
    unprivileged = ["--read-only", "--user=1000740000:0", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    said = docker("run", "--rm", *unprivileged, result, "--version")
    assert said == f"runtimeimg {runtimeimg.__version__}\n"
    docker("rmi", result)
