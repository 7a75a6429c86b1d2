"""What the builders that are driven by a command share: the context as a file, and a failed build as an error."""

from __future__ import annotations

import contextlib
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from runtimeimg import process
from runtimeimg.builders import context
from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.sources import find_all_sources
from runtimeimg.builders.steps import Steps
from runtimeimg.errors import BuildFailed
from runtimeimg.hostfile import explained
from runtimeimg.render import render_dockerfile

TAIL = 20
"""Lines of output that an error shows."""


@contextlib.contextmanager
def context_file(request: BuildRequest) -> Iterator[IO[bytes]]:
    """Yield the build context as an open temporary file, which is gone with the context."""
    folder = request.stores.environ.get("TMPDIR") or tempfile.gettempdir()
    with contextlib.ExitStack() as stack:
        with explained(Path(folder)):
            file = stack.enter_context(tempfile.TemporaryFile(prefix="runtimeimg-", dir=folder))
            file.writelines(context.stream(render_dockerfile(request.plan), find_all_sources(request)))
            file.seek(0)
        yield file


def build_arguments(request: BuildRequest) -> list[str]:
    """Return the options that docker and buildah spell alike."""
    options = []
    if request.network:
        options += ["--network", request.network]
    if request.engine_platform:
        options += ["--platform", str(request.engine_platform)]
    for name, value in request.build_args.items():
        options += ["--build-arg", f"{name}={value}"]
    return options


def run_build(
    request: BuildRequest,
    argv: Sequence[str],
    stdin: IO[bytes] | None,
    environ: Mapping[str, str],
    *,
    silence: float | None = None,
    keep: Sequence[int] = (),
) -> tuple[str, ...]:
    """Run a build, its output shown as it comes, and return its last lines; BuildFailed when it fails.

    One that says nothing for `silence` seconds is ended (TransientError). It has the descriptors `keep`, too.
    """
    tail: deque[str] = deque(maxlen=TAIL)
    steps = Steps(request)

    def show(line: str) -> None:
        tail.append(line)
        steps.take(line)
        request.stores.progress.line(line)

    code, _ = process.run(argv, on_line=show, env=environ, stdin=stdin, silence=silence, keep=keep)
    if code:
        secrets = list(request.build_args.values())
        raise BuildFailed(
            f"build failed: {argv[0].rpartition('/')[2]} ended with exit code {code}",
            step=steps.instruction or process.redacted(argv, secrets),
            origin=steps.origin,
            output=tuple(tail),
        )
    return tuple(tail)
