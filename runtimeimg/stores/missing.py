"""Names that lead to no image: what was looked for, as what, where, and what may be meant instead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from runtimeimg.errors import NotFoundError, RemoteError, RuntimeimgError, TransientError, UnavailableError
from runtimeimg.oci import Descriptor, Location
from runtimeimg.text import message as shown


@contextlib.contextmanager
def named(role: str, location: Location) -> Iterator[None]:
    """Have an image that cannot be had called by its role, such as `base image`, and offer a path of its name."""
    try:
        yield
    except (NotFoundError, RemoteError, TransientError, UnavailableError) as error:
        raise as_role(error, role, location) from error


def as_role(error: RuntimeimgError, role: str, location: Location) -> RuntimeimgError:
    """Return `error` with the image called by its role; a second role is not added."""
    message = error.message
    if message.startswith("image '"):
        message = f"{role}{message.removeprefix('image')}"
    elif f"image '{location}'" not in message:
        message = f"{role} '{location}': {message}"
    return same_kind(error, message, path_hint(location) or error.hint)


def nowhere(remote: RuntimeimgError, location: Location, local: RuntimeimgError) -> RuntimeimgError:
    """Return the error for a bare name: what the Engine (`local`) and what the registry said, in one."""
    engine = "the Docker Engine does not have it" if isinstance(local, NotFoundError) else "no Docker Engine answers"
    said, hint = remote.message, remote.hint
    if isinstance(remote, NotFoundError) and said.endswith("' does not exist") and hint is not None:
        said, hint = hint, None  # which registry was asked and what it has not
    else:
        said = said.replace(f"image '{location}' is", "it is", 1)
    return same_kind(remote, f"image '{location}' was not found: {engine}, and {said}", path_hint(location) or hint)


def same_kind(error: RuntimeimgError, message: str, hint: str | None) -> RuntimeimgError:
    """Return an error of the same kind and exit code with another text."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == RuntimeimgError.__module__)
    return kind(message, hint=hint)  # type: ignore[no-any-return]


def elsewhere(descriptor: Descriptor) -> str | None:
    """Return a hint for a blob that a store has not, where its descriptor says that it is kept elsewhere."""
    if not descriptor.urls:
        return None
    place = shown(descriptor.urls[0])[:200]
    return f"it is said to be kept at '{place}', from where nothing is fetched: put it into the store"


def path_hint(location: Location | str) -> str | None:
    """Return what to write for a file or folder that is called like the image, None where there is none."""
    if isinstance(location, str):
        texts = [location, location.rpartition(":")[0]]
    elif location.transport is None and location.reference is not None:
        texts = [location.reference.familiar, str(location.reference.familiar).partition(":")[0]]
    else:
        return None
    for text in filter(None, texts):
        path = Path(text)
        with contextlib.suppress(OSError, ValueError):
            if (path / "index.json").is_file():
                return f"the folder '{text}' is an OCI layout: write oci:{text}"
            if path.is_file():
                return f"there is a file '{text}': write oci-archive:{text} or docker-archive:{text}"
            if path.is_dir():
                return f"there is a folder '{text}', which is no image; as the builder's files it is dir:{text}"
    return None
