"""An image's layers as a root file system on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtimeimg import remains
from runtimeimg.account import Account
from runtimeimg.errors import InvalidDocumentError, RuntimeimgError, UsageError
from runtimeimg.hostfile import explained, system_error
from runtimeimg.image import Image, Layer
from runtimeimg.image.layertar import Entry
from runtimeimg.image.tarheader import TarFormatError, shown
from runtimeimg.progress import Progress, Silent
from runtimeimg.remains.trees import remove_tree
from runtimeimg.stores.verify import once_more
from runtimeimg.unpack.applying import Applying
from runtimeimg.unpack.folders import Folders
from runtimeimg.unpack.making import Maker
from runtimeimg.unpack.streams import LayerStream

_AHEAD = 2  # layers that are read while the one before is applied


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What was made: entries of all layers, and how often something was left out, by what it is (see making.Maker)."""

    entries: int
    left_out: Mapping[str, int]


def unpack(
    image: Image,
    target: Path,
    *,
    rootless: bool = False,
    progress: Progress | None = None,
    account: Account | None = None,
) -> Unpacked:
    """Make `target`, a directory that must not be there yet, the root file system of `image`.

    It is made under another name beside it and renamed at the end; after an error nothing is left. See `unpack_into`.
    """
    if os.path.lexists(target):
        raise UsageError(f"'{target}' is there already", hint="name a directory that is not, or remove it")
    with explained(target), remains.folder_beside(target.parent) as made:
        made.chmod(0o700)
        root = made / "rootfs"
        done = unpack_into(image, root, rootless=rootless, progress=progress, account=account)
        root.rename(target)
    return done


def unpack_into(
    image: Image,
    folder: Path,
    *,
    rootless: bool = False,
    progress: Progress | None = None,
    account: Account | None = None,
) -> Unpacked:
    """Make `folder`, which must not be there yet, the root file system of `image`; after an error it is gone again.

    For callers that make it within a directory of their own (remains.folder_beside, 0700) and rename that: whoever ends
    the process leaves a half of it there.

    `rootless` is for users who may not set owners or make devices: owners are kept in an attribute (unpack.owners),
    devices become empty files. Raises IntegrityError, InvalidDocumentError or what the system says, with layer and
    entry named.
    """
    if not rootless and os.geteuid():
        raise UsageError("owners can only be set by root", hint="keep them on the side with --rootless")
    held = Account() if account is None else account

    def work() -> Unpacked:
        folder.mkdir()
        try:
            return _Unpacking(image, rootless=rootless, progress=progress or Silent(), account=held).into(folder)
        except BaseException:
            remove_tree(folder)
            raise

    with explained(folder):
        return once_more(work)


class _Unpacking:
    def __init__(self, image: Image, *, rootless: bool, progress: Progress, account: Account) -> None:
        self._image = image
        self._rootless = rootless
        self._progress = progress
        self._account = account
        self._maker = Maker(rootless=rootless)
        self._entries = 0

    def into(self, folder: Path) -> Unpacked:
        """Apply all layers to an empty directory."""
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        _plain(top, rootless=self._rootless)
        folders = Folders(top, rootless=self._rootless)
        try:
            folders.top.time, folders.top.changed = 0, True
            with contextlib.ExitStack() as stack:
                for number, (name, stream) in enumerate(self._streams(stack)):
                    self._apply(folders, name, stream, lower=number > 0)
        except BaseException:
            folders.abandon()
            raise
        folders.close()
        return Unpacked(entries=self._entries, left_out=dict(self._maker.left_out))

    def _streams(self, stack: contextlib.ExitStack) -> Iterator[tuple[str, LayerStream]]:
        """Yield the layers, those that follow being read already."""
        waiting: deque[tuple[str, LayerStream]] = deque()
        for layer in self._image.layers:
            digest = layer.diff_id if _in_engine(layer) else layer.descriptor.digest
            name = f"layer {digest} of '{self._image.name}'"
            stream = LayerStream(layer, name, f"unpack {self._image.name} {digest.short}", self._progress)
            stack.callback(stream.close)
            waiting.append((name, stream))
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _apply(self, folders: Folders, name: str, stream: LayerStream, *, lower: bool) -> None:
        applying = Applying(folders, self._maker, stream, lower=lower)
        entry: Entry | None = None
        try:
            with stream:
                for entry in stream.archive:
                    self._entries += 1
                    try:
                        applying.take(entry)
                    except TarFormatError as error:
                        where = f"{name}: entry '{shown(entry.path) or '/'}'"
                        raise InvalidDocumentError(f"{where}: {error}") from None
        except OSError as error:
            at = f": entry '{shown(entry.path) or '/'}'" if entry is not None else ""
            raise _refused(error, f"{name}{at} cannot be made") from error
        self._account.add(unpacked_bytes=stream.unfolded)


def _refused(error: OSError, what: str) -> RuntimeimgError:
    if error.errno == errno.EPERM:
        return UsageError(f"{what}: operation not permitted", hint="without the privilege for it, use --rootless")
    return system_error(error, what)


def _plain(top: int, *, rootless: bool) -> None:
    """Make the new root directory what it is without an entry of its own: 0755, root's, nothing inherited."""
    for key in (b"system.posix_acl_default", b"system.posix_acl_access"):
        with contextlib.suppress(OSError):
            os.removexattr(top, key)
    if not rootless:
        os.fchown(top, 0, 0)
    os.fchmod(top, 0o755)


def _in_engine(layer: Layer) -> bool:
    return layer.origin is not None and layer.origin.store == "engine"
