"""The filters on their own: long values, what is refused, and the patterns of COPY."""

from collections.abc import Callable

import dockerfile
import pytest

from runtimeimg import quoting
from runtimeimg.errors import UsageError
from runtimeimg.oci import Location
from runtimeimg.plan import BuildPlan, Copy
from runtimeimg.render import ContextPath, context_paths, render_dockerfile
from runtimeimg.runtimegraph import RuntimeGraph
from runtimeimg.spec.expansion import Variable
from runtimeimg.spec.patterns import Piece, literal_path, parse

from . import oracle

MAX_LINE = 65_535
LONG_TEXTS = {
    # All are longer than a line when quoted, and not much: the parser's time goes with the square of a word's length.
    "plain": "x" * 66_000,
    "backslashes": "\\" * 33_000,
    "quotes": "\"'" * 22_000,
    "spaces": " " * 66_000,
    "hashes": "# " * 33_000,
    "four bytes": "😀" * 16_500,
    "mixed": 'a\\"$# \t😀' * 5_000,
}


def parsed(line: str) -> dockerfile.Command:
    text = f"FROM scratch\n{line}\n"
    assert max(len(part.encode()) for part in text.split("\n")) <= MAX_LINE
    commands = dockerfile.parse_string(text)
    assert len(commands) == 2
    return commands[1]


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_a_value_longer_than_a_line_may_be_is_cut_and_comes_out_whole(text: str) -> None:
    env = parsed(f"ENV A={quoting.env_value((text, Variable('B', '-', ('w',))))}")
    assert oracle.word(env.value[1], {}) == f"{text}w"
    label = parsed(f"LABEL {quoting.label_key(text)}=x")
    assert [oracle.word(value, {}) for value in label.value] == [text, "x"]
    command = parsed(f"CMD {quoting.json_array([text, 'x', text])}")
    assert (command.json, command.value) == (True, (text, "x", text))
    volume = parsed(f"VOLUME {quoting.words([text])}")
    assert [oracle.word(value, {}) for value in volume.value] == [text]


def test_many_arguments_are_spread_over_lines() -> None:
    arguments = [f"{number} #" for number in range(20_000)]
    assert parsed(f"ENTRYPOINT {quoting.json_array(arguments)}").value == tuple(arguments)


@pytest.mark.parametrize(
    ("quote", "value", "message"),
    [
        (quoting.word, "a\nRUN x", r"'a\nRUN x' holds a line break"),
        (quoting.word, "a\0", "holds a NUL"),
        (quoting.word, "\udcff", "is not valid Unicode text"),
        (quoting.shell, "a\0", "holds a NUL"),
        (quoting.shell, "\ud83d", "is not valid Unicode text"),
        (quoting.label_key, "", "label key '' is empty"),
        (quoting.label_key, "a=b", "label key 'a=b' is empty or holds '='"),
        (quoting.env_name, "1", "environment name '1' is not valid"),
        (quoting.env_name, "A=b\nRUN x", r"environment name 'A=b\nRUN x' is not valid"),
        (quoting.owner, "a b", "owner 'a b' is not valid"),
        (quoting.owner, "a:b:c", "owner 'a:b:c' is not valid"),
        (quoting.env_value, (Variable("A}\nRUN x"),), "is not a variable"),
        (quoting.env_value, (Variable("A", "?"),), "is not a variable"),
        (quoting.env_value, (Variable("A", "-", ("x\n",)),), "holds a line break"),
        (quoting.env_value, (Variable("A", "-", ("x" * 40_000,)),), "reference to 'A' is longer than 32000 bytes"),
    ],
)
def test_what_has_no_form_is_refused(quote: Callable[[object], str], value: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        quote(value)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain-1.2_3/x:y@z%,+=", "plain-1.2_3/x:y@z%,+="),
        ("", '""'),
        ("-x", '"-x"'),
        ("=x", '"=x"'),
        ("two words", '"two words"'),
        ('a"b$c\\d', r'"a\"b\$c\\d"'),
        ("ends\\", r'"ends"\\""'),
        ("\\", r'\\""'),
    ],
)
def test_words_are_bare_where_they_can_be(text: str, quoted: str) -> None:
    assert quoting.word(text) == quoted


