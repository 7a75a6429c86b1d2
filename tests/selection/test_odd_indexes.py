"""Any index is chosen from, or refused with an error of ours; what it says never breaks what is printed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.errors import RuntimeimgError
from runtimeimg.image import ImageIndex
from runtimeimg.oci import Digest, Index, Platform
from runtimeimg.oci.mediatypes import DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST
from runtimeimg.selection import mapping
from runtimeimg.selection.affinity import node_affinity
from runtimeimg.selection.candidates import candidates
from runtimeimg.selection.choice import choose, require
from runtimeimg.selection.criteria import Criteria, Order, parse_preference
from runtimeimg.selection.explain import described
from runtimeimg.selection.fleet import Fleet
from runtimeimg.selection.hosts import Host
from runtimeimg.selection.matrix import matrix
from runtimeimg.selection.nvidia import NvidiaFacts
from runtimeimg.selection.platforms import Engine, PlatformOrder
from tests.indexes.command import run

words = st.sampled_from(
    [
        *(
            "linux",
            "amd64",
            "arm64",
            "arm",
            "v8",
            "v9.3",
            "v3",
            "windows",
            "unknown",
            "",
            "10.0.20348.1",
            "v99999999999",
        ),
        *("v" * 3000, "\x1b[2J", "\n", "\u202e", "12.2", ">=1,<2", "*a" * 60, "[", "٣", "\ud800"),
    ]
)
odd = st.none() | st.booleans() | st.integers() | words | st.lists(words, max_size=2) | st.just({"a": {"b": []}})
KEYS = ["os", "architecture", "variant", "os.version", "os.features", "features"]
ANNOTATIONS = [rule.annotation for rule in mapping.DEFAULT] + ["com.example.a", "vnd.docker.reference.type", ""]
platforms = st.dictionaries(st.sampled_from(KEYS), words, max_size=4) | st.fixed_dictionaries(
    {"os": st.just("linux"), "architecture": st.sampled_from(["amd64", "arm64", "arm"])},
    optional={"variant": words, "os.features": st.lists(words, max_size=3), "os.version": words},
)
entries = st.fixed_dictionaries(
    {
        "mediaType": st.sampled_from([OCI_MANIFEST, OCI_INDEX, "application/vnd.example"]),
        "digest": st.sampled_from([str(Digest.of(text)) for text in (b"1", b"2", b"3")]),
        "size": st.just(7),
    },
    optional={
        "platform": platforms,
        "annotations": st.dictionaries(st.sampled_from(ANNOTATIONS), words, max_size=5),
        "annotation": st.dictionaries(st.sampled_from(ANNOTATIONS), words, max_size=2),
        "artifactType": words,
        "urls": odd,
    },
)
broken = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["mediaType", "digest", "size", "platform", "annotations"], odd)
)
indexes = st.lists(entries, max_size=5) | st.lists(entries | broken | odd, max_size=4)

HOSTS = [
    Host(name="a", platform=Platform.parse("linux/amd64/v3"), facts={"cpu.level": ("v3",), "gpu.model": ("A" * 500,)}),
    Host(name="b", platform=Platform.parse("windows(10.0.26100.1)/amd64")),
    Host(name="c", platform=Platform.parse("linux(+erofs)/arm64/v9"), facts={"cuda.driver.version": ("12.4", "x", "")}),
]


def asked(host: Host, engine: Engine | None, order: Order) -> Criteria:
    required, preferred = mapping.wishes(host)
    return Criteria(
        platforms=PlatformOrder(host.platform, engine, own=True),
        requirements=required,
        preferences=(parse_preference("com.example.a=*:3"), *preferred),
        order=order,
        nvidia=NvidiaFacts.of(host.facts),
    )


@given(indexes, st.sampled_from([None, *Engine]), st.sampled_from(list(Order)), st.booleans())
def test_any_index_is_chosen_from_or_refused(items: Any, engine: Any, order: Order, docker: bool) -> None:
    raw = json.dumps({"schemaVersion": 2, "manifests": items}).encode()
    index = Index(raw, DOCKER_INDEX if docker else OCI_INDEX)
    try:
        there = candidates(index)
    except RuntimeimgError:
        return
    criteria = [asked(host, engine, order) for host in HOSTS]
    outcomes = Fleet(criteria).outcomes(there)
    assert sorted(number for outcome in outcomes for number in outcome.hosts) == [0, 1, 2]
    for wanted in criteria:
        choice = choose(there, wanted)
        data = described(choice, "x", "y", {"com.example": "https://example.com/"})
        assert json.loads(json.dumps(data)) == data
        if choice.chosen is not None:
            descriptor = choice.chosen.candidate.descriptor
            terms, _ = node_affinity(descriptor.platform or HOSTS[0].platform, descriptor.annotations)
            assert terms
            continue
        with pytest.raises(RuntimeimgError) as caught:
            require(choice, "x")
        assert len(caught.value.message.splitlines()) <= len(there) + 1
    _matrix(index)


def _matrix(index: Index) -> None:
    def gone(entry: object) -> ImageIndex:
        raise RuntimeimgError(f"{entry} is gone")

    try:
        rows = matrix(ImageIndex(index=index, open_manifest=gone, name="x")).rows
    except RuntimeimgError:
        return
    assert len({row.platform for row in rows}) == len(rows)


def test_what_is_printed_is_fit_for_a_terminal(tmp_path: Path) -> None:
    nasty = "\x1b[2J\n\u202e" + "x" * 40
    entry = {
        "mediaType": OCI_MANIFEST,
        "digest": str(Digest.of(b"1")),
        "size": 7,
        "platform": {"os": "linux", "architecture": nasty, "os.version": nasty},
        "annotations": {f"com.example.{nasty}": nasty, "dev.runtimeimg.cuda": nasty},
    }
    plain = {**entry, "digest": str(Digest.of(b"2")), "platform": {"os": "linux", "architecture": "amd64"}}
    index = Index.of([]).evolve(manifests=[entry, plain])
    blobs = tmp_path / "layout/blobs/sha256"
    blobs.mkdir(parents=True)
    (blobs / index.digest.encoded).write_bytes(index.raw)
    (tmp_path / "layout/oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (tmp_path / "layout/index.json").write_bytes(Index.of([index.descriptor]).raw)
    (tmp_path / "host.yaml").write_text("platform: linux/amd64")
    where, host = f"oci:{tmp_path}/layout", ("--host", tmp_path / "host.yaml")
    for command in (
        ("select", where, *host, "--explain"),
        ("select", where, *host, "--format", "json"),
        ("check", where, *host),
        ("check", where, *host, "--format", "json"),
        ("check", where, *host, "--against", tmp_path / "host.yaml"),
        ("matrix", where),
        ("matrix", where, "--format", "markdown"),
        ("matrix", where, "--format", "json"),
    ):
        outcome = run("index", *command)
        assert outcome.code in {0, 3, 10}, outcome
        for text in (outcome.out, outcome.err):
            assert "\x1b" not in text, command
            assert "\u202e" not in text, command
            assert "internal error" not in text, command
