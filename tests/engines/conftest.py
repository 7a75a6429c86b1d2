"""What holds on every engine: run by `scripts/engines in NAME`, and on this machine's own Docker Engine.

A test that carries `feature(NAME)` fills a cell of the table in docs/engines.md: its outcome, and what it recorded as
`note`. With RUNTIMEIMG_ENGINE_TABLE the cells are written into that folder, one file an engine.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from onengines import APP, BASE, KIND, Cli, archive, remove

APPLETS = ("sh", "cat", "sleep", "echo", "httpd", "ls", "wget", "true", "kill", "id", "env")

_cells: dict[str, dict[str, str]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    marker = item.get_closest_marker("feature")
    if marker is not None and (report.when == "call" or report.failed):
        note = "; ".join(str(value) for key, value in item.user_properties if key == "note")
        cell = _cells.setdefault(marker.args[0], {"outcome": "holds", "note": ""})
        cell["outcome"] = "fails" if report.failed else cell["outcome"]
        cell["note"] = "; ".join(filter(None, dict.fromkeys([cell["note"], note])))
    return report


def pytest_sessionfinish() -> None:
    folder = os.environ.get("RUNTIMEIMG_ENGINE_TABLE")
    if folder and _cells:
        with docker.APIClient(**docker.utils.kwargs_from_env()) as client:
            version = client.version()
        name = next(part["Name"] for part in version["Components"]).replace(" Engine", "").replace("Engine", "Docker")
        data = {"engine": KIND, "name": name, "version": version["Version"], "cells": _cells}
        Path(folder, f"{KIND}.json").write_text(json.dumps(data, indent=2))


@pytest.fixture(scope="session")
def images(engine: docker.APIClient) -> Iterator[None]:
    """A base with a shell, and an image with a page and a program's files, on the Engine."""
    applets: dict[str, bytes | str | None] = {f"bin/{name}": "busybox" for name in APPLETS}
    base = {"bin/busybox": Path("/bin/busybox").read_bytes(), **applets, "tmp": None}
    base["etc/passwd"] = b"root:x:0:0::/:/bin/sh\n"
    app: dict[str, bytes | str | None] = {"app/index.html": b"a page\n", "app/sub/link": "../index.html"}
    app["app/big"] = os.urandom(3 << 20)
    for name, files, changes in ((BASE, base, ["ENV PATH=/bin"]), (APP, app, [])):
        repository, tag = name.split(":")
        engine.import_image_from_data(archive(files), f"docker.io/{repository}", tag, changes=changes)
    yield
    for name in (BASE, APP):
        remove(engine, name)


@pytest.fixture
def image_name(engine: docker.APIClient, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for the image of a test, removed afterwards."""
    stem = "".join(char if char.isalnum() else "-" for char in request.node.name.lower()).strip("-")
    name = f"runtimeimg-engines/{stem[:60].strip('-')}:1"
    yield name
    remove(engine, name)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run the command in a folder of the test's own: `cli("stamp", name, code=2)`; standard error in `stderr`."""

    def run(*args: str, code: int = 0, text: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "runtimeimg", *args],
            capture_output=True,
            text=True,
            input=text,
            cwd=tmp_path,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), **environ},
            timeout=300,
            check=False,
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def spec(tmp_path: Path, images: None) -> Path:
    """A spec that takes the page into the base, with an entrypoint that serves it."""
    path = tmp_path / "build.yaml"
    path.write_text(
        f"""\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {{image: '{APP}'}}
  output: {{image: 'unnamed:1'}}
  runtime:
    base: {{image: '{BASE}'}}
    directories: [/app:/srv]
    env: {{GREETING: hello}}
    labels: {{team: web}}
    expose: [{{port: 8080, hostPort: 18080, serviceName: web}}]
    workDir: /srv
    entrypoint: [httpd, -f, -p, '8080', -h, /srv]
"""
    )
    return path
