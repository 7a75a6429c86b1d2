"""The choice: its order of rules, and that it is what a reference written apart from it would choose."""

import fnmatch
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.errors import InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.oci import Digest, Index, Platform
from runtimeimg.oci.mediatypes import DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST
from runtimeimg.selection.candidates import candidates
from runtimeimg.selection.choice import choose, require
from runtimeimg.selection.criteria import (
    Criteria,
    Order,
    Preference,
    Requirement,
    namespace,
    parse_preference,
    parse_requirement,
)
from runtimeimg.selection.platforms import Engine, PlatformOrder
from runtimeimg.selection.values import Exact, Glob, Present, VersionRange

LINUX = {"os": "linux", "architecture": "amd64"}


def index(*entries: dict[str, str], platform: Any = None, **more: Any) -> Index:
    """An index of entries with these annotations, all for linux/amd64."""
    manifests = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": Digest.of(str(number).encode()),
            "size": 7,
            "platform": platform or LINUX,
            "annotations": annotations,
        }
        for number, annotations in enumerate(entries)
    ]
    return Index.of([]).evolve(manifests=manifests, **more)


def criteria(*prefer: str, require: tuple[str, ...] = (), **more: Any) -> Criteria:
    return Criteria(
        platforms=PlatformOrder(Platform.parse("linux/amd64")),
        preferences=tuple(map(parse_preference, prefer)),
        requirements=tuple(map(parse_requirement, require)),
        **more,
    )


def taken(found: Index, wanted: Criteria) -> int | None:
    chosen = choose(candidates(found), wanted).chosen
    return None if chosen is None else chosen.candidate.position


GPU = index({}, {"com.example.gpu": "a"}, {"com.example.gpu": "b", "com.example.mpi": "open"})


@pytest.mark.parametrize(
    ("wanted", "position"),
    [
        (criteria(), 0),
        (criteria("com.example.gpu=none"), 0),
        (criteria("com.example.gpu=a"), 1),
        (criteria("com.example.gpu=b"), 2),
        (criteria("com.example.gpu"), 1),
        (criteria("com.example.gpu=?"), 1),
        (criteria("com.example.gpu=a:3", "com.example.gpu=b", "com.example.mpi=open"), 1),
        (criteria("com.example.gpu=a:2", "com.example.gpu=b", "com.example.mpi=open"), 1),
        (criteria("com.example.gpu=a", "com.example.gpu=b", "com.example.mpi=open"), 2),
        (criteria("com.example.gpu=a:-1"), 0),
        (criteria("com.example.gpu=*:-1", "com.example.mpi:5"), 2),
        (criteria(require=("com.example.gpu",)), 1),
        (criteria("com.example.gpu=a:1000", require=("com.example.mpi=open",)), 2),
        (criteria(require=("com.example.gpu=c",)), None),
        (criteria("com.example.mpi", "com.example.gpu=a", order=Order.LEXICOGRAPHIC), 2),
        (criteria("com.example.gpu=a", "com.example.mpi:9", order=Order.LEXICOGRAPHIC), 1),
        (criteria("com.example.gpu", "com.example.mpi", order=Order.LEXICOGRAPHIC), 2),
        (criteria(order=Order.LEXICOGRAPHIC), 0),
        (criteria("com.example.gpu=a:-5", order=Order.LEXICOGRAPHIC), 0),
    ],
)
def test_what_is_taken(wanted: Criteria, position: int | None) -> None:
    assert taken(GPU, wanted) == position


def test_namespaces_come_before_keys_and_keys_before_values() -> None:
    found = index({"org.b.x": "1"}, {"com.a.y": "1"}, {"com.a.x": "2"}, {"com.a.x": "1"})
    prefer = ("com.a.x=1", "com.a.x=2", "com.a.y", "org.b.x")
    wanted = criteria(*prefer, order=Order.LEXICOGRAPHIC)
    order = []
    while (position := taken(found, wanted)) is not None:
        order.append(position)
        kept = [
            {**item, "annotations": {}} if number in order else item
            for number, item in enumerate(found.data["manifests"])
        ]
        found = found.evolve(manifests=kept)
        if len(order) == 4:
            break
    assert order == [3, 2, 1, 0]
    assert taken(index({"com.a.x": "1"}, {"org.b.x": "1"}), replace(wanted, namespaces=("org.b", "com.a"))) == 1


