"""Malformed and hostile indexes: one clear error each, in bounded time and memory, whatever looks at them."""

import hashlib
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.oci.mediatypes import DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST
from tests.indexes.command import Outcome, done, run
from tests.stores.misbehaving import FaultyRegistry, Status

DIGEST = "sha256:" + "a" * 64
ENTRY: dict[str, Any] = {
    "mediaType": OCI_MANIFEST,
    "digest": DIGEST,
    "size": 100,
    "platform": {"architecture": "amd64", "os": "linux"},
}
HEAD = {"schemaVersion": 2, "mediaType": OCI_INDEX}
SECONDS = 30
ALIKE = "\N{CYRILLIC SMALL LETTER A}"


def entry(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**ENTRY, **changes}.items() if value is not ...}


def index(*entries: Any, **changes: Any) -> bytes:
    document = {**HEAD, "manifests": list(entries), **changes}
    return json.dumps({key: value for key, value in document.items() if value is not ...}).encode()


class Layout:
    """A layout that is written by hand, so that it may hold anything."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = f"oci:{root}:1"
        (root / "blobs" / "sha256").mkdir(parents=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, raw: bytes, digest: str | None = None) -> dict[str, Any]:
        """Write a blob, under a digest that may be wrong, and return a descriptor of an index."""
        digest = digest or hashlib.sha256(raw).hexdigest()
        (self.root / "blobs" / "sha256" / digest).write_bytes(raw)
        return {"mediaType": OCI_INDEX, "digest": f"sha256:{digest}", "size": len(raw)}

    def top(self, descriptor: dict[str, Any]) -> str:
        """Give the name `1` to a descriptor and return where that is."""
        named = {**descriptor, "annotations": {"org.opencontainers.image.ref.name": "1"}}
        (self.root / "index.json").write_text(json.dumps({**HEAD, "manifests": [named]}))
        return self.where


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


# name: (bytes of the index, a part of the message)
MALFORMED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not valid JSON"),
    "no JSON": (b"<html>", "not valid JSON"),
    "not UTF-8": (b'{"schemaVersion": 2, "mediaType": "\xff"}', "not valid JSON"),
    "a list": (b"[]", "not a JSON object"),
    "a number": (b"7", "not a JSON object"),
    "cut short": (index(ENTRY)[:-9], "not valid JSON"),
    "NaN": (index(entry(size="N")).replace(b'"N"', b"NaN"), "NaN is no number"),
    "a number without end": (index(entry(size="N")).replace(b'"N"', b"1" * 5000), "not valid JSON"),
    "an exponent without end": (index(entry(size="N")).replace(b'"N"', b"1e999"), "too large"),
    "brackets without end": (b"[" * 100_000, "not valid JSON"),
    "maps without end": (b'{"a":' * 100_000, "not valid JSON"),
    "commas without end": (b'{"a": [' + b"0," * 600_000 + b"0]}", "values"),
    "manifests is a map": (index(manifests={}), "manifests of the index"),
    "manifests is a text": (index(manifests="all"), "manifests of the index"),
    "manifests holds a text": (index("entry"), "not a list of objects"),
    "manifests holds null": (index(None), "not a list of objects"),
    "no mediaType of an entry": (index(entry(mediaType=...)), "descriptor has no mediaType"),
    "mediaType of an entry is a number": (index(entry(mediaType=1)), "descriptor has no mediaType"),
    "mediaType is a list": (index(ENTRY, mediaType=[OCI_INDEX]), "mediaType of the manifest is not a string"),
    "unknown mediaType": (index(ENTRY, mediaType="application/vnd.example"), "was given as"),
    "another mediaType than was said": (index(ENTRY, mediaType=DOCKER_INDEX), "was given as"),
    "a mediaType in look-alike letters": (index(ENTRY, mediaType=OCI_INDEX.replace("a", ALIKE, 1)), "was given as"),
    "schema 1": (index(ENTRY, schemaVersion=1), "schema 1"),
    "no digest": (index(entry(digest=...)), "is not a sha256 or sha512 digest"),
    "digest is a number": (index(entry(digest=5)), "is not a sha256 or sha512 digest"),
    "digest too short": (index(entry(digest="sha256:abc")), "is not a sha256 or sha512 digest"),
    "digest in capitals": (index(entry(digest=DIGEST.upper())), "is not a sha256 or sha512 digest"),
    "digest in look-alike letters": (index(entry(digest=DIGEST.replace("a", ALIKE))), "is not a sha256"),
    "digest that leads out": (index(entry(digest="sha256:../../../../etc/passwd")), "is not a sha256"),
    "digest with a line break": (index(entry(digest=DIGEST + "\n")), "is not a sha256"),
    "an unknown algorithm": (index(entry(digest="md5:" + "a" * 32)), "is not a sha256 or sha512 digest"),
    "no size": (index(entry(size=...)), "is not a number of bytes"),
    "size is a text": (index(entry(size="100")), "is not a number of bytes"),
    "size is true": (index(entry(size=True)), "is not a number of bytes"),
    "size is negative": (index(entry(size=-1)), "is not a number of bytes"),
    "size is a fraction": (index(entry(size=1.5)), "is not a number of bytes"),
    "size is larger than numbers are": (index(entry(size=2**63)), "is not a number of bytes"),
    "annotations are a list": (index(entry(annotations=["a"])), "annotations are not a map of strings"),
    "an annotation is a number": (index(entry(annotations={"a": 1})), "annotations are not a map of strings"),
    "an annotation is null": (index(entry(annotations={"a": None})), "annotations are not a map of strings"),
    "annotations of the index are a text": (index(ENTRY, annotations="a"), "annotations of the index"),
    "os is a number": (index(entry(platform={"os": 1, "architecture": "amd64"})), "not a string"),
    "variant is a map": (index(entry(platform={**ENTRY["platform"], "variant": {}})), "not a string"),
    "os.features is a text": (
        index(entry(platform={**ENTRY["platform"], "os.features": "x"})),
        "not a list of strings",
    ),
    "os.features holds a number": (index(entry(platform={**ENTRY["platform"], "os.features": [1]})), "list of strings"),
    "too many entries": (index(*([ENTRY] * 32_769)), "bytes; 4194304 are allowed"),
    "5 MiB": (index(ENTRY, annotations={"a": "x" * (5 << 20)}), "bytes; 4194304 are allowed"),
    "9 MiB": (index(ENTRY, annotations={"a": "x" * (9 << 20)}), "larger than"),
}


def refused(*args: object) -> Outcome:
    """Run a command, which must refuse in time and with bounded memory, by one error and no traceback."""
    tracemalloc.start()
    begin = time.monotonic()
    outcome = run(*args)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - begin < SECONDS
    assert peak < 200 << 20
    assert outcome.code in {2, 3, 5}, outcome
    assert outcome.out == ""
    first, *more = outcome.err.splitlines()
    assert first.startswith("runtimeimg: ")
    assert len(first) < 1000
    assert len(more) <= 1, outcome.err
    assert "internal error" not in outcome.err
    assert "Traceback" not in outcome.err
    return outcome


@pytest.mark.parametrize(("raw", "said"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_index_is_refused(raw: bytes, said: str, layout: Layout) -> None:
    where = layout.top(layout.blob(raw))
    assert said in refused("index", "show", where).err


@pytest.mark.parametrize("name", [name for number, name in enumerate(MALFORMED) if number % 4 == 0])
def test_no_command_takes_it(name: str, layout: Layout) -> None:
    where = layout.top(layout.blob(MALFORMED[name][0]))
    for args in (
        ["add", where, "--image", where],
        ["remove", where, "1"],
        ["annotate", where, "--entry", "1", "a=b"],
        ["create", f"oci:{layout.root}:2", "--flatten", "--image", where],
    ):
        refused("index", *args)
    assert "2" not in (layout.root / "index.json").read_text().partition("ref.name")[2]


def nested_too_deep(layout: Layout) -> str:
    descriptor = layout.blob(index(ENTRY))
    for _ in range(12):
        descriptor = layout.blob(index(descriptor))
    return layout.top(descriptor)


def nested_wide(layout: Layout) -> str:
    """An index that lists another a hundred times, which lists another a hundred times..."""
    descriptor = layout.blob(index())
    for _ in range(6):
        descriptor = layout.blob(index(*([descriptor] * 100)))
    return layout.top(descriptor)


def lists_itself(layout: Layout) -> str:
    """An index that lists itself: its bytes cannot have the digest that they tell, but a store may claim so."""
    claimed = "b" * 64
    raw = index({**ENTRY, "mediaType": OCI_INDEX, "digest": f"sha256:{claimed}", "size": 1000}).ljust(1000)
    layout.blob(raw, claimed)
    return layout.top({"mediaType": OCI_INDEX, "digest": f"sha256:{claimed}", "size": 1000})


def two_that_list_each_other(layout: Layout) -> str:
    first, second = "c" * 64, "d" * 64
    for own, other in ((first, second), (second, first)):
        raw = index({**ENTRY, "mediaType": OCI_INDEX, "digest": f"sha256:{other}", "size": 1000}).ljust(1000)
        layout.blob(raw, own)
    outer = layout.blob(index({**ENTRY, "mediaType": OCI_INDEX, "digest": f"sha256:{first}", "size": 1000}))
    return layout.top(outer)


def child_of_other_bytes(layout: Layout) -> str:
    other = layout.blob(b'{"schemaVersion": 2}', "e" * 64)
    return layout.top(layout.blob(index({**other, "mediaType": OCI_INDEX})))


def child_of_another_size(layout: Layout) -> str:
    inner = layout.blob(index())
    return layout.top(layout.blob(index({**inner, "size": inner["size"] + 1})))


def child_of_another_type(layout: Layout) -> str:
    inner = layout.blob(index())
    return layout.top(layout.blob(index({**inner, "mediaType": DOCKER_INDEX})))


def child_that_is_missing(layout: Layout) -> str:
    return layout.top(layout.blob(index(entry(platform=...))))


def child_too_large(layout: Layout) -> str:
    return layout.top(layout.blob(index(entry(size=1 << 40, platform=...))))


def nothing_but_attestations(layout: Layout) -> str:
    told = entry(platform={"os": "unknown", "architecture": "unknown"})
    return layout.top(layout.blob(index(told)))


HOSTILE: dict[Callable[[Layout], str], str] = {
    nested_too_deep: "more than 8 deep",
    nested_wide: "more than 1024 indexes",
    lists_itself: "has the digest",
    two_that_list_each_other: "has the digest",
    child_of_other_bytes: "has the digest",
    child_of_another_size: "its descriptor says",
    child_of_another_type: "was given as",
    child_that_is_missing: "has no blob",
    child_too_large: "is larger than",
    nothing_but_attestations: "lists no image",
}


@pytest.mark.parametrize(("make", "said"), HOSTILE.items(), ids=[make.__name__ for make in HOSTILE])
def test_a_hostile_index_is_not_flattened(make: Callable[[Layout], str], said: str, layout: Layout) -> None:
    where = make(layout)
    before = (layout.root / "index.json").read_bytes()
    assert said in refused("index", "create", f"oci:{layout.root}:2", "--flatten", "--image", where).err
    assert (layout.root / "index.json").read_bytes() == before


def test_there_are_enough_of_them() -> None:
    assert len(MALFORMED) + len(HOSTILE) >= 50


# Odd and yet valid: shown, and nothing of it is acted on.
STRANGE: dict[str, dict[str, Any]] = {
    "controls": entry(annotations={"a\x1b[2Jb": "\u202egnp.exe\x07"}),
    "look-alikes": entry(annotations={f"com.ex{ALIKE}mple.gpu": f"{ALIKE}100"}),
    "unknown fields": entry(platform={**ENTRY["platform"], "features": ["sse4"], "x": {"y": [1]}}, urls=["x"]),
    "unknown type": entry(mediaType="application/vnd.example.thing+json", artifactType="a\nb"),
    "annotation of another type": entry(annotation=[1, {"a": 2}]),
    "half a pair": entry(annotations={"a": "\ud800"}),
    "long": entry(annotations={"k" * 10_000: "v" * 100_000}),
}


@pytest.mark.parametrize("odd", STRANGE.values(), ids=STRANGE)
def test_what_is_odd_and_valid_is_shown_and_kept(odd: dict[str, Any], layout: Layout) -> None:
    where = layout.top(layout.blob(index(ENTRY, odd)))
    for form in ("table", "json"):
        shown = done("index", "show", where, "--format", form)
        assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in shown)
        assert "\u202e" not in shown
    layout.blob(b"{}", "a" * 64)
    done("index", "annotate", where, "--entry", "1", "k=v")
    kept = json.loads(run("index", "show", where, "--format", "raw").out)["manifests"]
    assert kept[0]["annotations"] == {"k": "v"}
    assert kept[1] == odd


def test_a_key_that_is_there_twice_has_its_last_value_for_all(layout: Layout) -> None:
    """JSON leaves it open; Go's reader, which all engines use, takes the last one, too."""
    last = entry(digest="sha256:" + "b" * 64)
    raw = index(ENTRY)[:-1] + b', "manifests": ' + json.dumps([last]).encode() + b"}"
    where = layout.top(layout.blob(raw))
    assert json.loads(done("index", "show", where, "--format", "json"))["manifests"] == [last]


