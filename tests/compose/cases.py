"""Generated COPY cases: a builder's tree over several layers, a base's tree, and copies between them."""

from dataclasses import dataclass

from hypothesis import strategies as st

from .images import Item, file, folder, hardlink, symlink

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
def tree(draw, top: str, *, size: int, previous: frozenset[str] = frozenset()) -> list[Item]:
    """One layer: folders before what is in them, sometimes whiteouts of what a lower layer has."""
    items = [folder(top, draw(st.sampled_from(FOLDER_MODES)), *draw(st.sampled_from(OWNERS)))]
    folders, taken, files = [top], {top}, []
    for number in range(draw(st.integers(0, size))):
        parent = draw(st.sampled_from(folders))
        path = f"{parent}/{draw(st.sampled_from(NAMES))}"
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
            target = draw(st.sampled_from(files))
            items.append(hardlink(path, target.path, target.mode, target.uid, target.gid))
        else:
            xattrs = CAPABILITY if kind == "c" else ()
            made = Item(path=path, data=f"{top} {number} {len(previous)}".encode(), mode=mode, uid=uid, gid=gid, xattrs=xattrs)
            items.append(made)
            files.append(made)
    for path in sorted(previous - taken):
        parent, _, name = path.rpartition("/")
        if parent in folders and draw(st.integers(0, 3)) == 0:
            items.append(file(f"{parent}/.wh.{name}", b""))
    if previous and draw(st.integers(0, 5)) == 0:
        items.append(file(f"{draw(st.sampled_from(folders))}/.wh..wh..opq", b""))
    return items


@st.composite
def trees(draw, top: str, *, layers: int, size: int) -> tuple[tuple[Item, ...], ...]:
    made: list[tuple[Item, ...]] = []
    known: set[str] = set()
    for _ in range(draw(st.integers(1, layers))):
        made.append(tuple(draw(tree(top, size=size, previous=frozenset(known)))))
        known |= {item.path for item in made[-1] if "/.wh." not in item.path} - {top}
    return tuple(made)


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
    known = sorted({item.path for layer in builder for item in layer if ".wh." not in item.path and item.path.isascii()})
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
    new = ("dst/new", "dst/new/") if chown else ("dst/new", "dst/new/", "dst/n1/n2", "dst/n1/n2/", "other/n", "dst/../up")
    destination = draw(st.one_of(st.sampled_from(("dst", "dst/")), st.sampled_from(there), st.sampled_from(new)))
    if draw(st.booleans()) or "*" in source or "?" in source or "[" in source:
        destination = destination.rstrip("/") + "/"
    return source, destination, chown
