"""Variables in environment values: what is a reference, what is a dollar, what a broken reference says."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.spec.expansion import Variable, expand, parse, references

ENV = {"A": "one", "B": "two", "EMPTY": ""}


@pytest.mark.parametrize(
    ("value", "expanded"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$A", "one"),
        ("$A$B", "onetwo"),
        ("${A}x", "onex"),
        ("$Ax", ""),
        ("$A-x/$B.", "one-x/two."),
        ("$UNSET", ""),
        ("${UNSET:-word}", "word"),
        ("${EMPTY:-word}", "word"),
        ("${A:-word}", "one"),
        ("${A:+word}", "word"),
        ("${EMPTY:+word}", ""),
        ("${UNSET:+word}", ""),
        ("${UNSET:-}", ""),
        ("${UNSET:-$B}", "two"),
        ("${UNSET:-${EMPTY:-${A:+$B}}}", "two"),
        ("${UNSET:-a b:c}", "a b:c"),
        (r"\$A", "$A"),
        (r"\${A}", "${A}"),
        (r"\\$A", r"\one"),
        (r"\\\$A", r"\$A"),
        (r"a\b\\c", r"a\b\\c"),
        ("ends\\", "ends\\"),
        ("ends\\\\", "ends\\\\"),
        ("$5", "$5"),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("$$A", "$one"),
        ("$(A)", "$(A)"),
        ("{A}", "{A}"),
        ("${A}}", "one}"),
        ("größe$A☕", "größeone☕"),
    ],
)
def test_expansion(value: str, expanded: str) -> None:
    assert expand(parse(value), ENV) == expanded


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("${", "'${' at character 1 is not followed by a variable name"),
        ("x${}", "'${' at character 2 is not followed by a variable name"),
        ("${1}", "'${' at character 1 is not followed by a variable name"),
        ("${A:?x}", "'${A' at character 1 is followed by ':'"),
        ("${A-x}", "'${A' at character 1 is followed by '-'"),
        ("${A:-x", "'${A' at character 1 is never closed by '}'"),
        ("${A:-${B}", "'${A' at character 1 is never closed by '}'"),
        ("${A:-" * 40 + "}" * 40, "nested more than 16 deep"),
    ],
)
def test_broken_references(value: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse(value)


def test_segments_and_names() -> None:
    segments = parse("a$A${B:-x${C:+$D}}")
    inner = Variable("C", "+", (Variable("D"),))
    assert segments == ("a", Variable("A"), Variable("B", "-", ("x", inner)))
    assert references(segments) == {"A", "B", "C", "D"}
    assert references(parse("none")) == frozenset()


@given(st.text(alphabet=st.characters(exclude_characters="$\\")))
def test_text_without_dollars_is_itself(value: str) -> None:
    assert expand(parse(value), ENV) == value


@given(st.text(alphabet="$\\{}:-+AB x5"))
def test_any_text_parses_or_says_why(value: str) -> None:
    try:
        segments = parse(value)
    except ValueError as error:
        message = str(error)
        assert "character" in message or "nested" in message
        return
    assert isinstance(expand(segments, ENV), str)
    assert all(name.isalnum() for name in references(segments))


@given(st.text(alphabet="$\\{}:-+AB x5"))
def test_escaped_text_is_itself(value: str) -> None:
    r"""Doubling the backslashes that stand before a dollar and putting one more there makes every dollar literal."""
    escaped = re.sub(r"(\\*)\$", lambda found: found[1] * 2 + r"\$", value)
    assert expand(parse(escaped), ENV) == value
