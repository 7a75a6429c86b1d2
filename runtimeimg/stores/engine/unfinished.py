"""What a command that was killed has left on an Engine, removed by the next one that talks to that Engine.

A command notes what it is about to make (`remains.Note`, a line each), so nothing is removed but what a process of this
user that is no more has noted:

    {"engine": URL}       the first line
    {"label": "K=V"}      containers that carry the label are to go, and images that carry it and no name
    {"name": NAME}        a passing name is to go
    {"replaced": ID}      an image whose name was about to move is to go once it has none, if it carries our stamp
    {"before": ...}       a build by the classic builder: IDs of what was there; then what it told (`builds`)
    {"settled": true}     the Engine has answered to the end: nothing will come of it any more
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from runtimeimg import remains
from runtimeimg.errors import NotFoundError, RemoteError, RuntimeimgError
from runtimeimg.runtimegraph import VERSION_LABEL

if TYPE_CHECKING:
    from runtimeimg.remains import Note
    from runtimeimg.stores.engine.connection import Engine

BUILD_LABEL = "dev.runtimeimg.build"
"""On containers and images that a build makes on its way; none is on an image that is written."""

_SETTLING = 2.0  # seconds in which an Engine is done with what it was at when its client was killed
_PAUSE = 0.1
_BUILDS = "builds"
_OLD = 7 * 86400.0


@contextlib.contextmanager
def noted(engine: Engine, what: str = "work") -> Iterator[Note]:
    """Return a context whose value is a note of what may be left on the Engine; done with when nothing went wrong.

    When something did, whoever uses it closes the note once all is removed, or the next command sees to it.
    """
    note = new_note(engine, what)
    try:
        yield note
    except BaseException:
        note.close(done=False)
        raise
    note.close(done=True)


def new_note(engine: Engine, what: str) -> Note:
    """Return a note of `what` is done on the Engine; the caller closes it."""
    note = remains.note(f"unfinished {what} on the Engine at '{engine.address}'; the next command there removes it")
    note.add(engine=engine.address)
    return note


def new_label(note: Note) -> tuple[str, str]:
    """Return a label for what is to be removed, noted."""
    value = uuid.uuid4().hex
    note.add(label=f"{BUILD_LABEL}={value}")
    return BUILD_LABEL, value


@contextlib.contextmanager
def building() -> Iterator[None]:
    """Hold the sweeping off, as long as the context is open, of what builds of this user have noted."""
    with remains.lock(_BUILDS, shared=True):
        yield


def sweep(engine: Engine) -> None:
    """Remove what was noted for this Engine by processes that are no more; RuntimeimgError when it cannot be asked.

    Images stay while builds are at work, which may have found them in the Engine's cache; the last build removes them.
    """
    if remains.place() is None:
        return
    with contextlib.ExitStack() as stack:
        notes = []
        alone = stack.enter_context(remains.lock(_BUILDS, seconds=0))
        for note, lines, written in remains.abandoned_notes():
            stack.callback(note.close, done=False)
            mine = bool(lines) and lines[0].get("engine") == engine.address
            if not lines or (not mine and time.time() - written > _OLD):
                note.close(done=True)
            elif mine and (alone or not any({"before", "replaced"} & line.keys() for line in lines)):
                notes.append((note, lines))
        until = time.monotonic() + _SETTLING
        while notes:
            over = time.monotonic() > until
            for item in list(notes):
                note, lines = item
                if _remove_all(engine, lines) or over or any("settled" in line for line in lines):
                    note.close(done=True)
                    notes.remove(item)
            if notes:
                time.sleep(_PAUSE)


def sweep_quietly(engine: Engine) -> None:
    """Do the same where it is no matter of the command at hand: what goes wrong is for a later one."""
    with contextlib.suppress(RuntimeimgError, OSError, KeyError, TypeError, ValueError):
        sweep(engine)


def _remove_all(engine: Engine, lines: list[dict[str, Any]]) -> bool:
    """Remove what was noted; tell whether that was what the Engine was at last, so that no more comes."""
    from runtimeimg.stores.engine import builds

    found = []
    for line in lines:
        if "label" in line:
            found.append(remove_labelled(engine, str(line["label"])))
        elif "name" in line:
            remove_image(engine, str(line["name"]), force=True)
        elif "replaced" in line:
            found.append(remove_replaced(engine, str(line["replaced"])))
        elif "before" in line:
            found.append(builds.sweep(engine, builds.read(lines)))
    return any(found)


def remove_labelled(engine: Engine, label: str) -> bool:
    """Remove the containers that carry a label, and images that carry it and no name; tell whether there were any."""
    filters = {"label": [label]}
    found = [
        remove_container(engine, str(item["Id"])) for item in engine.get("/containers/json", all=True, filters=filters)
    ]
    images = engine.images(every=True, filters=filters)
    found += [remove_image(engine, str(image["Id"])) for image in images if unnamed(image)]
    return any(found)


def remove_replaced(engine: Engine, image_id: str) -> bool:
    """Remove an image that lost its last name, if this program made it; tell whether it is gone.

    One that a container uses stays.
    """
    from runtimeimg.stores.engine.connection import quoted

    try:
        found = engine.get(f"/images/{quoted(image_id)}/json")
    except NotFoundError:
        return True
    labels = (found.get("Config") or {}).get("Labels") or {}
    return not found.get("RepoTags") and VERSION_LABEL in labels and _delete(engine, f"/images/{quoted(image_id)}")


def remove_image(engine: Engine, name: str, **params: object) -> bool:
    """Remove an image alone, not those that it was built on; False when something uses it, or it is gone."""
    from runtimeimg.stores.engine.connection import quoted

    return _delete(engine, f"/images/{quoted(name)}", noprune=True, **params)


def remove_container(engine: Engine, container: str) -> bool:
    """Remove a container with its anonymous volumes; False when it is gone."""
    return _delete(engine, f"/containers/{container}", force=True, v=True)


def unnamed(entry: dict[str, Any]) -> bool:
    """Tell whether an image of the Engine's list carries no name."""
    names = [*(entry.get("RepoTags") or ()), *(entry.get("RepoDigests") or ())]
    return all(name.startswith("<none>") for name in names)


def _delete(engine: Engine, path: str, **params: object) -> bool:
    """Remove one thing; False when something uses it, or another has removed it already."""
    try:
        engine.call("DELETE", path, params=params).close()
    except NotFoundError:
        return False
    except RemoteError:
        engine.get("/version")  # an Engine that went away is another matter than one that refused
        return False
    return True