def test_the_platform_counts_before_preferences() -> None:
    entries = [
        {**item, "platform": {**LINUX, **more}}
        for item, more in zip(
            index({"com.example.gpu": "a"}, {}).data["manifests"], ({}, {"variant": "v3"}), strict=True
        )
    ]
    wanted = replace(criteria("com.example.gpu"), platforms=PlatformOrder(Platform.parse("linux/amd64/v3")))
    assert taken(Index.of([]).evolve(manifests=entries), wanted) == 1


def test_any_platform_will_do_where_none_is_asked_for() -> None:
    found = index({}, platform={"os": "plan9", "architecture": "mips"})
    assert taken(found, Criteria()) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mediaType": "application/vnd.example"}, "is of the media type 'application/vnd.example'"),
        ({"platform": {"os": "unknown", "architecture": "unknown"}}, "is for an unknown platform"),
        ({"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}, "says something of another entry"),
        ({"platform": None, "artifactType": "application/vnd.example"}, "is an artifact"),
        ({"platform": {"os": "linux", "architecture": "s390x"}}, "is for linux/s390x, not for linux/amd64"),
        ({"annotations": {"com.example.mpi": "mpich"}}, "has com.example.mpi=mpich; open is required"),
        ({}, "has no annotation 'com.example.mpi'; open is required"),
    ],
)
def test_what_does_not_do_is_said_of_every_candidate(change: dict[str, Any], reason: str) -> None:
    entry = {**index({}).data["manifests"][0], **change}
    choice = choose(candidates(Index.of([]).evolve(manifests=[entry])), criteria(require=("com.example.mpi=open",)))
    with pytest.raises(NotFoundError) as caught:
        require(choice, "web:1")
    assert caught.value.message.splitlines()[0] == "index 'web:1' has nothing that fits for linux/amd64:"
    assert reason in caught.value.message


def test_an_empty_index_and_a_docker_list_without_platforms() -> None:
    with pytest.raises(NotFoundError, match="it is empty"):
        require(choose((), criteria()), "web:1")
    entry = {key: value for key, value in index({}).data["manifests"][0].items() if key != "platform"}
    raw = json.dumps({"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": [entry]}).encode()
    for engine, of_docker in ((Engine.CONTAINERD, 0), (Engine.DOCKER, 0), (Engine.PODMAN, None)):
        wanted = Criteria(platforms=PlatformOrder(Platform.parse("linux/amd64"), engine))
        assert taken(Index(raw, DOCKER_INDEX), wanted) == of_docker
        assert taken(Index(raw, OCI_INDEX), wanted) == 0


def test_a_line_of_the_error_is_about_one_entry_whatever_the_index_says() -> None:
    entry = index({"com.example.mpi": "x\n  2 (linux/amd64, 000000000000): fits\r\x1b[2J\u2028y"}).data["manifests"][0]
    with pytest.raises(NotFoundError) as caught:
        require(
            choose(candidates(Index.of([]).evolve(manifests=[entry])), criteria(require=("com.example.mpi=open",))), "x"
        )
    assert len(caught.value.message.splitlines()) == 2


def test_the_same_digest_with_two_sizes_is_refused() -> None:
    first = index({}).data["manifests"][0]
    with pytest.raises(InvalidDocumentError, match="two sizes"):
        candidates(Index.of([]).evolve(manifests=[first, {**first, "size": 8}]))


@pytest.mark.parametrize(
    ("key", "space"),
    [("com.example.gpu", "com.example"), ("com.example/gpu", "com.example"), ("gpu", ""), ("org.a.b.c", "org.a")],
)
def test_namespaces(key: str, space: str) -> None:
    assert namespace(key, ("org.a", "org")) == space


