"""The cache on disk: whole files or none, damage is a miss, the oldest go first."""

import os
from pathlib import Path

import pytest

from runtimeimg.cache import Cache

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
        (left / "lock").touch()
        (folder.parent / "file").touch()
        cache.prune()
        assert folder.is_dir()
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]
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
