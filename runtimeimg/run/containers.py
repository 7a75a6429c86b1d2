"""Containers on the Engine: made, started, waited for, signalled and removed."""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from runtimeimg.errors import NotFoundError, RemoteError
from runtimeimg.run.attended import StartFailed
from runtimeimg.stores.engine import Engine
from runtimeimg.stores.engine.unfinished import new_label, noted

if TYPE_CHECKING:
    import requests

# What container runtimes say of a program that is not there or may not be run; the codes are those of `docker run`.
_NOT_FOUND = ("executable file not found", "no such file or directory", "not a directory")
_NOT_EXECUTABLE = ("permission denied", "exec format error", "is a directory")


def create(engine: Engine, body: Mapping[str, Any], name: str | None = None) -> str:
    """Create a container and return its id."""
    with engine.call("POST", "/containers/create", params={"name": name}, body=body) as response:
        return str(response.json()["Id"])


@contextlib.contextmanager
def unstarted(engine: Engine, body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the id of a container that is made to be looked into, never started, and removed."""
    with noted(engine) as note:
        labels = {**body.get("Labels", {}), **dict([new_label(note)])}
        container = create(engine, {**body, "Labels": labels})
        note.add(settled=True)
        try:
            yield container
        finally:
            remove(engine, container)
            note.close(done=True)


@contextlib.contextmanager
def archive(engine: Engine, container: str, path: str) -> Iterator[tarfile.TarFile]:
    """Yield what is at `path` of a container, as a tar archive that is read once."""
    headers = {"Accept-Encoding": "identity"}
    response = engine.call("GET", f"/containers/{container}/archive", params={"path": path}, headers=headers)
    with response, tarfile.open(fileobj=response.raw, mode="r|") as opened:
        yield opened


def put(engine: Engine, container: str, path: str, archive: IO[bytes]) -> None:
    """Unpack a tar archive at `path` of a container, which is a folder there."""
    headers = {"Content-Type": "application/x-tar"}
    target = f"/containers/{container}/archive"
    engine.call("PUT", target, params={"path": path}, data=archive, headers=headers, patient=True).close()


def start(engine: Engine, container: str) -> None:
    """Start a container; StartFailed says what the Engine said."""
    try:
        engine.call("POST", f"/containers/{container}/start", patient=True).close()
    except RemoteError as error:
        raise start_failed(str(error)) from None
    except NotFoundError as error:
        # Engines answer 404 for a program that is not in the image, too.
        raise start_failed(str(error)) from None


def start_failed(message: str) -> StartFailed:
    """Return the error for what an Engine says of a container that it could not start."""
    low = message.lower()
    is_program = "exec:" in low or "oci runtime" in low
    if is_program and any(sign in low for sign in _NOT_FOUND):
        return StartFailed(message, code=127)
    return StartFailed(message, code=126 if is_program and any(sign in low for sign in _NOT_EXECUTABLE) else 125)


def wait(engine: Engine, container: str, *, removed: bool) -> requests.Response:
    """Begin to wait for the end of a container that is not started yet; the answer's body comes at its end."""
    condition = "removed" if removed else "next-exit"
    return engine.call("POST", f"/containers/{container}/wait", params={"condition": condition}, endless=True)


def inspect(engine: Engine, container: str) -> dict[str, Any] | None:
    """Return what the Engine knows of a container, None when there is none."""
    try:
        found: dict[str, Any] = engine.get(f"/containers/{container}/json")
    except NotFoundError:
        return None
    return found


def kill(engine: Engine, container: str, signal: str) -> None:
    """Send a signal, as `TERM`; nothing happens when the container has ended."""
    with contextlib.suppress(NotFoundError, RemoteError):  # 409: it is not running
        engine.call("POST", f"/containers/{container}/kill", params={"signal": signal}).close()


def stop(engine: Engine, container: str, seconds: float) -> None:
    """Send a container its stop signal, and KILL after `seconds`; returns when it has ended."""
    with contextlib.suppress(NotFoundError):
        path = f"/containers/{container}/stop"
        try:
            engine.call("POST", path, params={"t": max(0, round(seconds))}, patient=True).close()
        except RemoteError as error:
            # It has ended, but podman cannot remove it by itself before those that share its network.
            if "has dependent containers" not in str(error):
                raise


def resize(engine: Engine, container: str, rows: int, columns: int) -> None:
    """Tell the container's terminal its size."""
    with contextlib.suppress(NotFoundError, RemoteError):
        engine.call("POST", f"/containers/{container}/resize", params={"h": rows, "w": columns}).close()


def remove(engine: Engine, container: str) -> None:
    """Remove a container whatever it does, with its anonymous volumes; nothing happens when it is gone."""
    with contextlib.suppress(NotFoundError):
        try:
            engine.call("DELETE", f"/containers/{container}", params={"force": True, "v": True}, patient=True).close()
        except RemoteError as error:
            if "already in progress" not in str(error):
                raise


def has_init(engine: Engine) -> bool:
    """Tell whether the Engine has the small init that it can put before a program."""
    components = engine.get("/version").get("Components") or ()
    return any(item.get("Name") == "docker-init" and item.get("Version") for item in components)