@pytest.mark.parametrize(
    ("text", "matcher", "weight"),
    [
        ("a.b=c", Exact(("c",)), 1),
        ("a.b=c:12", Exact(("c",)), 12),
        ("a.b=c:-3", Exact(("c",)), -3),
        ("a.b=c:d", Exact(("c:d",)), 1),
        ("a.b=1:2:3", Exact(("1:2",)), 3),
        ("a.b=c*", Glob.parse("c*"), 1),
        ("a.b", Present(), 1),
        ("a.b:7", Present(), 7),
        ("a.b=*:7", Present(), 7),
        ("a.b=>=12.2,<13:7", VersionRange.parse(">=12.2,<13"), 7),
        ("a.b=", Exact(("",)), 1),
        ("a.b>=12.2,<13:7", VersionRange.parse(">=12.2,<13"), 7),
        ("a.b!=1", VersionRange.parse("!=1"), 1),
        ("a.b==1.2", VersionRange.parse("==1.2"), 1),
        ("a.b=x=y", Exact(("x=y",)), 1),
    ],
)
def test_preferences_of_the_command_line(text: str, matcher: object, weight: int) -> None:
    assert parse_preference(text) == Preference(key="a.b", matcher=matcher, weight=weight)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["", "=b", "a b=c", "a\n=b", "a=[", "a=>=x", "a=>=1,,<2", "a=b:9999999", "a=b:" + "9" * 5000, "a=" + "*a" * 200,
     "a=" + ">=1," * 100 + ">1", "k" * 2000 + "=v", "a=[z-a]", "a=<", "a=>=", "a<", "a==x", ">=1", "a\u202e=1"],
)  # fmt: skip
def test_bad_preferences_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_preference(text)
    assert len(caught.value.message) < 500


# The reference: no code of the package takes part in it, and it is as slow as it likes.

KEYS = ["com.a.x", "com.a.y", "org.b.x"]
VALUES = ["1", "2", "12.4", "abc"]
PLATFORMS = [
    {"os": "linux", "architecture": "amd64"},
    {"os": "linux", "architecture": "amd64", "variant": "v2"},
    {"os": "linux", "architecture": "amd64", "variant": "v3"},
    {"os": "linux", "architecture": "386"},
    {"os": "linux", "architecture": "arm64"},
    None,
]
PLACES = {
    "containerd": [("amd64", "v3"), ("amd64", "v2"), ("amd64", ""), ("386", "")],
    "podman": [("amd64", "v3"), ("amd64", "")],
}

annotations = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
entries = st.lists(st.tuples(st.sampled_from(PLATFORMS), annotations), max_size=6)
patterns = st.sampled_from([*VALUES, "*", "1*", "?", "[1-2]", "zz"])
rules = st.lists(
    st.tuples(st.sampled_from(KEYS), patterns, st.integers(-5, 9)), max_size=6, unique_by=lambda item: item[:2]
)
musts = st.lists(st.tuples(st.sampled_from(KEYS), patterns, st.booleans()), max_size=2)
orders = st.sampled_from(list(Order))
engines = st.sampled_from([Engine.CONTAINERD, Engine.DOCKER, Engine.PODMAN])


def made(items: list[tuple[Any, dict[str, str]]]) -> Index:
    manifests = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": Digest.of(str(number).encode()),
            "size": 7,
            **({"platform": platform} if platform else {}),
            "annotations": found,
        }
        for number, (platform, found) in enumerate(items)
    ]
    return Index.of([]).evolve(manifests=manifests)


def asked(
    prefer: list[tuple[str, str, int]], must: list[tuple[str, str, bool]], order: Order, engine: Engine
) -> Criteria:
    return Criteria(
        platforms=PlatformOrder(Platform.parse("linux/amd64/v3"), engine),
        preferences=tuple(Preference(key=key, matcher=Glob.parse(text), weight=weight) for key, text, weight in prefer),
        requirements=tuple(Requirement(key=key, matcher=Glob.parse(text), optional=maybe) for key, text, maybe in must),
        order=order,
    )


