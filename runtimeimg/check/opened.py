"""Images opened for the rules: their files, those of the image they were copied from, and where their base ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from runtimeimg.account import Account
from runtimeimg.cache import Cache, work_folder
from runtimeimg.check.facts import Facts
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.view import View
from runtimeimg.errors import (
    InvalidDocumentError,
    NotFoundError,
    RemoteError,
    TransientError,
    UnavailableError,
    UsageError,
)
from runtimeimg.image import Image
from runtimeimg.oci import Digest, Location, Reference
from runtimeimg.plan import Copy
from runtimeimg.stamp import BASE_DIGEST, BASE_NAME
from runtimeimg.stores import StoreOptions, open_one

_LEVELS = {"v4": 4, "v3": 3, "v2": 2}


@contextlib.contextmanager
def opened(
    image: Image,
    *,
    cache: Cache | None,
    account: Account,
    base: Image | None = None,
    builder: Image | None = None,
    copies: tuple[Copy, ...] = (),
    copied_from: str = "",
) -> Iterator[Facts]:
    """Return a context whose value is an image to be checked, see `Facts`; leaving it gives up what was read of it."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(work_folder(cache))
        reader = stack.enter_context(Reader(cache=cache, account=account, folder=folder))
        yield Facts(
            view=View(image, reader),
            base_layers=_shared(image, base) if base is not None else None,
            origin=builder,
            copies=copies,
            copied_from=copied_from,
            open_builder=partial(View, builder, reader) if builder is not None else None,
            levels=tuple(f"x86-64-v{level}" for level in range(_LEVELS.get(image.platform.variant or "", 1), 1, -1)),
        )


def _shared(image: Image, base: Image) -> int | None:
    """Return how many layers of an image are its base's, None where it does not stand on all of that."""
    count = len(base.layers)
    same = [layer.diff_id for layer in image.layers[:count]] == [layer.diff_id for layer in base.layers]
    return count if same else None


def base_of(image: Image, options: StoreOptions) -> Image | None:
    """Return the base that an image names and that is still there (annotations.md, `...image.base.name`).

    What an image says is a name of an image, and never a file of this machine. It is asked for once.
    """
    said = {**image.config.labels, **image.annotations}
    name, digest = said.get(BASE_NAME), said.get(BASE_DIGEST)
    if not name:
        return None
    with contextlib.suppress(
        InvalidDocumentError, NotFoundError, RemoteError, TransientError, UnavailableError, UsageError
    ):
        once = replace(options, attempts=1, retry_time=0.0)
        reference = Reference.parse(name)
        if digest is not None:
            reference = replace(reference, digest=Digest.parse(digest))
        return open_one(Location(transport=None, reference=reference), image.platform, once)
    return None
