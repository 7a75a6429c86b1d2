"""Options of `build` that users of docker know: -f, --load, -q; and `version`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: "dir:files"}
  output: {image: "runtimeimg-test/options:1"}
  runtime:
    base: {image: scratch}
    directories: ["$(workspace)/run:/run"]
    entrypoint: [/run]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "web.yaml").write_text(SPEC)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "files").mkdir()
    return tmp_path


def run(*args: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "runtimeimg", *args]
    env = {**os.environ, "XDG_CACHE_HOME": str(cwd / "cache"), **environ}
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=cwd, env=env)


def test_the_spec_is_named_by_f_and_the_argument_is_its_workspace(project: Path) -> None:
    done = run("build", "-f", "deploy/web.yaml", "app", "-q", "-o", "oci:out", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"sha256:[a-f0-9]{64}\n", done.stdout)


def test_f_alone_leaves_the_workspace_beside_the_spec(project: Path) -> None:
    (project / "deploy" / "run").write_text("other")
    done = run("build", "-f", "deploy/web.yaml", "-o", "oci:out", cwd=project)
    assert done.returncode == 0, done.stderr


def test_a_folder_as_spec_is_the_spec_in_it(project: Path) -> None:
    (project / "app" / "build.yaml").write_text(SPEC)
    assert run("build", "app", "-o", "oci:out", cwd=project).returncode == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-f", "deploy/web.yaml", "deploy/web.yaml"], "the spec is given twice"),
        (["-f", "deploy/web.yaml", "app", "--workspace", "app"], "the workspace is given twice"),
        (["app"], "spec 'app/build.yaml' does not exist"),
    ],
)
def test_what_makes_no_sense_together(args: list[str], said: str, project: Path) -> None:
    done = run("build", *args, cwd=project)
    assert done.returncode in {2, 3}
    assert said in done.stderr


@pytest.mark.engine
def test_load_writes_to_the_engine_beside_other_places(project: Path, leaves_nothing: None) -> None:
    spec = project / "app" / "build.yaml"
    spec.write_text(SPEC)
    try:
        done = run("build", "app", "--load", "-o", "oci:out", "-q", cwd=project)
        assert done.returncode == 0, done.stderr
        assert (project / "out" / "index.json").is_file()
        shown = run("inspect", "--format", "json", "docker-daemon:runtimeimg-test/options:1", cwd=project)
        assert json.loads(shown.stdout)["config"]["Entrypoint"] == ["/run"]
    finally:
        subprocess.run(["docker", "rmi", "runtimeimg-test/options:1"], capture_output=True, check=False)


def test_load_without_an_engine_says_so(project: Path) -> None:
    (project / "app" / "build.yaml").write_text(SPEC)
    done = run("build", "app", "--load", cwd=project, DOCKER_HOST="unix:///nowhere")
    assert done.returncode == 4
    assert "no Docker Engine answers" in done.stderr


def test_version_says_which_builders_answer(tmp_path: Path) -> None:
    done = run("version", "--format", "json", cwd=tmp_path, DOCKER_HOST="unix:///nowhere")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    builders = {item["name"]: item for item in found["builders"]}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert builders["native"] == {"name": "native", "answers": True, "reason": None}
    assert builders["docker"]["answers"] is False
    assert "no Docker Engine answers" in builders["docker"]["reason"]
    table = run("version", cwd=tmp_path, DOCKER_HOST="unix:///nowhere").stdout
    assert f"runtimeimg {found['version']}\n" in table
    assert "  native    answers\n" in table
