"""New layers follow the builder's: what changes with what, and that the tree is the same however it is divided."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from runtimeimg.account import Account
from runtimeimg.compose import grouping
from runtimeimg.compose.layers import LayerRef
from runtimeimg.compose.merge import merge
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.wanted import Wanted
from runtimeimg.errors import BuildFailed, InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.image.layertar import FILE

from .cases import Case, case
from .images import TIME, Composer, Item, MemoryLayer, contents, file, folder, hardlink, image, plan, read, symlink, tar

BASE = image("base", [folder("usr")])


@pytest.fixture
def small(monkeypatch):
    """Layers of any size stay apart."""
    monkeypatch.setattr(grouping, "LEAST", 0)


def at(time: int, items):
    return [replace(item, mtime=TIME + time) for item in items]


def large(path: str, number: int) -> Item:
    return file(path, hashlib.sha256(b"%d" % number).digest() * (grouping.LEAST // 32))


def digests(built) -> list[str]:
    return [layer.descriptor.digest for layer in built.layers]


LOWER = (
    [folder("app"), folder("app/lib"), large("app/lib/one", 1)],
    [folder("app"), large("app/two", 2), file("app/owned", uid=7)],
)
TOPS = [
    at(1, [folder("app"), folder("app/src"), file("app/src/main", b"first")]),
    at(2, [folder("app"), folder("app/src"), file("app/src/main", b"second"), file("app/more")]),
]


def test_each_layer_of_the_builder_gives_one(compose):
    composer = compose(base=BASE, builder=image("builder", *LOWER, TOPS[0]))
    with composer.build(plan([("/app", "/srv")])) as built:
        files = [sorted(contents(layer)) for layer in built.layers[1:]]
        history = [entry["created_by"] for entry in built.config.history[1:]]
    assert files == [[b"srv/lib/one"], [b"srv/owned", b"srv/two"], [b"srv/src/main"]]
    assert history == ["COPY --from=builder /app /srv"] * 3


def test_the_history_tells_of_a_layer_what_brought_something_of_it(compose):
    composer = compose(base=BASE, builder=image("builder", *LOWER, TOPS[0]))
    with composer.build(plan([("/app/lib", "/lib/"), ("/app/src/main", "/bin/")], work_dir="/w")) as built:
        history = [entry["created_by"] for entry in built.config.history[1:]]
    assert history == ["COPY --from=builder /app/lib /lib/", "COPY --from=builder /app/src/main /bin/ && WORKDIR /w"]


@pytest.mark.parametrize("chown", [None, "5:6"])
def test_a_changed_top_layer_changes_that_part_alone(compose, tmp_path, chown):
    """It also changes the time of the folder above, as files are added to it."""
    shared = [MemoryLayer(tar(items)) for items in LOWER]
    made = []
    for top in TOPS:
        composer = compose(base=BASE, builder=image("builder", *shared, top))
        with composer.build(plan([("/app", "/srv/app", chown)]), cache_dir=tmp_path / "cache") as built:
            made.append(digests(built))
            cold = read(built.layers[-1])
    assert made[0][:3] == made[1][:3]
    assert made[0][3] != made[1][3]
    assert [layer.opened for layer in shared] == [1, 1]
    assert {entry.path: entry.mtime - TIME for entry in cold}[b"srv/app"] == 2
    with composer.build(plan([("/app", "/srv/app", chown)]), no_cache=True) as built:
        assert digests(built) == made[1]


def test_a_changed_base_changes_no_layer_of_ours_unless_its_folders_do(compose, tmp_path):
    builder = [MemoryLayer(tar(items)) for items in (*LOWER, TOPS[0])]
    made, opened = [], []
    for usr in ([folder("usr"), file("usr/1")], [folder("usr"), file("usr/2")], [folder("usr", 0o711)]):
        composer = compose(base=image("base", usr), builder=image("builder", *builder))
        with composer.build(plan([("/app", "/usr/app")]), cache_dir=tmp_path / "cache") as built:
            made.append(digests(built)[1:])
            opened.append([layer.opened for layer in builder])
            assert {entry.path: entry.mode for entry in read(built.layers[1])}[b"usr"] == usr[0].mode
    assert made[0] == made[1]
    assert not set(made[0]) & set(made[2])
    assert opened == [[1, 1, 1], [1, 1, 1], [2, 2, 2]]


def test_what_is_small_is_joined_with_what_is_above(compose):
    layers = [[file(f"s/{number}")] for number in range(5)]
    layers[3] = [large("s/3", 3)]
    composer = compose(base=BASE, builder=image("builder", *layers))
    with composer.build(plan([("/s", "/t")])) as built:
        files = [sorted(contents(layer)) for layer in built.layers[1:]]
    assert files == [[b"t/0", b"t/1", b"t/2", b"t/3"], [b"t/4"]]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("count", [100, 126, 127])
def test_there_are_never_more_layers_than_engines_take(compose, count):
    base = image("base", *([folder("usr")] for _ in range(count)))
    composer = compose(base=base, builder=image("builder", *([file(f"s/{number}")] for number in range(60))))
    with composer.build(plan([("/s", "/t")])) as built:
        assert len(built.layers) <= max(grouping.MAX_LAYERS, count + 1)
        names = [name for layer in built.layers[count:] for name in contents(layer)]
    assert sorted(names) == sorted(b"t/%d" % number for number in range(60))


@pytest.mark.usefixtures("small")
def test_hard_links_go_with_their_contents(compose):
    builder = image("builder", [file("s/a"), file("s/b")], [hardlink("s/c", "s/a", uid=3), file("s/d")])
    with compose(base=BASE, builder=builder).build(plan([("/s", "/t")])) as built:
        first, second = (read(layer) for layer in built.layers[1:])
    assert [(entry.path, entry.kind, entry.target, entry.uid) for entry in first if entry.kind != "d"] == [
        (b"t/a", "f", b"", 3),
        (b"t/b", "f", b"", 0),
        (b"t/c", "h", b"t/a", 3),
    ]
    assert [entry.path for entry in second] == [b"t", b"t/d"]


def test_folders_that_are_made_have_the_latest_time_of_their_layer(compose):
    builder = image("builder", at(5, [file("x"), symlink("y", "x")]), at(3, [file("z")]))
    composer = compose(base=BASE, builder=builder)
    times = {entry.path: entry.mtime - TIME for entry in composer.entries([("/x", "/a/b/"), ("/z", "/c/")])}
    assert times == {b"a": 5, b"a/b": 5, b"a/b/x": 5, b"c": 5, b"c/z": 3}
    entries = composer.entries([("/x", "/a/")], epoch=TIME + 4)
    assert {entry.path: entry.mtime - TIME for entry in entries} == {b"a": 4, b"a/x": 4}


def flattened(built, folder_) -> dict[bytes, object]:
    """Return what an image's layers come to: all that is told of a file, and its contents."""
    found: dict[bytes, object] = {}
    refs = [LayerRef.of(layer, "built") for layer in built.layers]
    wanted = Wanted([b""])
    with Reader(cache=None, account=Account(), folder=folder_) as reader:
        reader.load(refs, {})
        root = merge([reader.tocs[ref.key] for ref in refs], wanted).root
        stack = [(b"", root)]
        names: dict[int, bytes] = {}
        while stack:
            path, node = stack.pop()
            inode, data = node.inode, b""
            if inode.kind == FILE and inode.size:
                ref = refs[inode.place.layer]
                reader.fetch({ref.key: [inode.place.entry]}, {ref.key: ref})
                data = b"".join(bytes(piece) for piece in reader.pieces(ref.key, inode.place.entry, inode.size))
            linked = names.setdefault(id(inode), path) if inode.shared else path
            found[path] = (inode.attributes, inode.mtime, data, linked)
            children = sorted(node.children or {}, reverse=True)
            stack += [(path + b"/" + name if path else name, node.children[name]) for name in children]
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(made=case())
def test_the_tree_is_the_same_however_it_is_divided(made: Case, tmp_path_factory):
    passwd = [folder("etc"), file("etc/passwd", b"app:x:1:2::/:\n"), file("etc/group", b"staff:x:3:\n")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouping, "LEAST", 0)
        timed = [at(number, items) for number, items in enumerate(made.builder)]
        base = image("base", passwd, *made.base)
        composer = Composer(patch, tmp_path_factory.mktemp("w"), base=base, builder=image("builder", *timed))
        copies = [(f"/{source}", f"/{target}", owner) for source, target, owner in made.copies]
        results = []
        for mode in grouping.MODES:
            try:
                with composer.build(plan(copies, work_dir="/w/d"), options={"layers": mode}, epoch=TIME + 99) as built:
                    results.append(flattened(built, composer.workspace))
                    assert len(built.layers) - len(base.layers) <= (len(made.builder) + 1 if mode == "builder" else 3)
            except (BuildFailed, InvalidDocumentError, NotFoundError, UsageError) as error:
                results.append({b"": str(error)})
    assert results[1:] == results[:1] * 2
