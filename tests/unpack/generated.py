"""Images made by chance: every type of entry, and every way in which a layer changes those below it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from runtimeimg.image.layertar import CHARACTER, DIRECTORY, FIFO, FILE, HARDLINK, SYMLINK
from tests.unpack.trees import archive, entry

NAMES = (
    b"a",
    b"b",
    b"lib",
    "ü".encode(),
    b"long" * 40,
    b"with space",
    b"\xff\xfe",
    b"new\nline",
    b".hidden",
    b"x.wh.y",
)
MODES = (0o644, 0o755, 0o600, 0o4755, 0o2711, 0o1777, 0o444, 0o000, 0o7777)
IDS = (0, 0, 0, 1, 33, 1000, 65534, 100_000, 3_000_000_000)
CAPABILITY = b"\x01\0\0\x02\0\x20" + bytes(14)
XATTRS = ((b"user.a", b"1"), (b"user.b", b"\0\xff"), (b"security.capability", CAPABILITY), (b"trusted.c", b"t"))


@dataclass
class Chance:
    """What there is while layers are made, and a source of chance."""

    random: random.Random
    modes: Sequence[int] = MODES
    kinds: dict[bytes, str] = field(default_factory=lambda: {b"": DIRECTORY})
    links: dict[bytes, bytes] = field(default_factory=dict)
    """Links, and the directories that they lead to."""
    said: dict[bytes, dict[str, object]] = field(default_factory=dict)

    def layers(self) -> list[bytes]:
        """Archives of two to five layers."""
        return [self.layer(first=number == 0) for number in range(self.random.randint(2, 5))]

    def layer(self, *, first: bool) -> bytes:
        made = [entry(b"./", DIRECTORY, mode=0o755, mtime=7)] if first else []
        own: set[bytes] = set()
        for _ in range(self.random.randint(5, 40)):
            pick = self.random.random()
            if pick < 0.12 and not first:
                made += self.whiteout(own)
            elif pick < 0.16 and not first:
                made += self.opaque(own)
            else:
                made += self.something(own)
        return archive(*made)

    def something(self, own: set[bytes]) -> list[bytes]:
        """An entry at a new path or one that is there."""
        folder = self.random.choice([path for path, kind in self.kinds.items() if kind == DIRECTORY])
        name = self.random.choice(NAMES)
        path = folder + b"/" + name if folder else name
        if path.count(b"/") > 5:
            return []
        spelt = path
        ways = [link for link, to in self.links.items() if to == folder and folder in self.kinds]
        if ways and self.random.random() < 0.5:
            way = self.random.choice(ways)
            spelt = way + b"/" + name
            own.add(way)
        kind = self.random.choice(
            [FILE, FILE, FILE, DIRECTORY, DIRECTORY, DIRECTORY, SYMLINK, HARDLINK, FIFO, CHARACTER]
        )
        more = self.values(kind)
        data = b""
        if kind == FILE:
            data = self.random.randbytes(self.random.choice([0, 1, 511, 512, 70_000]))
        elif kind == SYMLINK:
            more["target"] = self.target(path, folder)
        elif kind == HARDLINK:
            known = [one for one in self.said if self.kinds.get(one) in (FILE, SYMLINK, FIFO)]
            known = [one for one in known if one != path and not one.startswith(path + b"/")]
            if not known:
                return []
            target = self.random.choice(known)
            more = {**self.said[target], "target": target}
        elif kind == CHARACTER:
            more["device"] = (1, self.random.choice([3, 5, 7]))
        self.take(path, kind, more)
        own.add(path)
        return [entry(spelt, kind, data, **more)]

    def values(self, kind: str) -> dict[str, object]:
        """Mode, owner, time and attributes."""
        chosen = self.random.choice
        more: dict[str, object] = {"mode": chosen(self.modes), "uid": chosen(IDS), "gid": chosen(IDS)}
        more["mtime"] = chosen([0, 1, 1_500_000_000, 4_000_000_000])
        if self.random.random() < 0.3 and kind in (FILE, DIRECTORY):
            count = self.random.randint(1, len(XATTRS))
            more["xattrs"] = tuple(sorted(self.random.sample(XATTRS, count)))
            if kind == DIRECTORY:
                more["xattrs"] = tuple(pair for pair in more["xattrs"] if pair[1] != CAPABILITY)  # type: ignore[attr-defined]
        if kind == SYMLINK:
            more["mode"] = 0o777
        return more

    def target(self, path: bytes, folder: bytes) -> bytes:
        """What a link says: to a directory in one of three ways, or to nothing."""
        to = self.random.choice(
            [one for one, kind in self.kinds.items() if kind == DIRECTORY and not one.startswith(path)] or [b""]
        )
        way = self.random.randrange(4)
        self.links.pop(path, None)
        if way == 3:
            return b"no/where"
        self.links[path] = to
        up = b"../" * (folder.count(b"/") + 1 if folder else 0)
        return [b"/" + to, up + to or b".", b"../" * 9 + to][way]

    def take(self, path: bytes, kind: str, more: dict[str, object]) -> None:
        """Note what is there now."""
        to = self.links.get(path)
        if kind != DIRECTORY or self.kinds.get(path) != DIRECTORY:
            self.lose(path)
        if kind == SYMLINK and to is not None and to in self.kinds:
            self.links[path] = to
        self.kinds[path] = self.kinds[more["target"]] if kind == HARDLINK else kind  # type: ignore[index]
        self.said[path] = {key: value for key, value in more.items() if key != "target"}

    def lose(self, path: bytes) -> None:
        """Note that something is gone, with all below."""
        for one in [one for one in self.kinds if one == path or one.startswith(path + b"/")]:
            del self.kinds[one]
            self.said.pop(one, None)
        self.links = {link: to for link, to in self.links.items() if link in self.kinds and to in self.kinds}

    def whiteout(self, own: set[bytes]) -> list[bytes]:
        """A whiteout of something that this layer has not made, sometimes of nothing."""
        there = [path for path in self.kinds if path and not any(one.startswith(path) for one in own)]
        if not there or self.random.random() < 0.1:
            return [entry(b".wh.nothing")]
        path = self.random.choice(there)
        folder, _, name = path.rpartition(b"/")
        self.lose(path)
        return [entry(folder + b"/.wh." + name if folder else b".wh." + name)]

    def opaque(self, own: set[bytes]) -> list[bytes]:
        """An opaque whiteout of a directory that this layer has made nothing in."""
        there = [
            one
            for one, kind in self.kinds.items()
            if kind == DIRECTORY and not any(path.startswith(one) for path in own)
        ]
        if not there:
            return []
        folder = self.random.choice(there)
        for path in [path for path in self.kinds if path and path.startswith(folder + b"/" if folder else b"")]:
            self.lose(path)
        return [entry(folder + b"/.wh..wh..opq" if folder else b".wh..wh..opq")]


def layers(seed: int, modes: Sequence[int] = MODES) -> list[bytes]:
    """The layers of the image that a seed makes."""
    return Chance(random=random.Random(seed), modes=modes).layers()
