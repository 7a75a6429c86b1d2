"""Odd values at every place of documents, locks, closures, configs and what the cache keeps: errors of ours alone."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.configgraph import closures, combining, facts, grounds, lock, reading
from runtimeimg.configgraph.address import Addresses
from runtimeimg.configgraph.closures import StorePath
from runtimeimg.configgraph.effective import effective
from runtimeimg.configgraph.model import Artefact, Automaton
from runtimeimg.errors import InvalidDocumentError, RuntimeimgError
from runtimeimg.image import Image
from runtimeimg.oci import ImageConfig
from runtimeimg.oci.documents import load_json
from tests.configgraph.test_address import WHOLE
from tests.hostile.test_odd_values import CONFIG, variants

HEAD = {"apiVersion": "runtimeimg.dev/v1"}
STORE = {
    "path": "/nix/store/a-b",
    "drv": "/nix/store/a-b.drv",
    "contents": ["/nix/store/a-c"],
    "closure": "x",
}
DOCUMENTS: dict[str, Any] = {
    "image": {**HEAD, "kind": "Artefact", "name": "web", "image": "web:1", "digest": "sha256:" + "a" * 64},
    "words": {
        **HEAD,
        "kind": "Artefact",
        "name": "web",
        "imageName": "web:1",
        "imageDigest": "sha256:" + "a" * 64,
        "sha256": "a" * 64,
    },
    "build": {**HEAD, "kind": "Artefact", "name": "web", "build": "build.yaml"},
    "store": {**HEAD, "kind": "Artefact", "name": "web", "store": STORE},
    "automaton": {
        **HEAD,
        "kind": "Automaton",
        "name": "shop",
        "artefact": "web",
        **WHOLE,
        "replicas": 2,
        "resources": {"cpu": 1, "memory": "1Gi"},
        "placement": {"hosts": ["a"], "require": ["a=b"], "prefer": ["a=b:1"], "spread": "host", "platform": "amd64"},
        "linux": {"resources": {}},
    },
    "host": {
        **HEAD,
        "kind": "Host",
        "name": "n",
        "platform": "linux/amd64",
        "resources": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"},
        "blobs": ["sha256:" + "a" * 64],
        "images": ["web:1"],
    },
}
LOCK = {
    "version": 1,
    "artefacts": {"web": {"image": "web:1", "reference": "docker://a.example/b:1", "digest": "sha256:" + "a" * 64}},
}
CLOSURE = {"/nix/store/a-b": {"references": ["/nix/store/a-b"], "narSize": 5}}


def spoilt(document: Any, read: Callable[[bytes], object]) -> int:
    """Read a document spoilt in every way, and return how many of them were errors."""
    read(json.dumps(document).encode())
    refused = 0
    for data in variants(document):
        try:
            read(data)
        except RuntimeimgError:
            refused += 1
    return refused


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(name: str) -> None:
    assert spoilt(DOCUMENTS[name], lambda data: reading.load(data, "file")) > 100


def test_what_is_read_can_be_addressed() -> None:
    """Whatever odd value a document may hold, the values that it comes to can be told."""
    base = grounds.ground(None, "web")
    node = Artefact(id="artefact/web", reference="web", digest="sha256:x")
    told = 0
    for data in variants(DOCUMENTS["automaton"]):
        with contextlib.suppress(RuntimeimgError):
            (found,) = reading.load(data, "file")
            given = {key: value for key, value in found.given.items() if key != "artefact"}
            combining.combine(given, base)
            assert Addresses().of(node, given).startswith("sha256:")
            automaton = Automaton(id="automaton/x", artefact=node.id, address="", given=given, lines=found.lines)
            assert json.dumps([row.to_json() for row in effective(automaton, node, None)])
            told += 1
    assert told > 20


def test_locks(tmp_path: Path) -> None:
    path = tmp_path / "graph.lock"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        lock.read(path)

    assert spoilt(LOCK, read) > 50


def test_closures(tmp_path: Path) -> None:
    path = tmp_path / "closure"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        found = closures.read_file(path)
        assert all(isinstance(item, StorePath) for item in found.paths.values())

    assert spoilt(CLOSURE, read) > 40


def configs() -> Iterator[bytes]:
    yield from variants(CONFIG)


def test_image_configs() -> None:
    told = refused = 0
    for data in configs():
        try:
            found = facts.of(Image(config=ImageConfig(data, "x"), layers=()), "web")
            (variant,) = found.variants
            node = Artefact(id="artefact/web", reference="web", digest=found.digest, variants=found.variants)
            assert Addresses().of(node, {}).startswith("sha256:")
            automaton = Automaton(id="automaton/x", artefact=node.id, address="")
            assert json.dumps([row.to_json() for row in effective(automaton, node, variant)])
            told += 1
        except RuntimeimgError:
            refused += 1
    assert told > 20
    assert refused > 50


def test_what_the_cache_keeps() -> None:
    kept = facts.to_json(facts.of(Image(config=ImageConfig.from_json(CONFIG), layers=()), "web"))
    for data in variants(kept):
        with contextlib.suppress(InvalidDocumentError, KeyError, TypeError):
            facts.from_json(load_json(data, "kept"))
