"""registries.conf and daemon.json: which file wins, what a prefix matches, where a name leads. Nothing is talked to."""

import json
from pathlib import Path

import pytest

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.oci import Location, Reference
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.registry.conf import Rule, registries_conf
from runtimeimg.stores.registry.places import meanings, pull_places, push_place

DIGEST = "sha256:" + "a" * 64


def conf(folder: Path, text: str, name: str = "registries.conf") -> Path:
    path = folder / "containers" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def pulled(name: str, options: StoreOptions) -> list[str]:
    """Return where a name is read from, the mirrors marked."""
    found = pull_places(Reference.parse(name), options)
    return [("~" if place.mirror else "") + str(place.reference) for place in found]


def search(options: StoreOptions) -> tuple[str, ...]:
    return registries_conf(options).search


def test_files_in_order(tmp_path: Path) -> None:
    etc, home = tmp_path / "etc", tmp_path / "home/.config"
    options = StoreOptions(etc=etc, environ={"HOME": str(tmp_path / "home")})
    assert search(options) == ()
    conf(etc, 'unqualified-search-registries = ["main.test"]\n[aliases]\na = "one.test/a"\nb = "one.test/b"')
    assert search(options) == ("main.test",)
    conf(etc, '[aliases]\na = "two.test/a"\nb = ""', "registries.conf.d/10.conf")
    conf(home, 'unqualified-search-registries = ["drop.test"]', "registries.conf.d/05.conf")
    assert search(options) == ("drop.test",)
    assert registries_conf(options).aliases == {"a": "two.test/a"}
    conf(home, 'unqualified-search-registries = ["user.test"]')
    assert search(options) == ("drop.test",)
    assert registries_conf(options).aliases == {}
    named = conf(tmp_path, 'unqualified-search-registries = ["named.test"]', "named.conf")
    both = StoreOptions(etc=etc, environ={**options.environ, "CONTAINERS_REGISTRIES_CONF": str(named)})
    assert search(both) == ("drop.test",)
    assert registries_conf(both).aliases == {"a": "two.test/a"}
    missing = StoreOptions(etc=etc, environ={"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "none")})
    with pytest.raises(UsageError, match="none' does not exist"):
        search(missing)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    options = StoreOptions(etc=tmp_path)
    conf(tmp_path, 'unqualified-search-registries = ["a.test"]')
    assert search(options) == ("a.test",)
    conf(tmp_path, 'unqualified-search-registries = ["long.test"]')
    assert search(options) == ("long.test",)


@pytest.mark.parametrize(
    ("prefix", "name", "matched"),
    [
        ("r.test", "r.test/a:1", "r.test"),
        ("r.test", "r.test:5000/a:1", "r.test"),
        ("r.test/a", "r.test/a:1", "r.test/a"),
        ("r.test/a", "r.test/a/b:1", "r.test/a"),
        ("r.test/a", f"r.test/a@{DIGEST}", "r.test/a"),
        ("r.test/a", "r.test/ab:1", ""),
        ("r.test", "r.testing/a:1", ""),
        ("*.r.test", "a.r.test/b:1", "a.r.test"),
        ("*.r.test", "a.b.r.test/c:1", "a.b.r.test"),
        ("*.r.test", "r.test/b:1", ""),
        ("*.r.test", "ar.test/b:1", ""),
        ("*.r.test", "a.r.test:5000/b:1", ""),
        ("*.r.test/x", "a.r.test/x/b:1", "a.r.test/x"),
        ("*.r.test/x", "a.r.test/y:1", ""),
    ],
)
def test_prefixes(prefix: str, name: str, matched: str) -> None:
    assert name[: Rule(prefix=prefix).matched(name)] == matched


def test_places(tmp_path: Path) -> None:
    options = StoreOptions(etc=tmp_path)
    conf(
        tmp_path,
        """
        [[registry]]
        prefix = "r.test"
        location = "moved.test/all"
        [[registry.mirror]]
        location = "any.test/m"
        insecure = true
        [[registry.mirror]]
        location = "digests.test"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "tags.test"
        pull-from-mirror = "tag-only"
        [[registry]]
        location = "r.test/own"
        [[registry]]
        prefix = "*.wild.test"
        [[registry.mirror]]
        location = "cache.test"
        [[registry]]
        prefix = "*.moved.test"
        location = "there.test"
        """,
    )
    assert pulled("r.test/a:1", options) == ["~any.test/m/a:1", "~tags.test/a:1", "moved.test/all/a:1"]
    assert pulled(f"r.test/a@{DIGEST}", options) == [
        f"~any.test/m/a@{DIGEST}",
        f"~digests.test/a@{DIGEST}",
        f"moved.test/all/a@{DIGEST}",
    ]
    assert pulled("r.test/own/a:1", options) == ["r.test/own/a:1"]
    assert pulled("x.wild.test/a:1", options) == ["~cache.test/a:1", "x.wild.test/a:1"]
    assert pulled("x.moved.test/a:1", options) == ["there.test/a:1"]
    assert pulled("other.test/a:1", options) == ["other.test/a:1"]
    assert str(push_place(Reference.parse("r.test/a:1"), options).reference) == "moved.test/all/a:1"
    insecure = [place.insecure for place in pull_places(Reference.parse("r.test/a:1"), options)]
    assert insecure == [True, False, False]


def test_mirrors_of_docker_hub(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    daemon = {"registry-mirrors": ["https://hub.test/", "http://near.test:5000"], "insecure-registries": ["hub.test"]}
    (tmp_path / "docker/daemon.json").write_text(json.dumps(daemon))
    conf(tmp_path, '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "first.test/hub"')
    options = StoreOptions(etc=tmp_path)
    assert pulled("debian", options) == [
        "~first.test/hub/library/debian",
        "~hub.test/library/debian",
        "~near.test:5000/library/debian",
        "docker.io/library/debian",
    ]
    found = pull_places(Reference.parse("debian"), options)
    assert [place.insecure for place in found] == [False, True, False, False]
    assert [place.plain for place in found] == [False, False, True, False]
    assert pulled("r.test/debian", options) == ["r.test/debian"]


@pytest.mark.parametrize(
    ("registry", "insecure"),
    [("10.1.2.3:5000", True), ("10.2.0.1", False), ("r.test:5000", True), ("r.test", False), ("[fd00::1]:5000", True)],
)
def test_insecure_registries_of_the_engine(tmp_path: Path, registry: str, insecure: bool) -> None:
    (tmp_path / "docker").mkdir()
    daemon = {"insecure-registries": ["10.1.0.0/16", "r.test:5000", "fd00::/8"]}
    (tmp_path / "docker/daemon.json").write_text(json.dumps(daemon))
    assert push_place(Reference.parse(f"{registry}/x"), StoreOptions(etc=tmp_path)).insecure is insecure


def test_names_with_a_registry_are_never_short(tmp_path: Path) -> None:
    conf(tmp_path, 'unqualified-search-registries = ["r.test"]\n[aliases]\ndebian = "other.test/debian"')
    options = StoreOptions(etc=tmp_path)
    for name in ("docker.io/library/debian", "docker.io/debian", "r.test/debian"):
        assert meanings(Reference.parse(name), options) == (Reference.parse(name),)
    explicit = Location.parse("docker://debian:1").reference
    assert explicit is not None
    assert meanings(explicit, options) == (Reference.parse("docker.io/library/debian:1"),)
    assert meanings(Reference.parse("debian:12"), options) == (Reference.parse("other.test/debian:12"),)
    assert meanings(Reference.parse(f"a/b@{DIGEST}"), options) == (Reference.parse(f"r.test/a/b@{DIGEST}"),)
    conf(tmp_path, "")
    assert meanings(Reference.parse("debian:12"), options) == (Reference.parse("debian:12"),)


def test_the_first_version_of_the_format(tmp_path: Path) -> None:
    conf(
        tmp_path,
        '[registries.search]\nregistries = ["s.test"]\n[registries.insecure]\nregistries = ["i.test"]\n'
        '[registries.block]\nregistries = ["b.test"]\n',
    )
    options = StoreOptions(etc=tmp_path)
    assert search(options) == ("s.test",)
    assert push_place(Reference.parse("i.test/a"), options).insecure
    with pytest.raises(UsageError, match="blocked"):
        push_place(Reference.parse("b.test/a"), options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("junk", "is not valid TOML"),
        ("[[registry]]\ninsecure = true", "neither prefix nor location"),
        ('[[registry]]\nlocation = "https://r.test"', "holds more than a host and a path"),
        ('[[registry]]\nlocation = "r.test"\nblocked = "yes"', "'blocked' is neither true nor false"),
        ('[[registry]]\nlocation = "r.test"\nmirror = ["a"]', "'mirror' is not a list of tables"),
        ('[[registry]]\nlocation = "r.test"\n[[registry.mirror]]\ninsecure = true', "a mirror has no location"),
        (
            '[[registry]]\nlocation = "r.test"\n[[registry.mirror]]\nlocation = "m"\npull-from-mirror = "no"',
            "is none of all, digest-only, tag-only",
        ),
        ('short-name-mode = "maybe"', "is none of enforcing"),
        ("unqualified-search-registries = 5", "is not a list of strings"),
        ("[aliases]\na = 5", "an alias is not a string"),
        ('[[registry]]\nprefix = "r.test"\nlocation = "UPPER/x"', "which names no registry|not valid"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    conf(tmp_path, text)
    with pytest.raises(InvalidDocumentError, match=message):
        push_place(Reference.parse("r.test/a:1"), StoreOptions(etc=tmp_path))


@pytest.mark.parametrize(
    "text",
    ["junk", '{"insecure-registries": "x"}', '{"insecure-registries": ["1.2/3/4"]}', '{"registry-mirrors": ["m"]}'],
)
def test_broken_daemon_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/daemon.json").write_text(text)
    with pytest.raises(InvalidDocumentError, match=r"daemon\.json'"):
        push_place(Reference.parse("r.test/a:1"), StoreOptions(etc=tmp_path))
