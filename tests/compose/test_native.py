"""The native builder over images in memory: what comes out, what is read, and what is refused."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtimeimg.builders import load_builder
from runtimeimg.errors import BuildFailed, InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.image.zstd import zstd
from runtimeimg.oci import Platform
from runtimeimg.plan import DEFAULT_PATH

from .images import (
    Item,
    MemoryLayer,
    contents,
    file,
    folder,
    hardlink,
    image,
    plan,
    read,
    symlink,
    tar,
    write_layout,
)

BASE = image(
    "base",
    [folder("usr"), folder("usr/lib"), symlink("lib", "usr/lib"), folder("app", 0o700, 5, 6), file("app/there")],
    [folder("etc"), file("etc/passwd", b"app:x:1001:1002::/:\n"), file("etc/group", b"staff:x:50:\n")],
)


def names(entries):
    return [entry.path.decode() for entry in entries]


def by_name(entries):
    return {entry.path.decode(): entry for entry in entries}


def test_parents_that_are_symlinks_in_the_base_are_followed_and_folders_keep_what_they_are(compose):
    composer = compose(base=BASE, builder=image("builder", [folder("s"), file("s/x")]))
    found = by_name(composer.entries([("/s/x", "/lib/deep/"), ("/s", "/app")]))
    assert sorted(found) == ["app", "app/x", "usr", "usr/lib", "usr/lib/deep", "usr/lib/deep/x"]
    assert (found["app"].mode, found["app"].uid, found["app"].gid) == (0o700, 5, 6)


def test_the_base_keeps_its_layers_and_history_and_gets_one_more(compose):
    composer = compose(base=BASE, builder=image("builder", [file("x")]))
    with composer.build(plan([("/x", "/y")], work_dir="/w")) as built:
        assert built.layers[:2] == BASE.layers
        assert built.config.diff_ids == tuple(layer.diff_id for layer in built.layers)
        assert [entry["created_by"] for entry in built.config.history] == [
            "layer 0",
            "layer 1",
            "COPY --from=builder /x /y && WORKDIR /w",
        ]
        assert built.config.data["created"] == "2024-05-06T07:08:09Z"
        assert built.config.config["WorkingDir"] == "/w"


def test_a_layer_for_each_copy(compose):
    composer = compose(base=BASE, builder=image("builder", [file("x"), file("y")]))
    copies = [("/x", "/1"), ("/y", "/1"), ("/x", "/2/")]
    with composer.build(plan(copies), options={"layers": "copy"}) as built:
        assert [sorted(contents(layer).items()) for layer in built.layers[2:]] == [
            [(b"1", b"y")],
            [(b"2/x", b"x")],
        ]
        assert [entry["created_by"] for entry in built.config.history[2:]] == [
            "COPY --from=builder /y /1",
            "COPY --from=builder /x /1 && COPY --from=builder /x /2/",
        ]


def test_whiteouts_links_and_replacements_over_layers(compose):
    builder = image(
        "builder",
        [folder("s"), file("s/gone"), file("s/kept", b"1"), folder("s/d"), file("s/d/old"), symlink("s/l", "kept")],
        [file("s/.wh.gone"), file("s/d/.wh..wh..opq"), file("s/d/new"), hardlink("s/across", "s/kept")],
        [file("s/kept", b"2"), file("s/.wh.never")],
    )
    composer = compose(base=BASE, builder=builder)
    with composer.build(plan([("/s", "/t")])) as built:
        assert contents(built.layers[-1]) == {b"t/across": b"1", b"t/kept": b"2", b"t/d/new": b"s/d/new"}


def test_a_source_behind_symlinks_is_found_wherever_its_layers_have_it(compose):
    builder = image(
        "builder",
        [folder("srv"), folder("srv/app"), file("srv/app/x"), hardlink("srv/app/h", "data"), symlink("app", "one")],
        [
            symlink("one", "../../srv/app"),
            file("data"),
            folder("srv"),
            folder("srv/app"),
            hardlink("srv/app/h", "data"),
        ],
    )
    composer = compose(base=BASE, builder=builder)
    with composer.build(plan([("/app", "/t"), ("/app/*", "/u/")])) as built:
        assert contents(built.layers[-1]) == {
            b"t/h": b"data",
            b"t/x": b"srv/app/x",
            b"u/h": b"data",
            b"u/x": b"srv/app/x",
        }


def test_owners_by_name_and_number(compose):
    composer = compose(base=BASE, builder=image("builder", [file("x", uid=9, gid=9)]))
    found = by_name(
        composer.entries(
            [("/x", "/n/1", "app"), ("/x", "/2", "app:staff"), ("/x", "/3", "7"), ("/x", "/4", "7:8"), ("/x", "/5")]
        )
    )
    owners = {name: (entry.uid, entry.gid) for name, entry in found.items()}
    assert owners == {"n": (1001, 1002), "n/1": (1001, 1002), "2": (1001, 50), "3": (7, 7), "4": (7, 8), "5": (9, 9)}


PASSWD, GROUP = b"app:x:21:22::/:\nnew:x:31:32::/:\n", b"staff:x:52:\n"


def test_names_are_those_that_stand_at_the_copy(compose):
    composer = compose(base=BASE, builder=image("builder", [file("x")], [file("passwd", PASSWD), file("group", GROUP)]))
    copies = [
        ("/x", "/1", "app:staff"),
        ("/passwd", "/etc/"),
        ("/x", "/2", "app:staff"),
        ("/group", "/etc/group", "app"),
        ("/x", "/3", "new:staff"),
    ]
    for options in ({}, {"layers": "copy"}):
        with composer.build(plan(copies, work_dir="/w"), options=options) as built:
            entries = [entry for layer in built.layers[2:] for entry in read(layer)]
        owners = {entry.path: (entry.uid, entry.gid) for entry in entries}
        assert (owners[b"1"], owners[b"2"], owners[b"3"]) == ((1001, 50), (21, 50), (31, 52))
        assert owners[b"etc/group"] == (21, 22)


def test_a_copied_file_of_names_may_be_a_link_or_gone_with_its_folder(compose):
    builder = image("builder", [symlink("s/passwd", "real"), file("s/real", PASSWD), folder("s"), file("big", b"x")])
    composer = compose(base=image("base", [symlink("etc", "conf"), folder("conf")]), builder=builder)
    found = by_name(composer.entries([("/s", "/etc"), ("/big", "/y", "app")]))
    assert (found["y"].uid, found["y"].gid) == (21, 22)


def test_the_work_dir_under_the_user_of_the_base_goes_by_what_was_copied(compose):
    base = image("base", [folder("etc"), file("etc/passwd", b"app:x:3:4::/:\n")], User="app")
    composer = compose(base=base, builder=image("builder", [file("passwd", PASSWD)]))
    found = by_name(composer.entries([("/passwd", "/etc/passwd")], work_dir="/w"))
    assert (found["w"].uid, found["w"].gid) == (21, 22)


def test_names_come_out_of_folders_too(compose, tmp_path):
    (tmp_path / "passwd").write_bytes(PASSWD)
    found = by_name(compose(base=BASE).entries([("passwd", "/etc/"), ("passwd", "/y", "new")], builder=None))
    assert (found["y"].uid, found["y"].gid) == (31, 32)


@pytest.mark.parametrize("chown", ["nobody", "app:nobody", "5:nobody"])
def test_an_unknown_owner_is_named(compose, chown):
    composer = compose(base=BASE, builder=image("builder", [file("x")]))
    message = r"copies\[0\]: (user|group) 'nobody' is not in /etc/.* of the base image 'base'"
    with pytest.raises(NotFoundError, match=message):
        composer.entries([("/x", "/y", chown)])


def test_the_work_dir_belongs_to_the_user_of_the_base(compose):
    base = image("base", [folder("etc"), file("etc/passwd", b"app:x:3:4::/:\n")], User="app")
    found = by_name(compose(base=base, builder=image("builder", [])).entries([], work_dir="/w/x"))
    assert {name: (entry.uid, entry.gid, entry.mode) for name, entry in found.items()} == {
        "w": (3, 4, 0o755),
        "w/x": (3, 4, 0o755),
    }


@pytest.mark.parametrize("work_dir", ["/app/there", "/link", "/app/there/below", "/x"])
def test_a_work_dir_that_is_a_file_is_refused(compose, work_dir):
    base = image("base", [folder("app"), file("app/there"), symlink("link", "app/there")])
    composer = compose(base=base, builder=image("builder", [file("x")]))
    with pytest.raises(BuildFailed, match=r"spec.runtime.workDir: '/(app/there|x)' is (a file|not a folder)"):
        composer.entries([("/x", "/x")], work_dir=work_dir)


@pytest.mark.parametrize("length", [251, 252, 255])
def test_names_of_any_length_are_removed(compose, length):
    name = "n" * length
    builder = image("builder", [folder("s"), file(f"s/{name}"), file("s/kept")], [file(f"s/.wh.{name}")])
    assert names(compose(base=BASE, builder=builder).entries([("/s", "/t")])) == ["t", "t/kept"]


def test_the_image_that_the_base_was_committed_from_is_not_told(compose):
    base = image("base", [], Image="sha256:" + "a" * 64, ArgsEscaped=True, Cmd=["x"])
    with compose(base=base, builder=image("builder", [])).build(plan([])) as built:
        assert built.config.config == {"Cmd": ["x"], "ArgsEscaped": True, "Env": [f"PATH={DEFAULT_PATH}"]}


def test_scratch_has_no_work_dir_unless_it_is_told(compose):
    with compose(builder=image("builder", [file("x")])).build(plan([("/x", "/x")], base=None)) as built:
        assert built.config.config == {"Env": [f"PATH={DEFAULT_PATH}"]}


def test_nothing_to_add_makes_no_layer(compose):
    composer = compose(base=BASE, builder=image("builder", []))
    with composer.build(plan([], work_dir="/usr/lib")) as built:
        assert built.layers == BASE.layers


def test_scratch_takes_the_platform_of_the_builder(compose):
    composer = compose(builder=image("builder", [file("x")]))
    with composer.build(plan([("/x", "/x")], base=None)) as built:
        assert (str(built.platform), len(built.layers)) == ("linux/amd64", 1)
    with (
        pytest.raises(NotFoundError, match="is for linux/amd64, not for linux/arm64"),
        composer.build(plan([("/x", "/x")], base=None), platform=Platform.parse("linux/arm64")),
    ):
        pass


@pytest.mark.parametrize(
    ("copies", "kind", "message"),
    [
        ([("/nope", "/x")], NotFoundError, r"copies\[0\]: '/nope' does not exist"),
        ([("/dangling", "/x")], NotFoundError, r"'/dangling' does not exist \(it leads to '/nowhere'\)"),
        ([("/s/x/y", "/x")], NotFoundError, "'/s/x' is not a folder"),
        ([("/s/q*", "/x/")], NotFoundError, r"nothing matches '/s/q\*'"),
        ([("/s/*", "/x")], UsageError, "2 files match, and the destination '/x' is not marked as a folder"),
        ([("/loop", "/x")], InvalidDocumentError, "symlink without end"),
        ([("/s", "/etc/passwd")], BuildFailed, "folder '/s' cannot be copied to '/etc/passwd': that is no folder"),
        ([("/s", "/etc/passwd/x")], BuildFailed, "'/etc/passwd' is not a folder"),
        ([("/s/x", "/f/"), ("/t", "/f")], BuildFailed, "'/f/x' is a file already and cannot be replaced by a folder"),
        ([("/t", "/f"), ("/s/x", "/f/")], BuildFailed, "'/f/x' is a folder already"),
        ([("/root", "/")], BuildFailed, "'/lib' is a symlink to 'usr/lib' already and cannot be replaced by a folder"),
    ],
)
def test_copies_that_cannot_be_done(compose, copies, kind, message):
    builder = image(
        "builder",
        [folder("s"), file("s/x"), file("s/y"), folder("t"), folder("t/x"), folder("root"), folder("root/lib")],
        [symlink("dangling", "nowhere"), symlink("loop", "loop")],
    )
    with pytest.raises(kind, match=message):
        compose(base=BASE, builder=builder).entries(copies)


def test_a_plan_with_run_is_refused_by_name(compose):
    composer = compose(base=BASE, builder=image("builder", []))
    with (
        pytest.raises(UsageError, match=r"spec.runtime.run\[0\]: the native builder runs nothing") as caught,
        composer.build(plan([], run=["useradd app"])),
    ):
        pass
    assert "--builder docker" in caught.value.hint
    assert load_builder("native").name == "native"


def test_onbuild_of_the_base_is_refused(compose):
    composer = compose(base=image("base", [], OnBuild=["RUN make"]), builder=image("builder", []))
    with pytest.raises(UsageError, match=r"ONBUILD instructions.*RUN make"), composer.build(plan([])):
        pass


@pytest.mark.parametrize("option", [{"compression": "lzma"}, {"level": "99"}, {"link": "maybe"}, {"speed": "1"}])
def test_options_are_checked(compose, option):
    with pytest.raises(UsageError), compose(base=BASE).build(plan([]), options=option):
        pass


@pytest.mark.parametrize("name", ["gzip", "gzip:9", "zstd", "zstd:1", "none"])
def test_any_compression_gives_the_same_archive(compose, name):
    composer = compose(base=BASE, builder=image("builder", [file("x", os.urandom(100) * 30_000)]))
    with (
        composer.build(plan([("/x", "/y")]), options={"compression": name}) as built,
        composer.build(plan([("/x", "/y")])) as plain,
    ):
        assert built.layers[-1].diff_id == plain.layers[-1].diff_id
        assert contents(built.layers[-1]) == contents(plain.layers[-1])


@pytest.mark.parametrize("how", ["gzip", "members", "padded", "zstd", "frames"])
def test_builder_layers_may_be_compressed_whatever_they_say(compose, how):
    data = tar([file("x", b"text" * 10_000)])
    blob = {
        "gzip": lambda: gzip.compress(data),
        "members": lambda: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
        "padded": lambda: gzip.compress(data) + bytes(1000),
        "zstd": lambda: zstd().compress(data),
        "frames": lambda: zstd().compress(data[:1000]) + zstd().compress(data[1000:]),
    }[how]()
    composer = compose(base=BASE, builder=image("builder", MemoryLayer(blob)))
    with composer.build(plan([("/x", "/y")])) as built:
        assert contents(built.layers[-1]) == {b"y": b"text" * 10_000}


# The same bytes


def digest_of(composer, build_plan, **request):
    with composer.build(build_plan, **request) as built:
        return built.to_manifest().digest


def test_the_cache_changes_nothing(compose, tmp_path):
    builder = image("builder", [folder("s"), file("s/a"), hardlink("s/b", "s/a")], [folder("s"), file("s/c")])
    composer = compose(base=BASE, builder=builder)
    made = plan([("/s", "/t"), ("/s/a", "/t/sub/")])
    cold = digest_of(composer, made)
    assert digest_of(composer, made, cache_dir=tmp_path / "cache") == cold
    assert digest_of(composer, made, cache_dir=tmp_path / "cache") == cold
    assert digest_of(composer, plan([("/s/c", "/t")]), cache_dir=tmp_path / "cache") != cold
    assert digest_of(composer, made, cache_dir=tmp_path / "cache", no_cache=True) == cold


def test_source_date_epoch_bounds_all_times(compose):
    composer = compose(base=BASE, builder=image("builder", [Item(path="old", mtime=5), Item(path="new", mtime=2**33)]))
    with composer.build(plan([("/old", "/d/old"), ("/new", "/d/new")]), epoch=1000) as built:
        assert built.config.data["created"] == "1970-01-01T00:16:40Z"
        times = {entry.path: entry.mtime for entry in read(built.layers[-1])}
    assert times == {b"d": 1000, b"d/new": 1000, b"d/old": 5}


SCRIPT = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from compose.images import plan
from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.native import NativeBuilder
from runtimeimg.stores import StoreOptions
os.umask(int(sys.argv[2], 8))
made = plan([("/s", "/t"), ("/s/a", "/u/", "5")], base="oci:layout:base", builder="oci:layout:builder", work_dir="/w")
with NativeBuilder().build(BuildRequest(plan=made, stores=StoreOptions(), workspace=Path())) as built:
    print(built.to_manifest().digest)
"""


