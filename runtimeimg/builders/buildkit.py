"""BuildKit, driven through a docker command line that has it: built in up to release 22, as the buildx plugin since."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import ClassVar

from runtimeimg import process, remains
from runtimeimg.builders import context
from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.commandline import build_arguments, context_file, run_build
from runtimeimg.builders.docker.images import fetch, preflight, require_shell
from runtimeimg.errors import RemoteError, UnavailableError
from runtimeimg.image import Image
from runtimeimg.remains import Note
from runtimeimg.render import render_dockerfile
from runtimeimg.stores.engine import Engine, engine_environ, patience
from runtimeimg.stores.engine.config import without_label
from runtimeimg.stores.engine.images import inspect, read_image
from runtimeimg.stores.engine.kind import kind_of
from runtimeimg.stores.engine.unfinished import new_label, noted, remove_labelled

_LAST_WITH_BUILT_IN = 22


class BuildkitBuilder:
    """Builds Dockerfile.runtime with an Engine's BuildKit; its cache stays in BuildKit, the unnamed image does not."""

    name: ClassVar[str] = "buildkit"

    def check(self, request: BuildRequest) -> None:
        """Raise UnavailableError when no Engine answers or no docker command has BuildKit."""
        with Engine.connect(request.stores) as engine:
            if kind_of(engine).podman:
                raise UnavailableError(
                    f"what answers at '{engine.address}' is podman, which has no BuildKit",
                    hint="use --builder docker, which podman's own builder answers, or --builder buildah",
                )
        _client(request)
        render_dockerfile(request.plan)

    def build(self, request: BuildRequest) -> AbstractContextManager[Image]:
        """Return a context whose value is the built image."""
        return _build(request)


@contextlib.contextmanager
def _build(request: BuildRequest) -> Iterator[Image]:
    client = _client(request)
    with Engine.connect(request.stores) as engine:
        fetch(engine, request)
        preflight(engine, request)
    with Engine.connect(request.stores) as engine, noted(engine, "build") as note:
        key, value = new_label(note)
        try:
            image_id = _run(client, request, f"{key}={value}", note)
            note.add(settled=True)
            found = inspect(engine, image_id)
            if found is None:
                raise RemoteError(f"engine has no image '{image_id}' after the build that made it")
            if request.plan.needs_shell:
                require_shell(engine, image_id, request)
            image = read_image(engine, found, f"docker-daemon:{image_id}")
            yield image.with_config(without_label(image.config, key))
        finally:
            with contextlib.suppress(UnavailableError), Engine.connect(request.stores) as again:
                remove_labelled(again, f"{key}={value}")
                note.close(done=True)


def _run(client: str, request: BuildRequest, label: str, note: Note) -> str:
    with remains.folder(request.stores.environ.get("TMPDIR")) as folder:
        id_file = folder / "id"
        argv = [client, "build", "--progress", "plain", "--label", label, "--iidfile", str(id_file)]
        argv += build_arguments(request)
        argv += ["--no-cache"] if request.no_cache else []
        with context_file(request) as file:
            argv += ["--file", context.DOCKERFILE, "-"]
            environ = {**engine_environ(request.stores.environ), "DOCKER_BUILDKIT": "1"}
            run_build(request, argv, file, environ, silence=patience(request.stores.environ), keep=note.descriptors)
        return id_file.read_text().strip()


def _client(request: BuildRequest) -> str:
    """Return the first docker command on PATH that can build with BuildKit."""
    for path in process.find_all("docker", request.stores.environ.get("PATH")):
        code, said = process.run([path, "version", "--format", "{{.Client.Version}}"], env=request.stores.environ)
        release = said.strip().partition(".")[0]
        if code == 0 and release.isdecimal() and int(release) <= _LAST_WITH_BUILT_IN:
            return path
        if process.run([path, "buildx", "version"], env=request.stores.environ)[0] == 0:
            return path
    raise UnavailableError(
        "no docker command with BuildKit is on PATH",
        hint="install docker's buildx plugin (Debian: docker.io up to release 12 has BuildKit built in)",
    )
