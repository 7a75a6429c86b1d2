"""docs/hosts.md: its documents are valid, its facts are those that are detected, its operators are all there are."""

import re
from pathlib import Path

from runtimeimg.detect.machine import detect
from runtimeimg.oci import Platform
from runtimeimg.selection import hostdocument
from runtimeimg.selection.nfd import spec

PAGE = (Path(__file__).parents[2] / "docs" / "hosts.md").read_text("utf-8")
HOST, COMPATIBILITY = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_documents_are_valid() -> None:
    assert hostdocument.load(HOST.encode()).fact("mpi.flavour") == ("openmpi",)
    assert [found.tag for found in spec.load(COMPATIBILITY.encode()).compatibilities] == ["preferred", "fallback"]


def test_every_fact_that_is_detected_is_described() -> None:
    described = set(re.findall(r"`([a-z]+(?:\.[A-Za-z]+)+)`", PAGE.partition("## Nodes")[0]))
    found = detect(Path("/"), "here", Platform.host(), {"PATH": "/usr/bin:/usr/sbin"}).facts
    for name in found:
        assert re.sub(r"^runtime\.(?!names).*\.", "runtime.NAME.", name) in described, name


def test_every_operator_is_described() -> None:
    table = PAGE.partition("| operator | values |")[2].partition("`matchName`")[0]
    assert set(re.findall(r"`([A-Z][A-Za-z]+)`", table)) - {"None"} == set(spec.OPS)