def test_folder_umask_locale_and_time_zone_do_not_show(tmp_path):
    items = [folder("s"), file("s/a"), file("s/é\udcff", b""), symlink("s/l", "a"), hardlink("s/h", "s/a")]
    layers = [tar(items)]
    digests = set()
    for number, (umask, environment) in enumerate(
        [
            ("022", {"LC_ALL": "C", "TZ": "UTC"}),
            ("077", {"LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}),
        ]
    ):
        there = tmp_path / f"folder {number}"
        write_layout(there / "layout", {"builder": (layers, {}), "base": ([tar([folder("usr")])], {})})
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), umask],
            cwd=there,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1
    assert digests.pop().startswith("sha256:")


# Folders


def test_the_workspace_is_copied_with_its_modes_and_without_its_owners(compose, tmp_path):
    (tmp_path / "static").mkdir(mode=0o750)
    (tmp_path / "static/run").write_bytes(b"#!")
    (tmp_path / "static/run").chmod(0o751)
    os.link(tmp_path / "static/run", tmp_path / "static/same")
    (tmp_path / "static/link").symlink_to("run")
    (tmp_path / "static/empty").touch()
    composer = compose(base=BASE)
    found = by_name(composer.entries([("static", "/t"), ("sta*/r*", "/u/")], builder=None))
    assert list(found) == ["t", "t/empty", "t/link", "t/run", "t/same", "u", "u/run"]
    assert (found["t/run"].mode, found["t/run"].uid, found["t/run"].size) == (0o751, 0, 2)
    assert (found["t/same"].kind, found["t/same"].target) == ("h", b"t/run")
    assert found["t/link"].target == b"run"


