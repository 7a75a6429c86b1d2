"""Standard input, output and error as the command line needs them: there, and clear about what cannot be written."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(OSError):
    """Standard output takes no more, for the reason that is its text; `gone` when its reader went away.

    It has no number: click ends quietly on the one of a broken pipe.
    """

    def __init__(self, reason: str, *, gone: bool) -> None:
        super().__init__(reason)
        self.gone = gone


class _Output(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OutputError(reason, gone=isinstance(error, BrokenPipeError)) from None


class _Messages(io.FileIO):
    """Messages that nobody takes are lost; the work that they tell of goes on."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def prepare() -> None:
    """Put files in the place of streams that are closed, and have those of output tell what becomes of it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The next file that is opened would take the number, and be written to as if it were the output.
            os.open(os.devnull, os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 - it stays open
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr)


def finish() -> OutputError | None:
    """Write what is left of the output; return why that is not possible, after which it goes nowhere."""
    try:
        sys.stdout.flush()
    except OutputError as error:
        with contextlib.suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.close(null)
        return error
    return None


def _text(raw: io.FileIO, before: TextIO | None) -> TextIO:
    """Return a text file on `raw` as the one of `before`, None where that was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before is not None else "utf-8",
        errors=(before.errors if before is not None else None) or "backslashreplace",
        line_buffering=before is None or before.isatty() or raw.fileno() == 2,
    )
