"""Folders to work in, known by a lock beside them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from runtimeimg.remains.places import FILE, LOCK, NOTE, in_place, new_locked, remove_place, removed, taken
from runtimeimg.remains.register import held


@contextlib.contextmanager
def folder(tmp: str | None = None) -> Iterator[Path]:
    """Return a context whose value is a new folder below `tmp`, gone when it is left."""
    with contextlib.ExitStack() as stack:
        stack.callback(remove_place, tmp)
        made = in_place(tmp, lambda where: stack.enter_context(locked_folder(where)))
        if made is None:
            from tempfile import TemporaryDirectory

            made = Path(stack.enter_context(TemporaryDirectory(prefix="runtimeimg-", dir=tmp)))
        yield made


@contextlib.contextmanager
def locked_folder(where: Path) -> Iterator[Path]:
    """Return a context whose value is a new folder in `where`, gone when it is left, else with `sweep_folders`."""
    with new_locked(where, LOCK) as file:
        name = Path(file.name)
        made = name.with_suffix("")

        def remove() -> bool:
            if not removed(made):
                return False
            name.unlink(missing_ok=True)
            return True

        held.add(made, f"folder '{made}'", remove)
        try:
            made.mkdir(mode=0o700)
            yield made
        finally:
            if remove():
                held.drop(made)


@contextlib.contextmanager
def locked_file(where: Path) -> Iterator[Path]:
    """Return a context whose value is a new file in `where` that carries its lock itself, gone when it is left."""
    with new_locked(where, "") as file:
        path = Path(file.name)

        def remove() -> bool:
            path.unlink(missing_ok=True)
            return True

        held.add(path, f"file '{path}'", remove)
        try:
            yield path
        finally:
            if remove():
                held.drop(path)


def sweep_folders(where: Path) -> None:
    """Remove the folders in `where`, and files that carry their lock themselves, whose owner is no more."""
    with contextlib.suppress(OSError), os.scandir(where) as entries:
        for entry in list(entries):
            path = Path(entry.path)
            if path.suffix in {FILE, NOTE} or not entry.is_file(follow_symlinks=False):
                continue
            with taken(path) as file:
                if file is not None and (path.suffix != LOCK or removed(path.with_suffix(""))):
                    path.unlink(missing_ok=True)
