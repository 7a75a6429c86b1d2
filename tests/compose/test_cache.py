"""The cache on disk: whole files or none, damage is a miss, the oldest go first."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runtimeimg.cache import Cache

from .images import file, tar, write_layout

KEYS = [f"{number:016x}" for number in range(4)]


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def test_what_is_put_is_got(cache):
    assert cache.get("toc", KEYS[0]) is None
    cache.put("toc", KEYS[0], b"data")
    assert cache.get("toc", KEYS[0]) == b"data"
    assert cache.get("file", KEYS[0]) is None
    assert (cache.info().files["toc"], cache.info().size) == (1, 36)


def test_damage_is_a_miss(cache):
    cache.put("toc", KEYS[0], b"data")
    (path,) = (path for path in cache.root.rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.get("toc", KEYS[0]) is None


def test_files_are_taken_in_and_given_out_by_name(cache, tmp_path):
    (tmp_path / "layer").write_bytes(b"blob")
    cache.take_in("layer", KEYS[0], tmp_path / "layer")
    assert cache.link_out("layer", KEYS[0], 4, tmp_path / "out")
    cache.prune()
    assert (tmp_path / "out").read_bytes() == b"blob"
    assert not cache.link_out("layer", KEYS[0], 4, tmp_path / "again")


def test_those_not_used_for_longest_go_first(cache):
    for age, key in enumerate(KEYS):
        cache.put("file", key, b"x" * 68)
        os.utime(cache.root / "v1/file" / key[:2] / key, ns=(age, age))
    assert cache.get("file", KEYS[0])
    assert cache.prune(limit=250) == 200
    assert [key for key in KEYS if cache.get("file", key)] == [KEYS[0], KEYS[3]]


def test_what_a_killed_process_left_goes_and_what_is_in_use_stays(cache):
    with cache.work_folder() as folder:
        left = folder.parent / "left"
        left.mkdir()
        left.with_suffix(".lock").touch()
        (folder.parent / "file").touch()
        cache.prune()
        assert folder.is_dir()
        assert {path.stem for path in folder.parent.iterdir()} == {folder.name}
    assert not folder.exists()


def test_a_disk_that_cannot_be_written_to_is_no_error(tmp_path):
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file")
    cache.put("toc", KEYS[0], b"data")
    assert cache.get("toc", KEYS[0]) is None
    assert cache.prune() == 0


@pytest.mark.parametrize("key", ["../../x", "", "ABCDEF0123456789"])
def test_keys_are_digests(cache, key):
    with pytest.raises(ValueError, match="no place"):
        cache.get("toc", key)


def test_no_build_needs_it(compose, tmp_path):
    from .images import file, image

    composer = compose(base=image("base", []), builder=image("builder", [file("x")]))
    (tmp_path / "file").touch()
    assert [entry.path for entry in composer.entries([("/x", "/y")], cache_dir=Path(tmp_path / "file"))] == [b"y"]


def test_what_others_could_have_written_is_not_believed(tmp_path):
    said = []
    root = tmp_path / "cache"
    assert Cache.open(root, said.append).root == root
    assert root.stat().st_mode & 0o777 == 0o700
    assert not said
    for mode in (0o777, 0o770, 0o702):
        root.chmod(mode)
        assert Cache.open(root, said.append) is None
        assert "others may write to it" in said.pop()
    root.chmod(0o755)
    assert Cache.open(root, said.append)
    assert root.stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(root)
    assert Cache.open(tmp_path / "link", said.append) is None
    (tmp_path / "file").touch()
    assert Cache.open(tmp_path / "file", said.append) is None
    assert Cache.open(None, said.append) is None
    assert len(said) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of somebody else")
def test_a_cache_of_another_user_is_not_believed(tmp_path):
    said = []
    (tmp_path / "cache").mkdir(mode=0o700)
    os.chown(tmp_path / "cache", 4711, 4711)
    assert Cache.open(tmp_path / "cache", said.append) is None
    assert "belongs to another user" in said[0]


def test_builds_that_share_a_cache_never_delete_each_others_folders(tmp_path):
    """Folders are made and locked while others prune without end."""
    cache = Cache(tmp_path / "cache")
    stop = threading.Event()

    def prune():
        while not stop.is_set():
            Cache(tmp_path / "cache").prune()

    cleaners = [threading.Thread(target=prune) for _ in range(3)]
    for cleaner in cleaners:
        cleaner.start()
    try:
        for number in range(300):
            with cache.work_folder() as folder:
                (folder / "file").write_bytes(b"x")
                cache.put("toc", f"{number:016x}", b"data")
                assert (folder / "file").read_bytes() == b"x"
    finally:
        stop.set()
        for cleaner in cleaners:
            cleaner.join()
    cache.prune()
    assert list((tmp_path / "cache/v1/tmp").iterdir()) == []


def test_the_next_build_removes_what_a_killed_one_left(tmp_path):
    cache = Cache(tmp_path / "cache")
    code = (
        "import os, sys, pathlib; from runtimeimg.cache import Cache\n"
        "with Cache(pathlib.Path(sys.argv[1])).work_folder() as folder:\n"
        "    (folder / 'large').touch(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "cache"], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -9
    (left,) = (path for path in (tmp_path / "cache/v1/tmp").iterdir() if path.is_dir())
    with cache.work_folder() as folder:
        assert not left.exists()
        assert {path.stem for path in folder.parent.iterdir()} == {folder.name}


@pytest.mark.parametrize("how", ["others", "file", "no home", "full"])
def test_a_cache_that_cannot_be_had_is_done_without_and_said_once(how, tmp_path):
    from tests.hostile import bounded

    write_layout(tmp_path / "layout", {"image": ([tar([file("x")])], {})})
    (tmp_path / "build.yaml").write_text(
        "apiVersion: runtimeimg.dev/v1\nkind: Build\nspec:\n  builder: {image: 'oci:layout:image'}\n"
        "  output: {image: out}\n  runtime:\n    base: {image: 'oci:layout:image'}\n    directories: ['/x:/y']\n"
    )
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    if how == "file":
        (tmp_path / "cache").touch()
    elif how == "others":
        (tmp_path / "cache/runtimeimg").mkdir(parents=True)
        (tmp_path / "cache/runtimeimg").chmod(0o777)
    elif how == "full":
        environ["XDG_CACHE_HOME"] = "/proc/self"
    else:
        environ["XDG_CACHE_HOME"] = ""
        environ["HOME"] = "/nonexistent/home"
    done = bounded.cli("build", "--builder", "native", "-o", "oci:out", cwd=tmp_path, env=environ)
    assert done.code == 0, done.said
    assert done.err.count("is not used") == (1 if how != "no home" else done.err.count("is not used"))
    assert done.err.count("is not used") <= 1
