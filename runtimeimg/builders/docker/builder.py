"""The builder on a Docker Engine: its classic builder, driven through the Engine API."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import ClassVar

from runtimeimg.builders import context
from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.docker.images import fetch, preflight, require_shell
from runtimeimg.builders.docker.stream import BuildStream, Transcript
from runtimeimg.builders.sources import find_all_sources
from runtimeimg.errors import (
    BuildFailed,
    NotFoundError,
    RemoteError,
    RuntimeimgError,
    TransientError,
    UnavailableError,
)
from runtimeimg.image import Image
from runtimeimg.remains import Note
from runtimeimg.render import render_dockerfile, trace
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.engine import Engine, builds
from runtimeimg.stores.engine.config import without_noise
from runtimeimg.stores.engine.images import inspect, read_image
from runtimeimg.stores.engine.unfinished import building, new_note, sweep

STOPPING = 15.0
"""Seconds that an interrupted build is given to end its step and remove its container."""
RECONNECT = 10.0
"""Seconds that an Engine which went away is waited for."""

_PAUSE = 0.25

_LEFT_HINT = (
    "the Docker Engine did not come back to be tidied up: 'docker container prune' and 'docker image prune' remove "
    "what the build may have left"
)


class DockerBuilder:
    """Builds Dockerfile.runtime on the Engine; what it made on the way is gone afterwards.

    The yielded image has one step of history more than what was built. Written back to the same Engine under a name,
    it becomes a child of the built image, so the next build finds every step in the Engine's cache; otherwise the
    built image is removed.
    """

    name: ClassVar[str] = "docker"

    def check(self, request: BuildRequest) -> None:
        """Raise UnavailableError when no Engine answers, UsageError for a plan that a Dockerfile cannot say."""
        Engine.connect(request.stores).close()
        render_dockerfile(request.plan)

    def build(self, request: BuildRequest) -> AbstractContextManager[Image]:
        """Return a context whose value is the built image."""
        return _build(request)


@contextlib.contextmanager
def _build(request: BuildRequest) -> Iterator[Image]:
    with Engine.connect(request.stores) as engine:
        fetch(engine, request)
        sources = find_all_sources(request)
        preflight(engine, request)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(building())
            note = stack.enter_context(_noted(request))
            tmp = request.stores.environ.get("TMPDIR") or None
            transcript = stack.enter_context(Transcript(request.stores.progress, tmp, note))
            yield _built(request, sources, transcript)
    except (RuntimeimgError, OSError) as error:
        if not _sweep_later(request.stores):
            raise RemoteError(str(error), hint=_LEFT_HINT) from None
        raise
    except BaseException:
        _sweep_later(request.stores)
        raise
    if not _sweep_later(request.stores):
        request.stores.progress.line(_LEFT_HINT)


@contextlib.contextmanager
def _noted(request: BuildRequest) -> Iterator[Note]:
    """Yield the note of a build; once the context is left, whoever sweeps the Engine next removes what is in it."""
    with Engine.connect(request.stores) as engine:
        note = new_note(engine, "build")
        try:
            builds.begin(engine, note, render_dockerfile(request.plan))
            yield note
        finally:
            note.close(done=False)


def _built(request: BuildRequest, sources: list[context.Source], transcript: Transcript) -> Image:
    with Engine.connect(request.stores) as engine:
        _run(engine, request, sources, transcript)
        found = inspect(engine, transcript.image_id or "")
        if found is None:
            raise RemoteError("engine ended the build without an image")
        if request.plan.needs_shell:
            require_shell(engine, str(found["Id"]), request)
        image = read_image(engine, found, f"docker-daemon:{found['Id']}")
    if request.engine_platform is not None and not image.platform.matches(request.engine_platform):
        raise BuildFailed(f"the engine built for {image.platform}, not for {request.engine_platform}")
    return _continued(image)


def _sweep_later(options: StoreOptions) -> bool:
    """Remove what was noted once the Engine is back; return whether it came back in time."""
    until = time.monotonic() + RECONNECT
    while True:
        try:
            with Engine.connect(options) as engine:
                sweep(engine)
                return True
        except (RemoteError, TransientError, NotFoundError, UnavailableError):
            if time.monotonic() > until:
                return False
        time.sleep(_PAUSE)


def _continued(image: Image) -> Image:
    """Return the image without traces of the build's containers, and one step on in its history."""
    config = without_noise(image.config)
    step = {"created": config.data.get("created"), "created_by": "runtimeimg", "empty_layer": True}
    history = [*config.history, {key: value for key, value in step.items() if value is not None}]
    return image.with_config(config.evolve(history=history))


def _run(engine: Engine, request: BuildRequest, sources: list[context.Source], transcript: Transcript) -> None:
    """Run the build to its end; raise BuildFailed when a step fails."""
    dockerfile = render_dockerfile(request.plan)
    response = engine.call(
        "POST",
        "/build",
        params={
            "dockerfile": context.DOCKERFILE,
            "rm": True,
            "forcerm": True,
            "nocache": request.no_cache,
            "platform": str(request.engine_platform) if request.engine_platform else None,
            "buildargs": dict(request.build_args) or None,
            "networkmode": request.network,
        },
        data=context.stream(dockerfile, sources),
        headers={"Content-Type": "application/x-tar"},
        patient=True,
    )
    with contextlib.closing(BuildStream(engine, response)) as stream:
        try:
            for message in stream:
                transcript.take(message)
        except RuntimeimgError:
            raise
        except BaseException:
            for message in stream.stop(STOPPING):
                transcript.take(message)
            transcript.finish()
            raise
    transcript.finish()
    if transcript.error is not None:
        raise _failure(request, transcript)


def _failure(request: BuildRequest, transcript: Transcript) -> BuildFailed:
    steps = trace(request.plan)
    origin = steps[transcript.step - 1].origin if 0 < transcript.step <= len(steps) else ""
    folder = request.cache_dir / "logs" if request.cache_dir else None
    return BuildFailed(
        f"build failed: {transcript.error}",
        step=transcript.instruction,
        origin=request.place(origin) if origin else None,
        output=tuple(transcript.tail),
        log=transcript.keep_log(folder),
    )