def brute(
    items: list[tuple[Any, dict[str, str]]],
    prefer: list[tuple[str, str, int]],
    must: list[tuple[str, str, bool]],
    order: Order,
    engine: Engine,
) -> int | None:
    """Compare every two candidates that are left, one rule after the other."""

    def place(platform: Any) -> int | None:
        known = PLACES["podman" if engine is Engine.PODMAN else "containerd"]
        if platform is None:
            return len(known)
        pair = (platform["architecture"], platform.get("variant", ""))
        return known.index(pair) if pair in known else None

    def does(found: dict[str, str]) -> bool:
        return all(fnmatch.fnmatchcase(found[key], text) if key in found else maybe for key, text, maybe in must)

    def likes(found: dict[str, str]) -> list[tuple[str, str, int]]:
        return [rule for rule in prefer if rule[0] in found and fnmatch.fnmatchcase(found[rule[0]], rule[1])]

    above = [rule for rule in prefer if rule[2] > 0]
    spaces = list(dict.fromkeys(key.rpartition(".")[0] for key, _, _ in above))
    keys = list(dict.fromkeys(key for key, _, _ in above))

    def better(one: int, other: int) -> bool:
        (first, mine), (second, theirs) = items[one], items[other]
        if place(first) != place(second):
            return place(first) < place(second)  # type: ignore[operator]
        if order is Order.SUM:
            here, there = sum(rule[2] for rule in likes(mine)), sum(rule[2] for rule in likes(theirs))
            return here > there if here != there else one < other
        for space in spaces:
            for key in keys:
                for rule in above:
                    if (
                        rule[0] == key
                        and key.rpartition(".")[0] == space
                        and (rule in likes(mine)) != (rule in likes(theirs))
                    ):
                        return rule in likes(mine)
        return one < other

    left = [number for number, (platform, found) in enumerate(items) if place(platform) is not None and does(found)]
    return next((one for one in left if all(one == other or better(one, other) for other in left)), None)


@given(entries, rules, musts, orders, engines)
def test_the_choice_is_that_of_the_reference(items: Any, prefer: Any, must: Any, order: Order, engine: Engine) -> None:
    wanted = asked(prefer, must, order, engine)
    found = taken(made(items), wanted)
    assert found == brute(items, prefer, must, order, engine)
    assert found == taken(made(items), wanted)


@given(entries, rules, musts, orders, st.randoms())
def test_the_order_of_annotations_does_not_count(items: Any, prefer: Any, must: Any, order: Order, random: Any) -> None:
    mixed = []
    for platform, found in items:
        keys = list(found)
        random.shuffle(keys)
        mixed.append((platform, {key: found[key] for key in keys}))
    wanted = asked(prefer, must, order, Engine.CONTAINERD)
    assert taken(made(items), wanted) == taken(made(mixed), wanted)


@given(entries, rules.filter(bool), musts, st.data())
def test_more_weight_never_makes_what_is_liked_lose(items: Any, prefer: Any, must: Any, data: Any) -> None:
    number = data.draw(st.integers(0, len(prefer) - 1))
    key, text, weight = prefer[number]
    heavier = [*prefer]
    heavier[number] = (key, text, weight + data.draw(st.integers(1, 9)))
    before = taken(made(items), asked(prefer, must, Order.SUM, Engine.CONTAINERD))
    after = taken(made(items), asked(heavier, must, Order.SUM, Engine.CONTAINERD))
    if before is not None and key in items[before][1] and fnmatch.fnmatchcase(items[before][1][key], text):
        assert after == before


@given(entries, rules, musts, orders)
def test_no_preference_beats_a_requirement_or_the_platform(items: Any, prefer: Any, must: Any, order: Order) -> None:
    liked = taken(made(items), asked(prefer, must, order, Engine.CONTAINERD))
    plain = taken(made(items), asked([], must, order, Engine.CONTAINERD))
    assert (liked is None) == (plain is None)
    if liked is None or plain is None:
        return
    wanted = asked([], must, order, Engine.CONTAINERD)
    judged = choose(candidates(made(items)), wanted).judged
    assert judged[liked].fits
    assert judged[liked].rank == judged[plain].rank