def test_many_entries_are_edited_in_a_moment(layout: Layout) -> None:
    many = [entry(digest=f"sha256:{number:064x}", annotations={"n": str(number)}) for number in range(10_000)]
    where = layout.top(layout.blob(index(*many)))
    for number in range(10_000):
        (layout.root / "blobs" / "sha256" / f"{number:064x}").touch()
    begin = time.monotonic()
    done("index", "annotate", where, "--entry", "n=7777", "k=v", "--max-size", 8 << 20)
    done("index", "remove", where, "5000", "--max-size", 8 << 20)
    assert time.monotonic() - begin < SECONDS
    assert (
        len(json.loads(done("index", "show", where, "--format", "json", "--max-size", 8 << 20))["manifests"]) == 9_999
    )


ANSWERS: dict[str, tuple[Status, str, int]] = {
    "5 MiB": (Status(code=200, body=index(ENTRY, annotations={"a": "x" * (5 << 20)})), "4194304 are allowed", 2),
    "9 MiB": (Status(code=200, body=index(ENTRY, annotations={"a": "x" * (9 << 20)})), "more than 8388608 bytes", 5),
    "a page": (Status(code=200, body=b"<html>log in</html>"), "page", 5),
    "nothing": (Status(code=200, body=b""), "no manifest", 5),
    "another type than it says": (
        Status(code=200, headers={"Content-Type": OCI_MANIFEST}, body=index(ENTRY)),
        "was given as",
        2,
    ),
    "another digest than it says": (
        Status(code=200, headers={"Docker-Content-Digest": DIGEST}, body=index(ENTRY)),
        "has the digest",
        5,
    ),
}


@pytest.mark.registry
@pytest.mark.parametrize(("answer", "said", "code"), ANSWERS.values(), ids=ANSWERS)
def test_a_registry_that_answers_with_something_else(answer: Status, said: str, code: int, own_registry: str) -> None:
    with FaultyRegistry(own_registry) as registry:
        registry.rule("GET", "/manifests/", answer, times=9)
        outcome = refused("index", "show", f"{registry.address}/hostile:1", "--retry-time", 0)
        assert said in outcome.err
        assert outcome.code == code
        assert not [item for item in registry.log if "/blobs/" in item.path]
