"""The only place that starts programs: an argument list in, lines out, secrets hidden in what is shown."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from runtimeimg.errors import RuntimeimgError, TransientError, UnavailableError
from runtimeimg.remains import held

_GRACE = 10.0
_HANG_UP = 2.0
_PIECE = 64 * 1024
_PR_SET_CHILD_SUBREAPER, _PR_SET_PDEATHSIG = 36, 1


def find(program: str, path: str | None = None) -> str | None:
    """Return the path of a program on `path` (the process's PATH when None), None when there is none."""
    return shutil.which(program, path=path)


def find_all(program: str, path: str | None = None) -> tuple[str, ...]:
    """Return the paths of every program of this name on `path` (the process's PATH when None), in its order."""
    folders = (path if path is not None else os.environ.get("PATH", os.defpath)).split(os.pathsep)
    found = (shutil.which(program, path=folder) for folder in folders if folder)
    return tuple(dict.fromkeys(item for item in found if item))


def run(
    argv: Sequence[str],
    *,
    on_line: Callable[[str], None] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: IO[bytes] | None = None,
    silence: float | None = None,
    keep: Sequence[int] = (),
) -> tuple[int, str]:
    """Run `argv` and return its exit code and standard output.

    `stdin` is an open file that the program reads, `keep` are further descriptors that it has. `on_line` gets each
    line of standard error as it comes, and of standard output too, which is then not collected. When the caller is
    interrupted the program is asked to end (SIGTERM), then made to, and so it is when `on_line` got nothing for
    `silence` seconds, which raises TransientError.
    Raises UnavailableError when there is no such program.
    """
    merged = on_line is not None
    try:
        child = subprocess.Popen(
            list(argv),
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
            pass_fds=tuple(keep),
        )
    except FileNotFoundError:
        raise UnavailableError(f"program '{argv[0]}' is not installed") from None
    name = argv[0].rpartition("/")[2]
    with child:
        try:
            held.add(child, f"program '{name}' (process {child.pid}), told to end", lambda: _told(child))
            if not merged:
                out, err = child.communicate()
                return child.returncode, (out if child.returncode == 0 else err or out).decode("utf-8", "replace")
            assert child.stdout is not None
            assert on_line is not None
            for line in _lines(child.stdout, argv[0], silence):
                on_line(line.decode("utf-8", "replace").rstrip("\r\n"))
            return child.wait(), ""
        except BaseException:
            _end(child)
            raise
        finally:
            held.drop(child)


def answer(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float, limit: int
) -> tuple[int, bytes, str]:
    """Run a program for what it has to say: its exit code, its standard output, and its standard error's last line.

    Raises UnavailableError when it cannot be started, TransientError when it does not end within `timeout` seconds,
    and RuntimeimgError when it writes more than `limit` bytes.
    """
    name = argv[0].rpartition("/")[2]
    with tempfile.TemporaryFile() as errors:
        try:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=None if env is None else dict(env),
            )
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UnavailableError(f"program '{argv[0]}' cannot be started: {reason}") from None
        with child:
            try:
                held.add(child, f"program '{name}' (process {child.pid}), told to end", lambda: _told(child))
                said = _bounded(child, name, timeout, limit)
            except BaseException:
                child.kill()
                raise
            finally:
                held.drop(child)
        size = errors.seek(0, os.SEEK_END)
        errors.seek(max(size - 4096, 0))
        lines = errors.read(4096).decode("utf-8", "replace").split("\n")
    return child.returncode, said, next((line.strip() for line in reversed(lines) if line.strip()), "")


def call(argv: Sequence[str], *, streams: tuple[int, int, int], env: Mapping[str, str], timeout: float) -> int:
    """Run a program on open descriptors for its standard streams, and return its exit code.

    What it starts and leaves may go on with them. Raises UnavailableError when it cannot be started, and TransientError
    when it does not end within `timeout` seconds.
    """
    name = argv[0].rpartition("/")[2]
    stdin, stdout, stderr = streams
    with _started(argv, stdin=stdin, stdout=stdout, stderr=stderr, env=dict(env)) as child:
        try:
            held.add(child, f"program '{name}' (process {child.pid}), told to end", lambda: _told(child))
            return child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            raise TransientError(f"program '{name}' did not end within {timeout:.0f} seconds") from None
        except BaseException:
            _end(child)
            raise
        finally:
            held.drop(child)


