"""A layer onto a root (OCI image-spec, layer.md, "Applying Changesets").

Whiteouts hide what lower layers have, wherever they stand in the archive: what the layer has made itself by then stays.
So its own paths are remembered, though only where there is a lower layer.
"""

from __future__ import annotations

import os

from runtimeimg.image.layertar import DIRECTORY, FILE, HARDLINK, Entry
from runtimeimg.image.tarheader import MAX_ID, TarFormatError, shown
from runtimeimg.unpack.folders import Folder, Folders, below, check_place
from runtimeimg.unpack.making import Maker
from runtimeimg.unpack.seen import Seen
from runtimeimg.unpack.streams import LayerStream

_IMPLIED = Entry(b"", DIRECTORY, 0o755, 0, 0, 0, 0)
_WHITEOUT, _META, _OPAQUE = b".wh.", b".wh..wh.", b".wh..wh..opq"


class Applying:
    """One layer that is being applied; `lower` tells whether there is anything below it."""

    def __init__(self, folders: Folders, maker: Maker, stream: LayerStream, *, lower: bool) -> None:
        self._folders = folders
        self._maker = maker
        self._archive = stream.archive
        self._lower = lower
        self._own = Seen()
        folders.begin(self._own, lambda: stream.paid)
        self._clean = Seen()  # directories that have nothing of lower layers any more
        self._said = Seen()  # directories that it has an entry of, not only something in
        self._marked = b""

    def take(self, entry: Entry) -> None:
        """Make what an entry says; TarFormatError where that is not possible."""
        path = entry[0]
        parent, _, name = path.rpartition(b"/")
        if b".wh." in path and self._is_whiteout(path, parent, name):
            return
        if entry[3] == MAX_ID or entry[4] == MAX_ID:  # chown(2) takes that for leaving it as it is
            raise TarFormatError(f"there is no owner {entry.uid}:{entry.gid}")
        time = entry[6] * 1_000_000_000 + self._archive.fraction
        if not path:
            self._top(entry, time)
            return
        folder = self._folders.at(parent)
        if self._lower:
            self._mark(folder.path, name)
        if entry[1] == DIRECTORY:
            if self._lower:
                self._said.add(below(folder, name))
            made, new = self._folders.enter(folder, name)
            self._maker.folder(made, entry, time, new=new)
            return
        check_place(folder, name)
        try:
            self._make(folder, name, entry, time)
        except FileExistsError:
            folder = self._again(folder)
            self._folders.remove(folder, name)
            self._make(folder, name, entry, time)

    def _top(self, entry: Entry, time: int) -> None:
        if entry.kind != DIRECTORY:
            raise TarFormatError("the root is not a directory")
        self._maker.folder(self._folders.top, entry, time, new=False)

    def _make(self, folder: Folder, name: bytes, entry: Entry, time: int) -> None:
        if entry[1] == FILE:
            self._maker.file(folder, name, entry, time, self._archive.content())
        elif entry[1] == HARDLINK:
            self._link(folder, name, entry, time)
        else:
            self._maker.other(folder, name, entry, time)

    def _link(self, folder: Folder, name: bytes, entry: Entry, time: int) -> None:
        """Make a hard link; the link's target is looked for as its own path is, a link at its end not followed."""
        above, _, target = entry.target.rpartition(b"/")
        source = self._folders.find(above) if target else None
        if source is None:
            raise TarFormatError(f"its hard link's target '{shown(entry.target)}' is not there")
        if (source.path, target) == (folder.path, name):
            raise TarFormatError("it is a hard link to itself")
        held = os.dup(source.fd)  # the way to one directory may close the other
        try:
            self._maker.link(held, target, self._again(folder), name, entry, time)
        except FileNotFoundError:
            raise TarFormatError(f"its hard link's target '{shown(entry.target)}' is not there") from None
        except PermissionError as error:
            if self._folders.child(self._folders.find(above), target) is None:
                raise error from None
            raise TarFormatError(f"its hard link's target '{shown(entry.target)}' is a directory") from None
        finally:
            os.close(held)

    def _again(self, folder: Folder) -> Folder:
        """Return a directory that was open before, for something to be changed in it."""
        found = self._folders.find(folder.path)
        assert found is not None
        found.changed = True
        return found

    def _mark(self, folder: bytes, name: bytes) -> None:
        """Remember what the layer makes itself, with the directories that it is in."""
        if folder != self._marked:
            self._marked = folder
            above = folder
            while above and self._own.add(above):
                above = above.rpartition(b"/")[0]
        self._own.add(folder + b"/" + name if folder else name)

    # Whiteouts

    def _is_whiteout(self, path: bytes, parent: bytes, name: bytes) -> bool:
        """Tell whether a path has the prefix of whiteouts in some component, and do what it says.

        What the aufs driver of old Engines keeps for itself is passed over.
        """
        if not _hidden(path):
            return False
        if name == _OPAQUE and not _hidden(parent):
            self._hide_below(parent)
        elif not any(part.startswith(_META) for part in path.split(b"/")):
            hidden = name.removeprefix(_WHITEOUT)
            if _hidden(parent) or hidden in (b"", b".", b".."):
                raise TarFormatError("it is not a whiteout of anything")
            self._hide(parent, hidden)
        return True

    def _hide(self, parent: bytes, name: bytes) -> None:
        """Remove what lower layers have at a path."""
        folder = self._folders.find(parent) if self._lower else None
        if folder is None:
            return
        path = below(folder, name)
        if path in self._own:
            if (own := self._folders.child(folder, name)) is not None:
                self._check_late(path)
                self._take_over(own)
                self._clear(path)
            return
        self._check_late(path)
        folder.changed = True
        self._folders.remove(folder, name)

    def _hide_below(self, parent: bytes) -> None:
        """Remove what lower layers have in a directory."""
        folder = self._folders.find(parent) if self._lower else None
        if folder is not None and folder.path not in self._clean:
            self._check_late(folder.path)
            self._clear(folder.path)

    def _check_late(self, path: bytes) -> None:
        if self._folders.went_through(path):
            raise TarFormatError("it is a whiteout of links that earlier entries of its layer went through")

    def _clear(self, top: bytes) -> None:
        """Remove from a directory, and from those in it, what the layer has not made itself."""
        pending = [top]
        while pending:
            path = pending.pop()
            folder = self._folders.find(path) if self._clean.add(path) else None
            if folder is not None and path != top:
                self._take_over(folder)
            while folder is not None and self._clear_one(folder, pending):
                pass

    def _clear_one(self, folder: Folder, pending: list[bytes]) -> bool:
        """Do that to one directory; tell whether anything was removed, as more may be found then."""
        removed = False
        with os.scandir(folder.fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                path = below(folder, name)
                if path not in self._own:
                    self._folders.remove(folder, name)
                    folder.changed = removed = True
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(path)
        return removed

    def _take_over(self, folder: Folder) -> None:
        """Make a directory that lower layers had what it is without them, unless an entry of this one says it."""
        if folder.path not in self._said:
            self._maker.folder(folder, _IMPLIED, 0, new=False)


def _hidden(path: bytes) -> bool:
    return any(part.startswith(_WHITEOUT) for part in path.split(b"/"))
