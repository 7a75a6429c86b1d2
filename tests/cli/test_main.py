"""The command line as a user meets it: help, exit codes, one clear error, no traceback."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: web-build:1}
  output: {image: web:1}
  runtime:
    base: {image: debian:bookworm-slim}
    directories: [/app]
    entrypoint: [/app/run]
"""


def run(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runtimeimg", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "build.yaml"
    path.write_text(SPEC)
    return path


def no_engine() -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": "unix:///nowhere/docker.sock"}


def test_help_imports_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys\nsys.argv = ['runtimeimg', '--help']\nfrom runtimeimg.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert done.code == 0\n"
        "heavy = {'docker', 'jinja2', 'pydantic', 'yaml', 'rich', 'urllib3', 'msgpack', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"
    assert "render" in done.stdout


def test_every_command_has_help_and_agrees_with_the_list() -> None:
    from runtimeimg.cli.main import COMMANDS

    listed = run("--help").stdout
    for name, (_, text) in COMMANDS.items():
        done = run(name, "--help")
        assert done.returncode == 0, done.stderr
        assert f"Usage: runtimeimg {name}" in done.stdout
        assert text in listed


def test_rendering_to_standard_output_and_to_a_file(spec: Path, tmp_path: Path) -> None:
    done = run("render", str(spec))
    assert (done.returncode, done.stderr) == (0, "")
    assert 'COPY --from=builder ["/app", "/app"]' in done.stdout
    target = tmp_path / "Dockerfile.runtime"
    assert run("render", "-", "-o", str(target), input=SPEC).returncode == 0
    assert target.read_text() == done.stdout


def test_the_default_spec_is_build_yaml_here(spec: Path) -> None:
    assert run("render", cwd=spec.parent).returncode == 0


def test_the_schema_is_json() -> None:
    schema = json.loads(run("schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


BAD = {
    "no such command": (["rendr"], 2, "did you mean 'render'"),
    "no such option": (["render", "--no-such"], 2, "--no-such"),
    "missing spec": (["render", "nowhere.yaml"], 3, "nowhere.yaml"),
    "a folder as spec": (["render", "."], 2, "is a directory"),
    "label without value": (["render", "SPEC", "--label", "x"], 2, "key=value"),
    "label with a line break": (["render", "SPEC", "--label", "x=a\nRUN y"], 2, "line break"),
    "bad builder image": (["render", "SPEC", "--builder-image", "A b"], 2, "is not valid"),
    "bad tag": (["build", "SPEC", "-t", "Web"], 2, "lower case"),
    "tag with digest": (["build", "SPEC", "-t", "web@sha256:" + "a" * 64], 2, "digest"),
    "bad platform": (["build", "SPEC", "--platform", "a/b/c/d"], 2, "os/architecture"),
    "bad compression": (["build", "SPEC", "--compression", "lzma"], 2, "known are gzip, zstd and none"),
    "bad workspace": (["build", "SPEC", "--workspace", "/nowhere"], 2, "not a folder"),
    "unknown builder": (["build", "SPEC", "--builder", "podman"], 4, "installed are"),
    "graph file missing": (["stamp", "oci:/nowhere:1", "--graph", "/nowhere"], 3, "/nowhere"),
    "nothing to stamp": (["stamp", "oci:/nowhere:1"], 2, "nothing to stamp"),
    "layout missing": (["inspect", "oci:/nowhere:1"], 3, "/nowhere"),
    "archive missing": (["inspect", "oci-archive:/nowhere.tar"], 3, "/nowhere.tar"),
    "bad transport": (["inspect", "oci:"], 2, "names nothing"),
}


@pytest.mark.parametrize(("args", "code", "said"), BAD.values(), ids=BAD)
def test_bad_usage_is_one_clear_error(args: list[str], code: int, said: str, spec: Path) -> None:
    done = run(*[str(spec) if arg == "SPEC" else arg for arg in args], env=no_engine())
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_spec_with_several_problems_lists_them_all(tmp_path: Path) -> None:
    bad = SPEC.replace("entrypoint", "entrypont").replace("[/app]", "[app]")
    done = run("render", "-", input=bad)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines[:2]] == ["spec.runtime.directories[0]", "spec.runtime"]
    assert "did you mean 'entrypoint'" in done.stderr


def test_without_an_engine_the_docker_builder_says_what_to_start(spec: Path) -> None:
    done = run("build", str(spec), "--builder", "docker", env=no_engine())
    assert done.returncode == 4
    assert "Docker Engine" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_no_error(spec: Path) -> None:
    command = f"{sys.executable} -m runtimeimg schema | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("wait", [0.05, 0.1, 0.15, 0.2, 0.3, 1.0])
def test_interrupts_end_it_cleanly_from_the_first_import_on(number: signal.Signals, wait: float) -> None:
    """Before the command has begun to load, Python itself ends without a word, by the signal."""
    child = subprocess.Popen(
        [sys.executable, "-m", "runtimeimg", "render", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(wait)
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130 or (child.returncode == -number and wait < 1), said
    assert "Traceback" not in said or "runtimeimg" not in said.replace("-m runtimeimg", "")
    if child.returncode == 130:
        assert said.strip() in {"runtimeimg: interrupted", "runtimeimg: interrupted; nothing was left behind"}


def test_source_date_epoch_is_checked(spec: Path) -> None:
    done = run("build", str(spec), "--dry-run", "-o", "oci:x", env={**os.environ, "SOURCE_DATE_EPOCH": "soon"})
    assert done.returncode == 2
    assert "SOURCE_DATE_EPOCH" in done.stderr


def test_a_dry_run_builds_nothing(spec: Path) -> None:
    done = run("build", str(spec), "--dry-run", "-o", "oci:x", env=no_engine(), cwd=spec.parent)
    assert done.returncode == 0, done.stderr
    assert "builder: native" in done.stderr
    assert "writes: oci:x:1" in done.stderr
    assert "FROM debian:bookworm-slim" in done.stdout
    assert sorted(path.name for path in spec.parent.iterdir()) == ["build.yaml"]
