"""Hostile layers: what each is, its archives, and what an unpacking makes of it.

`tests/unpack/test_hostile.py` unpacks each beside a folder that nothing may change; `scripts/update-unpack-docs.py`
writes the table of docs/unpacking.md, umoci beside it.
"""

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runtimeimg.image.layertar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, HARDLINK, SYMLINK
from tests.unpack.trees import archive, entry

Layers = list[bytes]
Tree = frozenset[str]
REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Layers to be made for a folder outside, by its absolute path; what is there then, or what the refusal says.

    `there` are the paths of all that is in the root, a directory with `/` at its end; a callable where they depend on
    the folder. None where `said` is what the error holds.
    """

    name: str
    family: str
    layers: Callable[[bytes], Layers]
    there: Callable[[bytes], Tree] | Tree | None = None
    said: str = ""

    def expected(self, outside: bytes) -> Tree | None:
        return self.there(outside) if callable(self.there) else self.there


ATTACKS: list[Attack] = []


def attack(name: str, family: str, *layers: bytes, there: str | None = None, said: str = "") -> None:
    """Add an attack that does not depend on the folder outside; `there` are the paths, parted by spaces."""
    tree = None if there is None else frozenset(there.split())
    ATTACKS.append(Attack(name=name, family=family, layers=lambda _: list(layers), there=tree, said=said))


def made(*entries: bytes) -> bytes:
    return archive(*entries)


def folder(path: bytes, **more: object) -> bytes:
    return entry(path, DIRECTORY, **{"mode": 0o755, **more})  # type: ignore[arg-type]


def link(path: bytes, target: bytes) -> bytes:
    return entry(path, SYMLINK, mode=0o777, target=target)


def hard(path: bytes, target: bytes, **more: object) -> bytes:
    return entry(path, HARDLINK, target=target, **more)  # type: ignore[arg-type]


def paths(*files: bytes) -> Tree:
    """The paths of these with all directories above them."""
    found = set()
    for path in files:
        found.add(path.decode())
        above = path.rstrip(b"/").rpartition(b"/")[0]
        while above:
            found.add(above.decode() + "/")
            above = above.rpartition(b"/")[0]
    return frozenset(found)


# Entries behind links that lead out

UP = b"../" * 30
WAYS: dict[str, Callable[[bytes], bytes]] = {
    "its absolute path": lambda out: out,
    "many ..": lambda out: UP + out[1:],
    "the root": lambda _: b"/",
    "..": lambda _: b"..",
    "/proc/self/root": lambda out: b"/proc/self/root" + out,
    "/proc/self/cwd": lambda _: b"/proc/self/cwd/../canary",
    "a second link": lambda _: b"second",
    "its path with . and //": lambda out: b"/.//" + out[1:].replace(b"/", b"/./"),
}
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "a file": lambda path: entry(path, data=b"owned", mode=0o4777),
    "a folder": lambda path: folder(path, mode=0o777, uid=5),
    "a symlink": lambda path: link(path, b"owned"),
    "a pipe": lambda path: entry(path, FIFO, mode=0o666),
    "a device": lambda path: entry(path, CHARACTER, device=(1, 3)),
    "a whiteout": lambda path: entry(path.replace(b"link/", b"link/.wh.")),
}


def behind_links() -> Iterator[Attack]:
    """Each type of entry behind each way out."""
    for way, target in WAYS.items():
        for kind, make in KINDS.items():

            def layers(
                out: bytes, target: Callable[[bytes], bytes] = target, make: Callable[[bytes], bytes] = make
            ) -> Layers:
                base = made(link(b"link", target(out)), link(b"second", out), folder(b"secret"))
                return [base, made(make(b"link/secret"))]

            def there(out: bytes, target: Callable[[bytes], bytes] = target, kind: str = kind) -> Tree:
                to = out if target(out) == b"second" else target(out)
                inside = posixpath.normpath(b"/" + to).strip(b"/")
                if kind == "a whiteout":
                    return frozenset({"link", "second"} | (set() if not inside else {"secret/"}))
                at = inside + b"/secret" if inside else b"secret"
                return paths(b"link", b"second", b"secret/", at + (b"/" if kind == "a folder" else b"")) - (
                    frozenset({"secret/"}) if not inside and kind != "a folder" else frozenset()
                )

            yield Attack(
                name=f"{kind} behind a link to {way}",
                family="entries behind links that lead out",
                layers=layers,
                there=there,
            )


ATTACKS += behind_links()

# Names

NAMES = "names"
attack("../f", NAMES, made(entry(b"../f")), said="leads out of the layer")
attack("a/../../f", NAMES, made(entry(b"a/../../f")), said="leads out of the layer")
attack("a/..", NAMES, made(folder(b"a/..")), said="leads out of the layer")
attack("..", NAMES, made(folder(b"..")), said="leads out of the layer")
attack("/..", NAMES, made(entry(b"/..")), said="leads out of the layer")
attack("an absolute name", NAMES, made(entry(b"/etc/f")), there="etc/ etc/f")
attack("a name with //", NAMES, made(entry(b"//etc//f")), there="etc/ etc/f")
attack("a name with .", NAMES, made(entry(b"./etc/./f")), there="etc/ etc/f")
attack("a name of dots that is none of both", NAMES, made(entry(b".../f"), entry(b"..f")), there=".../ .../f ..f")
attack("an empty name", NAMES, made(entry(b"")), said="the root is not a directory")
attack("a root that is a file", NAMES, made(entry(b"./")), said="the root is not a directory")
attack("a root that is a link", NAMES, made(link(b"/", b"/etc"), entry(b"f")), said="the root is not a directory")
attack("a root that is a pipe", NAMES, made(entry(b".", FIFO)), said="the root is not a directory")
attack(
    "a root that is a device", NAMES, made(entry(b".", CHARACTER, device=(1, 3))), said="the root is not a directory"
)
attack("a root that is a hard link", NAMES, made(entry(b"f"), hard(b".", b"f")), said="the root is not a directory")
attack("a name of 255 bytes", NAMES, made(entry(b"n" * 255)), there="n" * 255)
attack("a name of 300 bytes", NAMES, made(entry(b"n" * 300)), said="longer than Linux allows")
attack("a folder's name of 300 bytes", NAMES, made(entry(b"n" * 300 + b"/f")), said="longer than Linux allows")
attack("a path of 5000 bytes", NAMES, made(entry(b"/".join([b"n" * 200] * 25))), said="longer than Linux allows")
attack("a path of 300 folders", NAMES, made(entry(b"/".join([b"n"] * 300))), said="more than 256 folders deep")
attack(
    "a path of 300 folders by way of links",
    NAMES,
    made(
        folder(b"/".join([b"a"] * 200)),
        link(b"l", b"/".join([b"a"] * 200)),
        folder(b"l/" + b"/".join([b"b"] * 100)),
    ),
    said="longer than Linux allows",
)
attack("names that are not UTF-8", NAMES, made(entry(b"\xff\xfe/\x80f")), there="\udcff\udcfe/ \udcff\udcfe/\udc80f")
attack("names of control characters", NAMES, made(entry(b"\x1b[2J\x07")), there="\x1b[2J\x07")
attack("names of backslashes", NAMES, made(entry(b"..\\..\\f"), entry(b"C:\\f")), there="..\\..\\f C:\\f")
attack("a link without target", NAMES, made(link(b"l", b"")), said="impossible target")
attack("a link with a target of 5000 bytes", NAMES, made(link(b"l", b"t" * 5000)), said="impossible target")

# Hard links

HARD = "hard links"


def hard_to_outside(out: bytes) -> Layers:
    return [made(hard(b"f", out + b"/secret"), entry(b"f", data=b"owned"))]


def hard_through_link(out: bytes) -> Layers:
    return [made(link(b"l", out), hard(b"f", b"l/secret"))]


def hard_to_link(out: bytes) -> Layers:
    return [made(link(b"l", out + b"/secret"), hard(b"h", b"l", mode=0o4777, uid=5)), made(entry(b"h", data=b"owned"))]


def hard_of_folder_link(out: bytes) -> Layers:
    return [made(link(b"l", out), hard(b"h", b"l")), made(entry(b"h/secret", data=b"owned"))]


MISSING = "hard link's target"
ATTACKS += [
    Attack(name="to a file outside", family=HARD, layers=hard_to_outside, said=MISSING),
    Attack(name="to a file outside through a link", family=HARD, layers=hard_through_link, said=MISSING),
    Attack(
        name="to a link that leads out, then written", family=HARD, layers=hard_to_link, there=frozenset({"l", "h"})
    ),
    Attack(
        name="to a link to a folder outside, then a file in it",
        family=HARD,
        layers=hard_of_folder_link,
        there=lambda out: paths(b"l", b"h", out[1:] + b"/secret"),
    ),
]
attack("to ../f", HARD, made(hard(b"f", b"../canary/secret")), said="leads out of the layer")
attack("to a/../../f", HARD, made(folder(b"a"), hard(b"f", b"a/../../canary/secret")), said="leads out of the layer")
attack("to nothing", HARD, made(hard(b"f", b"nothing")), said=MISSING)
attack("to what comes later", HARD, made(hard(b"f", b"later"), entry(b"later")), said=MISSING)
attack("to itself", HARD, made(entry(b"f"), hard(b"f", b"f")), said="hard link to itself")
attack("to itself, which is not there", HARD, made(hard(b"f", b"f")), said="hard link to itself")
attack(
    "to itself by way of a link",
    HARD,
    made(link(b"l", b"/"), entry(b"f"), hard(b"l/f", b"f")),
    said="hard link to itself",
)
attack("to a folder", HARD, made(folder(b"d"), hard(b"f", b"d")), said="is a directory")
attack("to the root", HARD, made(hard(b"f", b"/")), said=MISSING)
attack("to the folder that it is in", HARD, made(folder(b"d"), hard(b"d/f", b"d")), said="is a directory")
attack("to what it replaces the folder of", HARD, made(entry(b"d/f"), hard(b"d", b"d/f")), said=MISSING)
attack("to a device", HARD, made(entry(b"c", CHARACTER, device=(1, 3)), hard(b"f", b"c")), there="c f")
attack("to a pipe", HARD, made(entry(b"p", FIFO), hard(b"f", b"p")), there="p f")
attack("to a whiteout", HARD, made(entry(b"x")), made(entry(b".wh.x"), hard(b"f", b".wh.x")), said=MISSING)
attack("to what a whiteout hides", HARD, made(entry(b"x")), made(entry(b".wh.x"), hard(b"f", b"x")), said=MISSING)
attack("to a path without end", HARD, made(link(b"l", b"l"), hard(b"f", b"l/x")), said="more than 40 symbolic links")

# What is put in the place of something between two entries

SWAP = "a swap between two entries"


def swaps() -> Iterator[Attack]:
    """A folder, or what stands for one, is replaced by a link that leads out, and written into."""
    write = entry(b"d/secret", data=b"owned", mode=0o4777)

    def one(name: str, *layers: Callable[[bytes], bytes], there: Callable[[bytes], Tree]) -> Attack:
        return Attack(name=name, family=SWAP, layers=lambda out: [make(out) for make in layers], there=there)

    inside = lambda out: paths(b"d", out[1:] + b"/secret")  # noqa: E731
    yield one("a folder by a link", lambda out: made(folder(b"d"), link(b"d", out), write), there=inside)
    yield one(
        "a folder by a link, in the next layer",
        lambda _: made(folder(b"d")),
        lambda out: made(link(b"d", out), write),
        there=inside,
    )
    yield one("a full folder by a link", lambda out: made(entry(b"d/secret"), link(b"d", out), write), there=inside)
    yield one("a file by a link", lambda out: made(entry(b"d"), link(b"d", out), write), there=inside)
    yield one("a pipe by a link", lambda out: made(entry(b"d", FIFO), link(b"d", out), write), there=inside)
    yield one(
        "a folder by a link and back",
        lambda out: made(folder(b"d"), link(b"d", out), folder(b"d", mode=0o777, uid=5), write),
        there=lambda _: paths(b"d/secret"),
    )
    yield one(
        "a link to a folder outside by that folder",
        lambda out: made(link(b"d", out)),
        lambda _: made(folder(b"d", mode=0o777, uid=5, mtime=9), write),
        there=lambda _: paths(b"d/secret"),
    )
    yield one(
        "a link to a file outside by a file",
        lambda out: made(link(b"d", out + b"/secret")),
        lambda _: made(entry(b"d", data=b"owned", mode=0o4777, uid=5)),
        there=lambda _: paths(b"d"),
    )
    yield one(
        "a whiteout of a folder, then a link",
        lambda _: made(entry(b"d/secret")),
        lambda out: made(entry(b".wh.d"), link(b"d", out), write),
        there=inside,
    )
    yield one(
        "a folder deep inside by a link",
        lambda out: made(entry(b"a/b/c/f"), link(b"a/b", out), entry(b"a/b/secret", data=b"owned")),
        there=lambda out: paths(b"a/b", out[1:] + b"/secret"),
    )
    yield one(
        "a hundred times to and fro",
        lambda out: made(*([folder(b"d"), entry(b"d/secret"), link(b"d", out), write] * 100)),
        there=inside,
    )
    yield one(
        "the end of a link's way by another link",
        lambda out: made(folder(b"e"), link(b"d", b"e"), write, link(b"e", out), write),
        there=lambda out: paths(b"d", b"e", out[1:] + b"/secret"),
    )


ATTACKS += swaps()

# Whiteouts

WHITEOUT = "whiteouts"
BASE = made(folder(b"d"), entry(b"d/f"), entry(b"g"))
ALL = "d/ d/f g"
NOTHING = "not a whiteout of anything"
attack("of what is not there", WHITEOUT, BASE, made(entry(b".wh.x"), entry(b"x/.wh.y")), there=ALL)
attack("of nothing", WHITEOUT, BASE, made(entry(b".wh.")), said=NOTHING)
attack("of nothing, in a folder", WHITEOUT, BASE, made(entry(b"d/.wh.")), said=NOTHING)
attack("of .", WHITEOUT, BASE, made(entry(b".wh..")), said=NOTHING)
attack("of ..", WHITEOUT, BASE, made(entry(b"d/.wh...")), said=NOTHING)
attack("of .. at the root", WHITEOUT, BASE, made(entry(b".wh...")), said=NOTHING)
attack("below a whiteout", WHITEOUT, BASE, made(entry(b".wh.d/f")), said=NOTHING)
attack("of all", WHITEOUT, BASE, made(entry(b".wh..wh..opq")), there="")
attack("of all, from below", WHITEOUT, BASE, made(entry(b"d/../.wh..wh..opq")), said="leads out of the layer")
attack("of a folder on the way", WHITEOUT, BASE, made(entry(b"d/h"), entry(b".wh.d")), there="d/ d/h g")
attack("of a file as of a folder", WHITEOUT, BASE, made(entry(b"g/.wh..wh..opq"), entry(b"g/.wh.x")), there=ALL)
attack("a folder", WHITEOUT, BASE, made(folder(b".wh.d")), there="g")
attack("a link", WHITEOUT, BASE, made(link(b".wh.d", b"/")), there="g")
attack("a hard link", WHITEOUT, BASE, made(hard(b".wh.d", b"g")), there="g")
attack("a device", WHITEOUT, BASE, made(entry(b".wh.d", CHARACTER)), there="g")
attack("in the first layer", WHITEOUT, made(entry(b".wh..wh..opq"), entry(b"f"), entry(b".wh.f")), there="f")
attack("of aufs's own", WHITEOUT, BASE, made(entry(b".wh..wh.plnk/1"), entry(b".wh..wh.aufs")), there=ALL)
attack("a thousand times", WHITEOUT, BASE, made(*([entry(b"d/x"), entry(b"d/.wh..wh..opq")] * 1000)), there="d/ d/x g")
attack("with a name of 300 bytes", WHITEOUT, BASE, made(entry(b".wh." + b"n" * 300)), said="longer than Linux allows")
ATTACKS += [
    Attack(
        name="of a link that leads out",
        family=WHITEOUT,
        layers=lambda out: [made(link(b"l", out)), made(entry(b".wh.l"))],
        there=frozenset(),
    ),
    Attack(
        name="of all behind a link that leads out",
        family=WHITEOUT,
        layers=lambda out: [
            made(link(b"l", out), folder(out[1:]), entry(out[1:] + b"/secret")),
            made(entry(b"l/.wh..wh..opq")),
        ],
        there=lambda out: paths(b"l", out[1:] + b"/"),
    ),
    Attack(
        name="of a link that entries before went through",
        family=WHITEOUT,
        layers=lambda out: [made(link(b"l", out)), made(entry(b"l/secret"), entry(b".wh.l"))],
        said="whiteout of links that earlier entries",
    ),
]

# Devices and pipes

DEVICE = "devices and pipes"
PIPE = entry(b"p", FIFO, mode=0o666)
NULL = entry(b"c", CHARACTER, mode=0o666, device=(1, 3))
attack("a pipe, then a file in its place", DEVICE, made(PIPE, entry(b"p", data=b"x" * 100_000)), there="p")
attack("a pipe, then a file below it", DEVICE, made(PIPE, entry(b"p/f")), there="p/ p/f")
attack("a pipe, then a folder in its place", DEVICE, made(PIPE, folder(b"p")), there="p/")
attack("a pipe with attributes", DEVICE, made(entry(b"p", FIFO, xattrs=((b"trusted.a", b"1"),))), there="p")
attack("a pipe written to through a link", DEVICE, made(PIPE, link(b"l", b"p"), entry(b"l", data=b"x")), there="p l")
attack("a device, then a file in its place", DEVICE, made(NULL, entry(b"c", data=b"x")), there="c")
attack(
    "a device written to through a hard link", DEVICE, made(NULL, hard(b"h", b"c"), entry(b"h", data=b"x")), there="c h"
)
attack("a device, then a file below it", DEVICE, made(NULL, entry(b"c/f")), there="c/ c/f")
attack("the disk of the machine", DEVICE, made(entry(b"disk", BLOCK_DEVICE, mode=0o666, device=(254, 0))), there="disk")
attack(
    "a number that no device has", DEVICE, made(entry(b"c", CHARACTER, device=(1 << 20, 3))), said="there is no device"
)
attack("a pipe whose header has a size", DEVICE, made(entry(b"p", FIFO, size=100), entry(b"f")), there="p f")
