import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.supervisor import unwrap, wrap

WORDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8), max_size=4)


@given(st.lists(WORDS.filter(bool), min_size=1, max_size=4), WORDS)
def test_unwrap_gives_the_main_command_back(daemons: list[list[str]], main: list[str]) -> None:
    assert unwrap(wrap(daemons, main)) == tuple(main)


@given(st.lists(WORDS.filter(bool), min_size=1, max_size=4), WORDS, WORDS)
def test_the_script_depends_on_counts_alone(daemons: list[list[str]], main: list[str], other: list[str]) -> None:
    same_shape = [["x"] * len(daemon) for daemon in daemons]
    assert wrap(daemons, main)[2] == wrap(same_shape, other)[2]


@pytest.mark.parametrize(
    "entrypoint",
    [
        (),
        ("/bin/sh", "-c", "true"),
        ("/bin/sh", "-c", "true", "name", "word"),
        ("/bin/sh", "-c", "true", "runtimeimg-supervisor:x"),
        ("/bin/sh", "-c", "true", "runtimeimg-supervisor:-1"),
        ("/bin/sh", "-c", "true", "runtimeimg-supervisor:3", "only", "two"),
        ("/bin/bash", "-c", "true", "runtimeimg-supervisor:1", "x", "y"),
    ],
)
def test_other_entrypoints_are_not_unwrapped(entrypoint: tuple[str, ...]) -> None:
    assert unwrap(entrypoint) is None


def test_a_daemon_needs_words() -> None:
    with pytest.raises(ValueError, match="at least one word"):
        wrap([["x"], []], ["y"])


@pytest.mark.shellcheck
@pytest.mark.parametrize("count", [1, 2, 11])
def test_shellcheck_finds_nothing(count: int) -> None:
    script = wrap([["x", "y"]] * count, ["z"])[2]
    done = subprocess.run(["shellcheck", "-s", "sh", "-"], input=script, capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"], ["busybox", "sh"]])
def test_exit_code_and_words_without_a_container(shell: list[str]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not on PATH")
    # Outside a container a daemon may outlive a main command that ends before the daemon's guard has set its traps; it
    # then holds standard output for a while longer.
    wrapped = wrap([["sleep", "10"]], ["sh", "-c", 'printf "<%s>" "$@"; exit 7', "x"])
    argv = [*shell, "-c", *wrapped[2:], "a b", "$(id)"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (7, "<a b><$(id)>", "")
