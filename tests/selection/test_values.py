"""How values are compared, and that no pattern, range or version takes long."""

import contextlib
import fnmatch
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.errors import UsageError
from runtimeimg.selection.nvidia import NvidiaFacts
from runtimeimg.selection.values import AtMost, Exact, Glob, Matcher, RangeOf, Version, VersionRange


@pytest.mark.parametrize(
    "versions",
    [
        ["1", "1.0.1", "1.2-rc1", "1.2", "1.10", "2", "12.2", "12.10"],
        ["v1", "v2", "v3", "v4"],
        ["5.10.0-9-amd64", "5.15.0-91-generic", "6.1"],
        ["470.57.02", "535.104.05", "535.104.5.1"],
        ["1.2.dev3", "1.2", "1.2.0.1"],
    ],
)
def test_versions_are_ordered(versions: list[str]) -> None:
    for lower, higher in pairwise(map(Version.parse, versions)):
        assert lower is not None
        assert higher is not None
        assert lower < higher


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1.0.0"), ("v3", "3"), ("12.20", "12.020"), ("6.1.0-18-amd64", "6.1")]
)
def test_versions_that_are_the_same(one: str, other: str) -> None:
    assert Version.parse(one) == Version.parse(other) is not None


@pytest.mark.parametrize("text", ["", "x", "v", "-1", "1" * 2000, "." * 50, "1." * 40, "٣", "1..2"])
def test_what_is_no_version(text: str) -> None:
    assert not VersionRange.parse(">=99999").matches(text)
    assert not AtMost((text,)).matches("1.1.1")


@pytest.mark.parametrize(
    ("matcher", "fits", "not_"),
    [
        (VersionRange.parse(">=12.2,<13"), ["12.2", "12.2.0", "12.99", "v12.4-x"], ["12.1", "13", "13.0", "abc", ""]),
        (VersionRange.parse("=12.2"), ["12.2", "12.2.0"], ["12.2.1"]),
        (VersionRange.parse("!= 12.2 , > 1"), ["12.3", "1.0.1"], ["12.2", "1", "1.0-rc1"]),
        (VersionRange.parse("<=6.1"), ["6.1.0-18-amd64", "5"], ["6.2"]),
        (Exact(("a", "b")), ["a", "b"], ["A", "ab", ""]),
        (AtMost(("v3",)), ["v1", "v2", "v3"], ["v4", "x"]),
        (AtMost(()), [], ["v1"]),
        (AtMost(("x",)), [], ["v1"]),
        (RangeOf(("550.54",)), [">=535", "535", ">=535,<560", "550.54.0"], [">=560", "560", "x", "<550", ""]),
        (Glob.parse("[!a-c]?*"), ["dx", "dxy"], ["ax", "d"]),
        (Glob.parse("[]]"), ["]"], ["[", ""]),
        (Glob.parse("a\n*"), ["a\nb\nc"], ["ab"]),
    ],
)
def test_matching(matcher: Matcher, fits: list[str], not_: list[str]) -> None:
    for text in fits:
        assert matcher.matches(text), text
    for text in not_:
        assert not matcher.matches(text), text


@given(st.text("ab*?", max_size=12), st.text("ab\n", max_size=14))
def test_globs_are_those_of_fnmatch(pattern: str, text: str) -> None:
    assert Glob.parse(pattern).matches(text) == fnmatch.fnmatchcase(text, pattern)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_pattern_is_read_or_refused(pattern: str, text: str) -> None:
    try:
        found = Glob.parse(pattern)
    except UsageError:
        return
    if "[" not in pattern:
        assert found.matches(text) == fnmatch.fnmatchcase(text, pattern)
    assert isinstance(found.matches(text), bool)


@given(st.text("<>=!,. 0123456789va-rc", max_size=40), st.text(max_size=30))
def test_any_range_is_read_or_refused(text: str, value: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(VersionRange.parse(text).matches(value), bool)
    assert isinstance(RangeOf(("1.2",)).matches(text), bool)


@pytest.mark.parametrize(
    "pattern", ["*a" * 120 + "b", "*" + "?" * 200 + "b*c", "a*" * 128, "*" * 256, "*[a-z]" * 40 + "0"]
)
def test_patterns_that_explode_elsewhere_do_not(pattern: str) -> None:
    found, began = Glob.parse(pattern), time.monotonic()
    for _ in range(100):
        found.matches("a" * 1024)
    assert time.monotonic() - began < 30


GPU = NvidiaFacts.of({"cuda.driver.version": ("12.4",), "gpu.driver.version": ("550.54",), "gpu.brand": ("Tesla",)})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("cuda>=12.2", True),
        ("cuda>=12.5", False),
        ("cuda>=12.5 brand=tesla,driver>=535,driver<600", True),
        ("cuda>=12.5 brand=geforce,driver>=535", False),
        ("cuda>=12.2,driver>=560", False),
        ("cuda=12.4", True),
        ("cuda!=12.4", False),
        ("driver>550", True),
        ("driver<=550.54", True),
        ("brand!=geforce", True),
        ("arch>=8.0", False),
        ("planet=earth", True),
        ("", True),
        ("cuda", False),
        ("cuda>=x", False),
        ("cuda>=12" + " x" * 20_000, False),
    ],
)
def test_requirements_of_nvidia_images(text: str, holds: bool) -> None:
    assert GPU.holds(text) is holds
    failures = GPU.failures({"NVIDIA_REQUIRE_CUDA": text, "PATH": "/bin"})
    assert bool(failures) is not holds
    assert GPU.failures({"NVIDIA_REQUIRE_CUDA": text, "NVIDIA_DISABLE_REQUIRE": "true"}) == []


def test_a_host_without_a_card_meets_no_requirement() -> None:
    assert NvidiaFacts().failures({"NVIDIA_REQUIRE_CUDA": "cuda>=12.2"}) == [
        "needs NVIDIA_REQUIRE_CUDA=cuda>=12.2, which the host has not"
    ]
