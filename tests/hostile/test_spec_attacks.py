"""Specs that want much: refused with their place, or rendered, in bounded memory and time."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimeimg.spec import patterns

from . import bounded

HEAD = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: b}
  output: {image: o}
  runtime:
    base: {image: d}
"""


def listed(key, items):
    return HEAD + f"    {key}:\n" + "".join(f"    - {item}\n" for item in items)


def mapped(key, pairs):
    return HEAD + f"    {key}:\n" + "".join(f"      {name}: {value}\n" for name, value in pairs)


def doubled(first, times=40, form="$V{0}$V{0}"):
    pairs = [("V0", first), *((f"V{n + 1}", form.format(n)) for n in range(times))]
    return mapped("env", [(name, f"'{value}'") for name, value in pairs])


REFUSED = {
    "forty doublings": doubled("x"),
    "doublings of what the base has": doubled("$PATH"),
    "doublings of a default": doubled("${NONE:-ab}"),
    "doublings in words": doubled("x", form="${{V{0}:+$V{0}$V{0}}}"),
    "doublings in defaults": doubled("x", form="${{N:-$V{0}$V{0}}}"),
    "a thousandfold": doubled("x" * 1000, 5, "$V{0}" * 1000),
    "references without end": mapped("env", [("A", '"' + "$B" * 400_000 + '"')]),
    "nested references": mapped("env", [("A", '"' + "${A:-" * 20_000 + '"')]),
    "references that are never closed": mapped("env", [("A", '"' + "${A" * 40_000 + '"')]),
    "a deep source": listed("directories", ["'/" + "a/" * 200_000 + "x:/y'"]),
    "a deep destination": listed("directories", ["'/x:/" + "a/" * 200_000 + "y'"]),
    "a deep work dir": HEAD + "    workDir: /" + "a/" * 300_000 + "y\n",
    "a work dir just too deep": HEAD + "    workDir: /" + "a/" * 257 + "y\n",
    "a long work dir": HEAD + "    workDir: /" + "a" * 5000 + "\n",
    "stars": listed("directories", ["'/" + "*a" * 200_000 + ":/y/'"]),
    "classes": listed("directories", ["'/" + "[a-z]" * 100_000 + ":/y/'"]),
    "open classes": listed("directories", ["'/" + "[a" * 200_000 + ":/y/'"]),
    "backslashes": listed("directories", ["'/" + "\\" * 400_000 + ":/y/'"]),
    "wrong values": mapped("env", [(f"'{n}'", "[1]") for n in range(30_000)]),
    "unknown keys": HEAD + "".join(f"    kez{n}: 1\n" for n in range(30_000)),
    "tabs": "\t" * 900_000,
    "comments": "# x\n" * 200_000,
    "documents": "---\n" * 100_000,
    "aliases": "a: &a [x]\n" + "".join(f"k{n}: *a\n" for n in range(80_000)),
    "aliases of aliases": "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(60)),
    "brackets": "[" * 500_000,
    "question marks": "? " * 300_000,
    "quotes": "'" * 700_000,
    "colons": "a: " * 300_000,
    "directives": "%YAML 1.2\n" * 50_000 + "---\na: 1\n",
    "more than a mebibyte": HEAD + "#" + "x" * 5_000_000,
    "carriage returns": "\r" * 900_000,
    "dashes": "- " * 300_000,
    "anchors": "".join(f"&a{n} " for n in range(50_000)),
    "tags": "!!a " * 100_000,
    "long tags": "!<" + "a" * 500_000 + "> b",
}
RENDERED = {
    "many directories": listed("directories", (f"/x{n}:/y{n}" for n in range(20_000))),
    "many variables": mapped("env", ((f"A{n}", f"$A{n - 1}") for n in range(20_000))),
    "many labels": mapped("labels", ((f"a{n}", "x") for n in range(20_000))),
    "many ports": HEAD + "    expose: [" + ",".join(map(str, range(1, 30_000))) + "]\n",
    "many volumes": listed("volumes", (f"/v{n}" for n in range(20_000))),
    "a long label": HEAD + "    labels: {a: '" + "x" * 900_000 + "'}\n",
    "many stars": listed("directories", ["'/" + "*a" * 1000 + ":/y/'"]),
}


@pytest.mark.parametrize("name", [*REFUSED, *RENDERED])
def test_specs_that_want_much(name, tmp_path):
    text = REFUSED.get(name) or RENDERED[name]
    (tmp_path / "build.yaml").write_text(text)
    outcome = bounded.cli("render", "build.yaml", cwd=tmp_path, processor=60)
    assert outcome.code == (2 if name in REFUSED else 0), outcome.said[-1000:]
    assert "Traceback" not in outcome.said
    assert "internal error" not in outcome.said
    assert len(outcome.err) < 60_000
    assert outcome.memory < 250  # pydantic keeps all that is wrong with a mebibyte of wrong values
    assert outcome.processor < 20


def simple(pieces, name):
    """A matcher that tries everything, as an oracle."""
    if not pieces:
        return not name
    piece, *rest = pieces
    if piece.is_wildcard and piece.text == "*":
        return any(simple(rest, name[at:]) for at in range(len(name) + 1))
    if not piece.is_wildcard:
        return name.startswith(piece.text) and simple(rest, name[len(piece.text) :])
    return bool(name) and bool(patterns.expression([piece]).match(name[0])) and simple(rest, name[1:])


@settings(max_examples=max(500, settings.default.max_examples))
@given(pattern=st.text("ab*?[]^-", max_size=9), name=st.text("abc", max_size=9))
def test_patterns_match_what_trying_everything_finds(pattern, name):
    pieces = patterns.parse(pattern)
    assert bool(patterns.expression(pieces).match(name)) == simple(list(pieces), name)


@pytest.mark.parametrize("pattern", ["*a" * 120 + "b", "*" * 2000 + "b", "*[ab]" * 500 + "?c", "*?" * 250 + "x"])
def test_no_pattern_takes_exponential_time(pattern):
    started = time.process_time()
    assert not patterns.expression(patterns.parse(pattern)).match("a" * 255)
    assert time.process_time() - started < 20
