"""`index lint`: each rule on an index that breaks it and on one that does not, and what look-alikes do to it."""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.findings import Finding
from runtimeimg.oci import Digest, Index, Platform
from runtimeimg.oci.mediatypes import DOCKER_INDEX, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from runtimeimg.selection.lint import lint, unique_images
from runtimeimg.selection.lintinside import Inside
from runtimeimg.selection.lintrules import RULES

AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64"}
V3 = {**AMD64, "variant": "v3"}
GPU = {"com.example.gpu": "a100"}


def digest(name: object) -> Digest:
    return Digest.of(str(name).encode())


def entry(
    name: object = 1,
    platform: Mapping[str, Any] | None = AMD64,
    annotations: Mapping[str, str] | None = None,
    media_type: str = OCI_MANIFEST,
    **more: Any,
) -> dict[str, Any]:
    data = {"mediaType": media_type, "digest": digest(name), "size": 500, **more}
    data |= {"platform": platform} if platform is not None else {}
    return data | ({"annotations": annotations} if annotations else {})


def index(*entries: Mapping[str, Any], kind: str = OCI_INDEX, **more: Any) -> Index:
    return Index(json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries, **more}).encode(), kind)


def found(made: Index, insides: Mapping[str, Inside] | None = None, **options: Any) -> tuple[Finding, ...]:
    return lint(made, "oci:x:1", insides, **options)


ATTESTATION = entry(
    9,
    {"os": "unknown", "architecture": "unknown"},
    {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest(1)},
)
REF = {"org.opencontainers.image.ref.name": "1"}

# rule: an index that breaks it, where and what is said, an index that does not
CASES: list[tuple[str, Index, str, str, Index]] = [
    ("INDEX-001", index(entry(annotations={"gpu": "a"})), "manifests[0].annotations['gpu']", "has the key 'gpu'",
     index(entry(annotations=GPU))),
    ("INDEX-002", index(entry(annotations={"org.opencontainers.image.verison": "1"})),
     "manifests[0].annotations['org.opencontainers.image.verison']", "which is not defined",
     index(entry(annotations={"org.opencontainers.image.version": "1"}))),
    ("INDEX-003", index(entry(1, annotations=GPU), entry(2, annotations={"com.example.GPU": "b"})),
     "manifests[1].annotations['com.example.GPU']", "looks like 'com.example.gpu' elsewhere",
     index(entry(1, annotations=GPU), entry(2, annotations={"com.example.gpu": "b"}))),
    ("INDEX-004", index(entry(1), entry(2, annotation=GPU)), "manifests[1].annotation", "has 'annotation'",
     index(entry(1), entry(2, annotations=GPU))),
    ("INDEX-005", index(entry(1, annotations=GPU), entry(2)), "manifests[1]",
     "is only chosen where something speaks against entry 1",
     index(entry(2), entry(1, annotations=GPU))),
    ("INDEX-006", index(entry(1), entry(2)), "manifests[1]", "is never chosen: entry 1",
     index(entry(1), entry(2, ARM64))),
    ("INDEX-007", index(entry(1, annotations=GPU), entry(2, ARM64, GPU)), "annotations",
     "has 'com.example.gpu=a100' at each of its 2 images", index(entry(1, annotations=GPU), entry(2, ARM64))),
    ("INDEX-008", index(entry(1, annotations=GPU), annotations={"com.example.gpu": "none"}),
     "annotations['com.example.gpu']", "which entries are chosen by",
     index(entry(1, annotations=GPU), annotations={"com.example.team": "web"})),
    ("INDEX-009", index(entry(annotations=REF)), "manifests[0].annotations['org.opencontainers.image.ref.name']",
     "has the key", index(entry(annotations=GPU))),
    ("INDEX-010", index(entry(annotations={"com.example.text": "x" * 200_000})), "index",
     "131072 are the budget", index(entry(annotations={"com.example.text": "x" * 100_000}))),
    ("INDEX-011", index(entry(platform=None)), "manifests[0].platform", "names no os and architecture",
     index(entry())),
    ("INDEX-012", index(entry(), ATTESTATION), "manifests[1].platform", "is for unknown/unknown", index(entry())),
    ("INDEX-013", index(entry(platform={"os": "Linux", "architecture": "x86_64"})), "manifests[0].platform",
     "is for 'Linux/x86_64'", index(entry())),
    ("INDEX-014", index(entry(platform={**AMD64, "features": ["sse4"]})), "manifests[0].platform['features']",
     "has the platform field 'features'", index(entry(platform=V3))),
    ("INDEX-015", index(entry(media_type=OCI_CONFIG)), "manifests[0].mediaType",
     f"is for linux/amd64 and no image but '{OCI_CONFIG}'", index(entry())),
    ("INDEX-016", index(entry(media_type=OCI_INDEX, platform=None)), "manifests[0].mediaType", "is an index",
     index(entry())),
    ("INDEX-017", index(entry(media_type=OCI_MANIFEST), kind=DOCKER_INDEX), "manifests[0].mediaType",
     f"in an index that is '{DOCKER_INDEX}'", index(entry(media_type=DOCKER_MANIFEST), kind=DOCKER_INDEX)),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "bad", "inside", "message", "good"), CASES, ids=[case[0] for case in CASES])