@pytest.mark.parametrize("source", ["out", "up", "up/x", "inner/../../x"])
def test_nothing_leads_out_of_the_workspace(compose, tmp_path, source):
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "x").write_bytes(b"secret")
    (work / "out").symlink_to(tmp_path / "x")
    (work / "up").symlink_to("..")
    composer = compose(base=BASE)
    composer.workspace = work
    with pytest.raises((UsageError, NotFoundError)):
        composer.entries([(source, "/t")], builder=None)


def test_a_folder_as_the_builder_is_read_as_an_image_is(compose, tmp_path):
    (tmp_path / "root/srv").mkdir(parents=True)
    (tmp_path / "root/srv/x").write_bytes(b"x")
    (tmp_path / "root/app").symlink_to("/srv")
    composer = compose(base=BASE)
    assert names(composer.entries([("/app/x", "/y")], builder=f"dir:{tmp_path}/root")) == ["y"]
    with pytest.raises(NotFoundError, match=r"folder '.*nope' does not exist"):
        composer.entries([("/app/x", "/y")], builder=f"dir:{tmp_path}/nope")


def test_names_that_mean_removal_are_refused(compose, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/.wh.x").touch()
    with pytest.raises(InvalidDocumentError, match=r"\.wh\.x' has a name that means its removal"):
        compose(base=BASE).entries([("s", "/t")], builder=None)