def test_a_byte_order_mark_does_not_begin_a_word() -> None:
    text = "\ufeffx"
    assert quoting.word(text)[0] == '"'
    (value,) = parsed(f"VOLUME {quoting.words([text])}").value
    assert oracle.word(value, {}) == text


def test_json_shows_what_nobody_would_see() -> None:
    assert quoting.json_array(["a\u202eb\xa0\U000e0041é", "\n\t\x01"]) == (
        r'["a\u202eb\u00a0\udb40\udc41é", "\n\t\u0001"]'
    )


@pytest.mark.parametrize(
    ("pattern", "pieces", "literal", "rendered"),
    [
        ("/a/b", [("/a/b", False)], "/a/b", "/a/b"),
        ("/a*", [("/a", False), ("*", True)], None, "/a*"),
        (r"/a\*", [("/a*", False)], "/a*", "/a[*]"),
        (r"/\[x]\?", [("/[x]?", False)], "/[x]?", r"/[\[]x][?]"),
        (r"/a\\b", [("/a\\b", False)], r"/a\b", r"/a[\\]b"),
        (r"/a\b", [("/ab", False)], "/ab", "/ab"),
        (r"/[a-c\]x]?", [("/", False), (r"[a-c\]x]", True), ("?", True)], None, r"/[a-c\]x]?"),
        ("/[^a]", [("/", False), ("[^a]", True)], None, "/[^a]"),
        ("/a[", [("/a[", False)], "/a[", r"/a[\[]"),
        ("/a\\", [("/a\\", False)], "/a\\", r"/a[\\]"),
    ],
)
def test_a_pattern_is_taken_apart(
    pattern: str, pieces: list[tuple[str, bool]], literal: str | None, rendered: str
) -> None:
    assert parse(pattern) == tuple(Piece(*piece) for piece in pieces)
    assert literal_path(pattern) == literal
    assert quoting.copy_pattern(pattern) == rendered


def plan_with(*copies: tuple[str, str | None], base: str = "debian:12", builder: str = "b:1") -> BuildPlan:
    return BuildPlan(
        name=None,
        base=Location.parse(base),
        builder=Location.parse(builder),
        outputs=(),
        env=(),
        labels={},
        run=(),
        copies=tuple(
            Copy(source=source, destination="/d", image=image and Location.parse(image), chown=None, origin="")
            for source, image in copies
        ),
        work_dir=None,
        ports=(),
        volumes=(),
        user=None,
        stop_signal=None,
        entrypoint=None,
        cmd=None,
        annotations={},
        graph=RuntimeGraph(),
        metadata={},
    )


def test_sources_in_the_context_each_have_their_place() -> None:
    folders = (("/x/*", "dir:one"), ("/", "dir:two"), ("/y", "dir:one"))
    plan = plan_with(folders[0], (".", None), ("a b", None), ("a b", None), folders[1], ("/y", "c:1"), folders[2])
    assert context_paths(plan) == (
        ContextPath(prefix="rootfs1", folder="one", pattern="x/*"),
        ContextPath(prefix="workspace", folder=None, pattern="."),
        ContextPath(prefix="workspace", folder=None, pattern="a b"),
        ContextPath(prefix="rootfs2", folder="two", pattern="."),
        ContextPath(prefix="rootfs1", folder="one", pattern="y"),
    )
    copies = [line for line in render_dockerfile(plan).splitlines() if line.startswith("COPY")]
    assert copies == [
        'COPY ["rootfs1/x/*", "/d"]',
        'COPY ["workspace/", "/d"]',
        'COPY ["workspace/a b", "/d"]',
        'COPY ["workspace/a b", "/d"]',
        'COPY ["rootfs2/", "/d"]',
        'COPY --from=source1 ["/y", "/d"]',
        'COPY ["rootfs1/y", "/d"]',
    ]


@pytest.mark.parametrize("image", ["oci:layout:1", "oci-archive:file.tar", "docker-archive:file.tar"])
def test_an_image_without_a_name_is_refused_and_the_native_builder_named(image: str) -> None:
    for plan in (plan_with(base=image), plan_with(("/a", image)), plan_with(("/a", image), builder=image)):
        with pytest.raises(UsageError) as caught:
            render_dockerfile(plan)
        assert caught.value.message == f"image '{image}' has no name that a Dockerfile could hold"
        assert "native" in str(caught.value.hint)