def test_a_rule_finds_what_breaks_it_and_nothing_else(
    rule: str, bad: Index, inside: str, message: str, good: Index
) -> None:
    (said,) = found(bad)
    assert (said.rule.id, said.where.inside, said.where.artifact) == (rule, inside, "oci:x:1")
    assert message in said.message
    assert said.fix
    assert found(good) == ()


def of(platform: Mapping[str, str], **more: Any) -> Inside:
    return Inside(platform=Platform.from_json(platform), **more)


INSIDE: list[tuple[str, dict[str, Any], Inside, str, Inside]] = [
    ("INDEX-018", entry(1, ARM64), of(AMD64), "says architecture 'arm64', the config of its image says 'amd64'",
     of({**ARM64, "variant": "v8"})),
    ("INDEX-018", entry(1, V3), of({**AMD64, "variant": "v2"}), "says variant 'v3', the config", of(AMD64)),
    ("INDEX-018", entry(1), of({**AMD64, "os.features": ["erofs"]}), "lacks os.features", of(AMD64)),
    ("INDEX-020", entry(1), of(AMD64, levels={"lib/libc.so.6": 3, "bin/a": 2}),
     "claims amd64 level v1, but v3 is needed by '/lib/libc.so.6'", of(AMD64, levels={})),
    ("INDEX-020", entry(1, {**AMD64, "variant": "v2"}), of(AMD64, levels={f"lib/{n}.so": 3 for n in range(9)}),
     "'/lib/0.so', '/lib/1.so', '/lib/2.so' and 6 more", of(AMD64, levels={"bin/a": 2})),
    ("INDEX-021", entry(1, ARM64), of(ARM64, programs={"amd64": 7}),
     "programs and libraries of its image are 7 for amd64",
     of(ARM64, programs={"arm64": 1, "amd64": 7})),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "data", "bad", "message", "good"), INSIDE)
def test_what_is_in_an_image_is_held_against_its_entry(
    rule: str, data: dict[str, Any], bad: Inside, message: str, good: Inside
) -> None:
    (said,) = found(index(data), {digest(1): bad})
    assert said.rule.id == rule
    assert message in said.message
    assert found(index(data), {digest(1): good}) == ()


def test_annotations_that_only_manifests_have_are_found_where_they_would_choose() -> None:
    made = index(entry(1), entry(2, annotations={"com.example.debug": "true"}), entry(3, ARM64))
    insides = {digest(1): of(AMD64), digest(2): of(AMD64, annotations=GPU), digest(3): of(ARM64, annotations=GPU)}
    (said,) = found(made, insides)
    assert (said.rule.id, said.where.inside) == ("INDEX-019", "manifests[1].annotations")
    assert "does not say 'com.example.gpu'" in said.message


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} | {case[0] for case in INSIDE} | {"INDEX-019"} == {rule.id for rule in RULES}


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ({**ARM64, "variant": "v10"}, "the variant 'v10' of arm64, which no engine knows"),
        ({**AMD64, "variant": "v5"}, "the variant 'v5' of amd64, which no engine knows"),
        ({**ARM64, "variant": "8"}, "the variant '8' of arm64, which containerd alone knows"),
        ({"os": "macos", "architecture": "aarch64"}, "is for 'macos/aarch64'"),
        ({"os": "linux", "architecture": "armhf"}, "is for 'linux/armhf'"),
    ],
)
def test_platforms_that_engines_read_differently_are_found(platform: dict[str, str], message: str) -> None:
    (said,) = found(index(entry(platform=platform)))
    assert message in said.message


