"""The last lines of a build: where it went, how large it is, what was moved, and how to run it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from runtimeimg.text import human_size

if TYPE_CHECKING:
    from runtimeimg.account import Account
    from runtimeimg.build import Built
    from runtimeimg.builders import BuildRequest

_DAEMON = "docker-daemon:"


def summary(built: Built, request: BuildRequest) -> Iterator[str]:
    """Yield the lines; sizes are told where they are known without asking for more."""
    for item in built.written:
        yield f"wrote {item.name} ({item.descriptor.digest if item.descriptor else item.image_id})"
    if sizes := _sizes(built, request):
        yield sizes
    if moved := _moved(request.stores.account):
        yield moved
    if built.written:
        yield f"to run it: runtimeimg run {built.written[0].name.removeprefix(_DAEMON)}"


def _sizes(built: Built, request: BuildRequest) -> str:
    """Return the size of the image, beside the builder image's where both are counted in the same way."""
    from runtimeimg.image.values import stored_size

    known = request.stores.account.sizes
    size = next((known[item.name] for item in built.written if item.name in known), None)
    size = size or (stored_size(built.images[0]) if len(built.images) == 1 else None)
    if size is None:
        return ""
    told = f"image {human_size(size[0])}" + (" compressed" if size[1] == "stored" else "")
    builder = known.get(str(request.plan.builder))
    if builder is None or builder[1] != size[1] or request.plan.builder == request.plan.base:
        return told
    less = f": {human_size(builder[0] - size[0])} saved" if builder[0] > size[0] else ""
    return f"{told}, builder image {human_size(builder[0])}{less}"


def _moved(account: Account) -> str:
    """Return what was moved and what had not to be; empty where nothing was counted."""
    bytes_of = {
        "downloaded": account.downloaded_bytes,
        "uploaded": account.uploaded_bytes,
        "mounted": account.mounted_bytes,
        "read from the Engine": account.read_bytes,
    }
    parts = [f"{what} {human_size(count)}" for what, count in bytes_of.items() if count]
    counts = {"blobs there already": account.existing_blobs, "cache hits": account.cache_hits}
    parts += [f"{what}: {count}" for what, count in counts.items() if count]
    return ", ".join(parts)
