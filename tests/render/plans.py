"""Arbitrary plans: texts full of what means something in a Dockerfile, a shell, JSON or a pattern."""

import string
from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from runtimeimg.oci import Location
from runtimeimg.plan import BuildPlan, Copy, EnvVar, StampInstructions, Text
from runtimeimg.runtimegraph import RuntimeGraph
from runtimeimg.spec.expansion import Segment, Variable

FRAGMENTS = (
    *"\"'\\$#`{}[]()*?!^-+=:,;&|<>~%@ \t\r\v\f",
    "\\\\", "\\$", '\\"', "  ", "$HOME", "${HOME}", "${A:-x}", "$(workspace)", "$$", "$1", "${", "#!", "# escape=`",
    "<<EOF", "<<-'E'", "--from=x", "--chown=0:0", "RUN rm -rf /", "FROM scratch", "EOF", '", "', '"]', "' ", "\\u0022",
    "é", "ß", "字", "😀", "\u0301", "\u2028", "\u2029", "\x85", "\xa0", "\u3000", "\ufeff", "\u202e", "\u200b",
    "\U000e0041",
)  # fmt: skip
BREAKS = ("\n", "\nRUN x\n", "\\\n", "\n# c\n", "\nEOF\n")

# A text is drawn as one string, in which a letter of the private use area stands for a fragment: far faster than a
# list of fragments.
_FIRST = 0xE000
_MEANING = {_FIRST + index: fragment for index, fragment in enumerate(FRAGMENTS + BREAKS)}
_SYMBOLS = "".join(map(chr, _MEANING))
_wide = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n"), max_size=8)
texts = st.one_of(
    st.text(_SYMBOLS[: len(FRAGMENTS)] + string.ascii_letters, max_size=8).map(lambda text: text.translate(_MEANING)),
    _wide,
)
multi_line = st.text(_SYMBOLS + string.ascii_letters, max_size=8).map(lambda text: text.translate(_MEANING))
keys = texts.map(lambda text: text.replace("=", "")).filter(bool)
paths = texts.map(lambda text: "/" + text)
env_names = st.from_regex(r"[-._A-Za-z][-._A-Za-z0-9]{0,6}", fullmatch=True)
owners = st.from_regex(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,4}\$?(:[A-Za-z0-9_.][A-Za-z0-9_.-]{0,4}\$?)?", fullmatch=True)
names = st.sampled_from(["A", "HOME", "PATH", "_x9", "NONE"])

_simple = st.builds(Variable, names)
_with_word = st.builds(Variable, names, st.sampled_from("-+"), st.tuples(texts.filter(bool)))
_nested = st.builds(Variable, names, st.sampled_from("-+"), st.tuples(texts.filter(bool), _with_word, _simple))
segments: st.SearchStrategy[tuple[Segment, ...]] = st.lists(
    st.one_of(texts.filter(bool), texts.filter(bool), _simple, _with_word, _nested), max_size=3
).map(tuple)

# How a Dockerfile must name each image: never so that it could be taken for a stage.
WRITTEN = {
    Location.parse("debian:12"): "debian:12",
    Location.parse("builder"): "builder:latest",
    Location.parse("source1"): "source1:latest",
    Location.parse("1"): "1:latest",
    Location.parse("docker://scratch"): "scratch:latest",
    Location.parse("localhost:5000/builder"): "localhost:5000/builder",
    Location.parse("docker://x/y@sha256:" + "b" * 64): "x/y@sha256:" + "b" * 64,
    Location.parse("docker-daemon:z:2"): "z:2",
    Location.parse("docker-daemon:sha256:" + "a" * 64): "sha256:" + "a" * 64,
}
REGISTRY_IMAGES = tuple(WRITTEN)
FOLDERS = (Location.parse("dir:/srv/one"), Location.parse("dir:two"))


@dataclass(frozen=True)
class Source:
    """A pattern as a plan has it, and a path that it finds."""

    pattern: str
    example: str


def _as_literal(text: str) -> Source:
    return Source("".join("\\" + letter if letter in "*?[\\" else letter for letter in text), text)


_source_pieces = st.one_of(
    texts.map(_as_literal),
    st.sampled_from(string.ascii_letters + "]-$").map(lambda letter: Source("\\" + letter, letter)),
    st.sampled_from(
        [Source("*", "x y"), Source("*", ""), Source("?", "é"), Source("[a-c]", "b"), Source("[^\\]$]", '"'),
         Source("[\\\\'\"]", "\\"), Source("[$]", "$"), Source("[é-ü]", "ö")]
    ),
)  # fmt: skip


def _join(pieces: list[Source]) -> Source:
    return Source("/" + "".join(piece.pattern for piece in pieces), "/" + "".join(piece.example for piece in pieces))


def _begins_with_one_slash(source: Source) -> bool:
    return source.pattern[1:2] != "/" and source.example[1:2] != "/"


sources = st.lists(_source_pieces, min_size=1, max_size=4).map(_join).filter(_begins_with_one_slash)


@st.composite
def copies(draw: st.DrawFn, builder: Location) -> tuple[Copy, Source]:
    source = draw(sources)
    image = draw(st.sampled_from([builder, builder, None, *REGISTRY_IMAGES, *FOLDERS]))
    chown = draw(st.none() | owners)
    copy = Copy(
        source=source.pattern, destination=draw(paths), image=image, chown=chown, origin=f"c[{draw(st.integers(0, 9))}]"
    )
    return copy, source


@dataclass(frozen=True)
class Case:
    """A plan, the sources of its copies with their examples, and a stamp or none."""

    plan: BuildPlan
    sources: tuple[Source, ...]
    stamp: StampInstructions | None


_labels: st.SearchStrategy[Mapping[str, str]] = st.dictionaries(keys, texts, max_size=3)
_commands = st.none() | st.lists(multi_line, max_size=3).map(tuple)
_stamps = st.none() | st.builds(StampInstructions, labels=_labels, entrypoint=_commands, cmd=_commands)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    builder = draw(st.sampled_from([*REGISTRY_IMAGES, *FOLDERS]))
    drawn = draw(st.lists(copies(builder), max_size=4))
    env = draw(st.lists(st.builds(EnvVar, name=env_names, value=segments, origin=st.just("e")), max_size=3))
    run = draw(st.lists(st.builds(Text, value=multi_line, origin=st.just("r")), max_size=2))
    plan = BuildPlan(
        name=None,
        base=draw(st.none() | st.sampled_from(REGISTRY_IMAGES)),
        builder=builder,
        outputs=(),
        env=tuple(env),
        labels=draw(_labels),
        run=tuple(run),
        copies=tuple(copy for copy, _ in drawn),
        work_dir=draw(st.none() | paths),
        ports=tuple(draw(st.lists(st.integers(1, 65535), max_size=2))),
        volumes=tuple(draw(st.lists(paths, max_size=2))),
        user=draw(st.none() | owners | keys),
        stop_signal=draw(st.none() | st.sampled_from(["SIGTERM", "SIGRTMIN+3", "9"])),
        entrypoint=draw(_commands),
        cmd=draw(_commands),
        annotations={},
        graph=RuntimeGraph(),
        metadata={},
    )
    return Case(plan, tuple(source for _, source in drawn), draw(_stamps))
