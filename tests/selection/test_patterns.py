"""Patterns of rules: they find what Python's `re` finds, refuse what is none, and never explode."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.selection.nfd.patterns import MAX_STEPS, PatternError, Steps, parse


def found(pattern: str, text: str) -> bool:
    return parse(pattern).search(text, Steps())


_letters = st.sampled_from(["a", "b", "0", ".", r"\.", r"\d", r"\W", "[ab]", "[^a]", "[a-c0]", "[[:alpha:]]", "-", " "])
_atoms = st.recursive(
    _letters,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.tuples(inner, inner).map("|".join),
        inner.map(lambda item: f"({item})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,}", "*?"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        ),
    ),
    max_leaves=6,
)
_patterns = st.tuples(st.sampled_from(["", "^", "(?i)"]), _atoms, st.sampled_from(["", "$"])).map("".join)


@given(_patterns, st.text("abcAB01.- ", max_size=8))
def test_what_is_found_is_what_python_finds(pattern: str, text: str) -> None:
    theirs = pattern.replace("[[:alpha:]]", "[a-zA-Z]").removesuffix("$") + (r"\Z" if pattern.endswith("$") else "")
    assert found(pattern, text) == bool(re.search(theirs, text, re.ASCII))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a)", "has a ')' without '('"),
        ("(a", "has a '(' without ')'"),
        ("[a", "has a '[' without ']'"),
        ("*a", "has a '*' with nothing before it"),
        ("a**", "has two repetitions one after the other"),
        ("[b-a]", "whose end is before its begin"),
        ("[[:nope:]]", "has the class '[:nope:]', which is not known"),
        ("(?=a)", "has the group '(?=a', which is not supported"),
        (r"(a)\1", "has the escape '\\1', which is not supported"),
        ("a\\", "has the escape '\\', which is not supported"),
        ("a{1001}", "repeats something {1001} times"),
        ("a{3,2}", "repeats something {3,2} times"),
        ("(a{100}){100}", "has more than 1000 states"),
        ("(((()*){1000}){1000}){1000}", "has more than 1000 states"),
        ("(" * 60 + ")" * 60, "has groups more than 40 deep"),
        ("a" * 1025, "has 1025 characters; 1024 are allowed"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(PatternError) as caught:
        parse(pattern)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    ["(a*)*b", "(a|a)*b", "(a+)+$b", "(.*a){20}b", "(x+x+)+y", "((a?){20}){20}c", "(" * 40 + "a*" + ")*" * 40 + "b"],
)
def test_patterns_that_explode_elsewhere_do_not(pattern: str) -> None:
    begin = time.monotonic()
    assert not found(pattern, "a" * 1000)
    assert time.monotonic() - begin < 30


def test_all_patterns_of_a_document_share_their_steps() -> None:
    steps, pattern = Steps(), parse("(.*a){200}b")
    pattern.search("a" * 1000, steps)
    spent = MAX_STEPS - steps.left
    assert spent > 10_000
    steps.left = spent // 2
    with pytest.raises(PatternError, match=f"take more than {MAX_STEPS} steps"):
        pattern.search("a" * 1000, steps)


def test_a_text_that_is_too_long_matches_nothing() -> None:
    assert not found("a", "a" * 1025)
