"""Notes of what may be left elsewhere than on the disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO, Any

from runtimeimg.remains.places import NOTE, in_place, new_locked, place, remove_place, take
from runtimeimg.remains.register import held

_MAX_NOTE = 64 << 20


class Note:
    """What may be left on an Engine, told before it is made; `file` is None where there is no place for a note."""

    def __init__(self, file: IO[bytes] | None, tmp: str | None) -> None:
        self._file = file
        self._tmp = tmp
        self.key: object = id(self) if file is None else file.name

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return what a program that goes on without us has to inherit so that the note is not taken for abandoned."""
        return () if self._file is None else (self._file.fileno(),)

    def add(self, **facts: Any) -> None:
        """Add a line."""
        import json

        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk: it is done without
                self._file.write(json.dumps(facts).encode() + b"\n")

    def close(self, *, done: bool) -> None:
        """Let go of it; unless all is `done`, it is then as that of a process that was killed."""
        if self._file is not None:
            if done:
                Path(self._file.name).unlink(missing_ok=True)
                remove_place(self._tmp)
            self._file.close()
            self._file = None
        if done:
            held.drop(self.key)


def note(shown: str, tmp: str | None = None) -> Note:
    """Return a new note; `shown` says for people what it is about. The caller closes it."""
    made = None
    with contextlib.suppress(OSError):
        made = in_place(tmp, lambda where: new_locked(where, NOTE))
    found = Note(made, tmp)
    held.add(found.key, shown)
    return found


def abandoned_notes(tmp: str | None = None) -> list[tuple[Note, list[dict[str, Any]], float]]:
    """Return notes whose owner is no more, their lines, and the time of the last; the caller closes them."""
    import json

    where = place(tmp)
    found = []
    for path in sorted(where.glob(f"*{NOTE}")) if where is not None else ():
        file = take(path)
        if file is None:
            continue
        lines = []
        for line in (file.read(_MAX_NOTE) or b"").splitlines():
            with contextlib.suppress(ValueError):  # a line that was not finished
                lines.append(json.loads(line))
        written = os.fstat(file.fileno()).st_mtime
        found.append((Note(file, tmp), [line for line in lines if isinstance(line, dict)], written))
    return found
