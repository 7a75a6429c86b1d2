"""Generated COPY cases: a builder's tree over several layers, a base's tree, and copies between them."""

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from .images import Item, file, folder, symlink

NAMES = ("a", "ab", "b", "c d", "é", "\udcff\udcfe", ".h", "x.js", "y.js")
PLAIN = ("a", "ab", "b", "x.js", "y.js", ".h")
MODES = (0o644, 0o600, 0o755, 0o4755, 0o2750, 0o777, 0o0)
FOLDER_MODES = (0o755, 0o700, 0o1777, 0o2755, 0o711)
OWNERS = ((0, 0), (5, 6), (1000, 1000), (70000, 3_000_000))
CAPABILITY = (("security.capability", "\x01\x00\x00\x02\x00\x04" + "\x00" * 14),)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Layers as items with paths relative to the case's own folder, and copies likewise."""

    builder: tuple[tuple[Item, ...], ...]
    base: tuple[tuple[Item, ...], ...]
    copies: tuple[tuple[str, str, str | None], ...]


@st.composite
def tree(draw, top: str, *, size: int, previous: dict[str, str]) -> list[Item]:
    """One layer: folders before what is in them, sometimes whiteouts of what a lower layer has.

    `previous` tells the kinds of what is there. Whiteouts are only put where a lower layer's folder is merged with
    this one's: elsewhere overlayfs lists names that it cannot find.
    """
    items = [folder(top, draw(st.sampled_from(FOLDER_MODES)), *draw(st.sampled_from(OWNERS)))]
    folders, taken, files = [top], {top}, []
    for number in range(draw(st.integers(0, size))):
        path = f"{draw(st.sampled_from(folders))}/{draw(st.sampled_from(NAMES))}"
        if path in taken:
            continue
        taken.add(path)
        kind = draw(st.sampled_from("fffdddlhc"))
        mode, (uid, gid) = draw(st.sampled_from(MODES)), draw(st.sampled_from(OWNERS))
        if kind == "d":
            items.append(folder(path, draw(st.sampled_from(FOLDER_MODES)), uid, gid))
            folders.append(path)
        elif kind == "l":
            target = draw(st.sampled_from(("a", "b", "../a", "ab/a", "nowhere", ".", "a/b", "../../../../x")))
            items.append(symlink(path, target))
        elif kind == "h" and files:
            first = draw(st.sampled_from(files))
            items.append(replace(first, path=path, kind="h", data=b"", target=first.path))
        else:
            data = f"{top} {number} {len(previous)}".encode()
            xattrs = CAPABILITY if kind == "c" else ()
            items.append(Item(path=path, data=data, mode=mode, uid=uid, gid=gid, xattrs=xattrs))
            files.append(items[-1])
    merged = [path for path in folders if previous.get(path) == "d"]
    for path in merged:
        if draw(st.integers(0, 5)) == 0:
            items.append(file(f"{path}/.wh..wh..opq", b""))
            continue
        for other in sorted(previous.keys() - taken):
            parent, _, name = other.rpartition("/")
            if parent == path and draw(st.integers(0, 2)) == 0:
                items.append(file(f"{path}/.wh.{name}", b""))
    return items


@st.composite
def trees(draw, top: str, *, layers: int, size: int) -> tuple[tuple[Item, ...], ...]:
    made: list[tuple[Item, ...]] = []
    known: dict[str, str] = {}
    for _ in range(draw(st.integers(1, layers))):
        made.append(tuple(draw(tree(top, size=size, previous=known))))
        known = after(known, made[-1])
    return tuple(made)


def after(known: dict[str, str], items: tuple[Item, ...]) -> dict[str, str]:
    """Return the kinds of what is there when a layer lies on top."""
    gone = [item.path.replace("/.wh..wh..opq", "") + "/" for item in items if item.path.endswith(".wh..wh..opq")]
    for item in items:
        parent, _, name = item.path.rpartition("/")
        if name.startswith(".wh.") and not name.startswith(".wh..wh."):
            gone += [f"{parent}/{name[4:]}", f"{parent}/{name[4:]}/"]
        elif item.kind != "d":
            gone.append(item.path + "/")
    left = {path: kind for path, kind in known.items() if path not in gone and not path.startswith(tuple(gone))}
    return left | {item.path: item.kind for item in items if "/.wh." not in item.path}


@st.composite
def case(draw) -> Case:
    builder = draw(trees("src", layers=3, size=7))
    base = draw(trees("dst", layers=2, size=5))
    return Case(
        builder=builder,
        base=base,
        copies=tuple(draw(st.lists(copy(builder, base), min_size=1, max_size=2))),
    )


@st.composite
def copy(draw, builder, base) -> tuple[str, str, str | None]:
    known = sorted(
        {item.path for layer in builder for item in layer if ".wh." not in item.path and item.path.isascii()}
    )
    below = [path for path in known if path != "src"]
    source = draw(
        st.one_of(
            st.just("src"),
            st.sampled_from(below or ["src"]),
            st.sampled_from(("src/*", "src/?", "src/a*", "src/*.js", "src/[ab]", "src/[^a]*", "src/*/a", "src/./a")),
        )
    )
    chown = draw(st.sampled_from((None, None, None, "5:6", "7", "app", "app:staff", "1001:staff")))
    there = sorted({item.path for layer in base for item in layer if ".wh." not in item.path and item.path.isascii()})
    new = (
        ("dst/new", "dst/new/") if chown else ("dst/new", "dst/new/", "dst/n1/n2", "dst/n1/n2/", "other/n", "dst/../up")
    )
    destination = draw(st.one_of(st.sampled_from(("dst", "dst/")), st.sampled_from(there), st.sampled_from(new)))
    if draw(st.booleans()) or "*" in source or "?" in source or "[" in source:
        destination = destination.rstrip("/") + "/"
    return source, destination, chown
