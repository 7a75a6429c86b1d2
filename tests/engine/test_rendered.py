"""What `render` writes builds with `docker build`, classic and with BuildKit, into what `build` makes of the spec."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.buildkit import _client
from runtimeimg.plan import resolve
from runtimeimg.spec import load_spec
from runtimeimg.stores.base import StoreOptions

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
metadata: {name: rendered}
spec:
  builder: {image: "debian:bookworm-slim"}
  output: {image: "runtimeimg-test/rendered:1"}
  runtime:
    base: {image: "debian:bookworm-slim"}
    env: {PATH: "/app/bin:$PATH", PRICE: '\\$5 "net" and $HOME'}
    labels: {org.example.note: 'a $value, "quoted"'}
    directories:
      - /etc/debian_version:/app/version
      - $(workspace)/static:/app/static
      - {source: /data, destination: /app/data, image: "dir:FOLDER"}
    expose: [{port: 8080, hostPort: 80, serviceName: http}]
    daemons: [[sleep, "100"]]
    entrypoint: [cat, /app/static/page, /app/data/file, /app/version]
"""
NAME = "runtimeimg-test/rendered:1"

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "page").write_text("page\n")
    (tmp_path / "static" / "link").symlink_to("/etc/passwd")
    (tmp_path / "root" / "data").mkdir(parents=True)
    (tmp_path / "root" / "data" / "file").write_text("data\n")
    (tmp_path / "build.yaml").write_text(SPEC.replace("FOLDER", str(tmp_path / "root")))
    return tmp_path


@pytest.fixture
def removed() -> Iterator[None]:
    yield
    subprocess.run(["docker", "rmi", "--force", NAME], capture_output=True, check=False)


def run(*args: str, cwd: Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "runtimeimg", *args]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, cwd=cwd)
    assert not ok or done.returncode == 0, done.stderr
    return done


def config(cwd: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("inspect", "--format", "json", f"docker-daemon:{NAME}", cwd=cwd).stdout)
    held = found["config"]
    # Date and digest of the base are those of one build; of what an Engine adds by itself nothing is ours.
    labels = {key: value for key, value in held["Labels"].items() if not key.startswith("org.opencontainers.image.")}
    kept = ("Env", "Entrypoint", "Cmd", "ExposedPorts", "WorkingDir", "User")
    return {**{key: held.get(key) or None for key in kept}, "Labels": labels, "graph": found["graph"]}


def docker_with_buildkit(project: Path) -> str:
    """The docker command that has BuildKit built in, which need not be the first on PATH."""
    plan = resolve(load_spec(project / "build.yaml").spec)
    return _client(BuildRequest(plan=plan, stores=StoreOptions(environ=dict(os.environ)), workspace=project))


@pytest.mark.parametrize("kit", ["0", "1"], ids=["classic", "buildkit"])
def test_a_stamped_dockerfile_and_its_context_make_the_same_image(kit: str, project: Path, removed: None) -> None:
    run("build", "--builder", "docker", "--load", cwd=project)
    wanted = config(project)
    subprocess.run(["docker", "rmi", NAME], capture_output=True, check=True)
    said = run("render", "--stamped", "--context", "made", cwd=project).stderr
    assert "docker build -f made/Dockerfile.runtime made" in said
    assert (project / "made/workspace/static/link").readlink() == Path("/etc/passwd")
    docker = "docker" if kit == "0" else docker_with_buildkit(project)
    argv = [docker, "build", "--network", "none", "-t", NAME, "-f", "made/Dockerfile.runtime", "made"]
    done = subprocess.run(
        argv, cwd=project, capture_output=True, text=True, check=False, env={**os.environ, "DOCKER_BUILDKIT": kit}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert config(project) == wanted
    shown = subprocess.run(["docker", "run", "--rm", NAME], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.startswith("page\ndata\n12.")


def test_a_context_is_written_again_but_not_over_other_files(project: Path) -> None:
    run("render", "--context", "made", cwd=project)
    (project / "static" / "page").write_text("new\n")
    (project / "static" / "link").unlink()
    run("render", "-o", "made", cwd=project)
    assert (project / "made/workspace/static/page").read_text() == "new\n"
    assert not (project / "made/workspace/static/link").is_symlink()
    (project / "made" / "notes").write_text("mine")
    refused = run("render", "--context", "made", cwd=project, ok=False)
    assert (refused.returncode, "holds other files, such as 'notes'" in refused.stderr) == (2, True)
    assert [path.name for path in project.iterdir() if path.name.startswith(".")] == []


def test_a_dockerfile_alone_says_that_it_is_not_all(project: Path) -> None:
    done = run("render", cwd=project)
    assert "COPY" in done.stdout
    assert "copies workspace/ and rootfs1/ from its build context" in done.stderr
    assert "--context DIR" in done.stderr


def test_what_is_missing_is_named_by_its_line(project: Path) -> None:
    (project / "static" / "page").unlink()
    (project / "static" / "link").unlink()
    (project / "static").rmdir()
    done = run("render", "--context", "made", cwd=project, ok=False)
    assert done.returncode == 3
    assert "build.yaml:13:" in done.stderr
    assert not (project / "made").exists()