@pytest.mark.parametrize("platform", [
    {**ARM64, "variant": "v8.2"}, {**ARM64, "variant": "v9.3"}, V3,
    {"os": "linux", "architecture": "arm", "variant": "v6"}, {"os": "linux", "architecture": "riscv64"},
    {"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1"},
    {"os": "linux", "architecture": "386"}, {**AMD64, "os.features": ["erofs"]},
])  # fmt: skip
def test_platforms_as_they_should_be_are_passed_over(platform: dict[str, str]) -> None:
    assert found(index(entry(platform=platform))) == ()


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("com.example.gpu", None),
        ("org.opencontainers.image.base.digest", None),
        ("io.github.containers.compression.zstd", None),
        ("vnd.example.kind", None),
        ("gpu", "INDEX-001"),
        ("gpu.model", "INDEX-001"),
        ("example.com/gpu", "INDEX-001"),
        ("com..gpu", "INDEX-001"),
        (".com.example", "INDEX-001"),
        ("com.example.", "INDEX-001"),
        ("org.opencontainers.thing", "INDEX-002"),
    ],
)
def test_keys_are_told_apart(key: str, rule: str | None) -> None:
    assert [said.rule.id for said in found(index(entry(annotations={key: "x"})))] == ([rule] if rule else [])


def test_a_domain_that_is_not_reversed_is_turned_in_the_hint() -> None:
    (said,) = found(index(entry(annotations={"example.com/gpu/model": "a"})))
    assert said.fix == "write 'com.example.gpu.model'"


def test_look_alike_letters_are_found() -> None:
    cyrillic = "com.ex\u0430mple.gpu"
    said = found(index(entry(1, annotations=GPU), entry(2, annotations={cyrillic: "b"})))
    assert {item.rule.id for item in said} == {"INDEX-001", "INDEX-003"}
    alone = found(index(entry(annotations={cyrillic: "b"})))
    assert any("U+0430 is not ASCII" in item.message for item in alone)


_annotations = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)
_weights = st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("12")), st.integers(0, 5))


@given(st.lists(_annotations, min_size=1, max_size=6), _weights)
def test_an_entry_that_is_said_to_lose_never_wins_where_nothing_speaks_against_others(
    maps: list[dict[str, str]], weights: dict[tuple[str, str], int]
) -> None:
    made = index(*(entry(number, annotations=given) for number, given in enumerate(maps)))
    losers = {item.where.inside for item in found(made) if item.rule.id in {"INDEX-005", "INDEX-006"}}
    scores = [sum(weights.get(pair, 0) for pair in its.items()) for its in maps]
    assert f"manifests[{scores.index(max(scores))}]" not in losers
    for number, its in enumerate(maps):
        covered = any(its.items() <= earlier.items() for earlier in maps[:number])
        assert (f"manifests[{number}]" in losers) == covered


def test_ten_thousand_entries_are_linted_soon_and_findings_are_bounded() -> None:
    entries = [
        entry(number, annotations={"com.example.n": str(number), "com.example.all": "x", f"k{number}": "bad"})
        for number in range(10_000)
    ]
    made = index(*entries)
    begin = time.monotonic()
    said = found(made)
    assert time.monotonic() - begin < 30
    assert sum(item.rule.id == "INDEX-001" for item in said) == 1000


def test_images_that_may_be_looked_into_are_each_named_once() -> None:
    made = index(entry(1), entry(1, V3), entry(2, ARM64), ATTESTATION, entry(3, media_type=OCI_INDEX))
    assert [item.digest for item in unique_images(made)] == [digest(1), digest(2)]


_scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just("\x1b[2J\u202e"))
_anything = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=5), inner, max_size=2)),
)
_odd_entries = st.fixed_dictionaries(
    {"mediaType": st.sampled_from([OCI_MANIFEST, OCI_INDEX, "x"]), "digest": st.just(digest(1)), "size": st.just(1)},
    optional={
        "platform": st.one_of(
            _anything,
            st.fixed_dictionaries(
                {"os": st.text(max_size=4), "architecture": st.sampled_from(["arm64", "amd64", "x(", "a/b", ""])},
                optional={
                    "variant": st.text(max_size=4),
                    "os.version": _scalars,
                    "os.features": _anything,
                    "x": _anything,
                },
            ),
        ),
        "annotations": st.one_of(_anything, st.dictionaries(st.text(max_size=30), st.text(max_size=5), max_size=3)),
        "annotation": _anything,
        "artifactType": _anything,
    },
)


@given(st.lists(_odd_entries, max_size=3), _anything)
def test_odd_indexes_are_linted_or_refused(entries: list[dict[str, Any]], annotations: object) -> None:
    made = index(*entries, annotations=annotations)
    try:
        said = found(made)
    except InvalidDocumentError:
        return
    for item in said:
        assert item.message
        assert item.fix
        assert "\x1b" not in item.message + item.fix + item.where.inside