def leave(argv: Sequence[str], *, env: Mapping[str, str], keep: Sequence[int]) -> None:
    """Start a program that goes on when this one has ended: in a session of its own, with no streams but `keep`."""
    null = subprocess.DEVNULL
    child = _started(
        argv, stdin=null, stdout=null, stderr=null, env=dict(env), pass_fds=tuple(keep), start_new_session=True
    )
    child.returncode = 0  # nobody waits for it


def _started(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(list(argv), **options)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnavailableError(f"program '{argv[0]}' cannot be started: {reason}") from None


def adopt_orphans() -> None:
    """Become the parent of what programs started here leave behind (prctl(2), PR_SET_CHILD_SUBREAPER).

    Their ends can then be waited for.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise UnavailableError(f"processes cannot be waited for here: {os.strerror(number).lower()}")


def end_with(parent: int) -> None:
    """Have this process killed when the thread of `parent` ends that forked it (prctl(2), PR_SET_PDEATHSIG)."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before it could be asked for
        os._exit(1)


def _bounded(child: subprocess.Popen[bytes], name: str, timeout: float, limit: int) -> bytes:
    """Return all that a program writes until it ends."""
    assert child.stdout is not None
    until, data = time.monotonic() + timeout, b""
    late = TransientError(f"program '{name}' did not end within {timeout:.0f} seconds")
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(until - time.monotonic(), 0)):
                raise late
            piece = os.read(child.stdout.fileno(), _PIECE)
            if not piece:
                break
            data += piece
            if len(data) > limit:
                raise RuntimeimgError(f"program '{name}' wrote more than {limit} bytes")
    try:
        child.wait(max(until - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        raise late from None
    return data


def _told(child: subprocess.Popen[bytes]) -> bool:
    """Tell a program to end, and whether it has."""
    child.send_signal(signal.SIGTERM)
    return child.poll() is not None


def _lines(pipe: IO[bytes], program: str, silence: float | None) -> Iterator[bytes]:
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(silence):
                raise TransientError(f"program '{program.rpartition('/')[2]}' said nothing for {silence:.0f} seconds")
            data = os.read(pipe.fileno(), _PIECE)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            yield from lines
            if len(rest) >= _PIECE:  # a line without an end is handed over as it comes
                yield rest
                rest = b""
    if rest:
        yield rest


def _end(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE)
    if child.poll() is None:
        child.kill()


class Dialled:
    """A program whose standard input and output are a connection; `socket` is our end of it."""

    def __init__(self, child: subprocess.Popen[bytes], ours: socket.socket, errors: IO[bytes]) -> None:
        self.socket = ours
        self._child = child
        self._errors = errors

    def said(self) -> str:
        """Return the last of what the program wrote to standard error; one that has hung up is waited for."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_HANG_UP)
        if self._errors.closed:
            return ""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(size - 4096, 0))
        return self._errors.read(4096).decode("utf-8", "replace")

    def end(self) -> None:
        """Hang up, and see that the program ends."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_HANG_UP)
        if self._child.poll() is None:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_HANG_UP)
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._errors.close()


def dial(argv: Sequence[str], *, env: Mapping[str, str]) -> Dialled:
    """Start a program to talk through it; UnavailableError when there is no such program.

    It is in a session of its own: a Ctrl-C is for whoever talks through it, who may have to clean up over there.
    """
    ours, theirs = socket.socketpair()
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by Dialled.end
    try:
        with theirs:
            child = subprocess.Popen(
                list(argv),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=errors,
                env=dict(env),
                start_new_session=True,
            )
    except OSError as error:
        ours.close()
        errors.close()
        if isinstance(error, FileNotFoundError):
            raise UnavailableError(f"program '{argv[0]}' is not installed") from None
        reason = (error.strerror or str(error)).lower()
        raise UnavailableError(f"program '{argv[0]}' cannot be started: {reason}") from None
    return Dialled(child, ours, errors)


def redacted(argv: Sequence[str], secrets: Sequence[str] = ()) -> str:
    """Return a command line for people, quoted for a shell, with each of `secrets` replaced by `***`."""
    import shlex

    line = shlex.join(argv)
    for secret in secrets:
        if secret:
            line = line.replace(secret, "***")
    return line
