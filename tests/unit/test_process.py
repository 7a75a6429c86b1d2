"""Programs: their lines as they come, and an end to their silence."""

import sys
import time

import pytest

from runtimeimg import process
from runtimeimg.errors import TransientError, UnavailableError


def python(code: str, silence: float | None = None) -> tuple[int, list[str]]:
    lines: list[str] = []
    code_of, _ = process.run([sys.executable, "-u", "-c", code], on_line=lines.append, silence=silence)
    return code_of, lines


def test_lines_come_as_they_are() -> None:
    code = "import sys; print('a'); print('b', file=sys.stderr); print(); sys.stdout.write('c\\r\\nd'); sys.exit(3)"
    assert python(code) == (3, ["a", "b", "", "c", "d"])
    assert python("pass") == (0, [])


def test_a_line_without_an_end_is_handed_over_in_pieces() -> None:
    _, lines = python("import sys; sys.stdout.write('x' * 1_000_000)")
    assert "".join(lines) == "x" * 1_000_000
    assert len(lines) > 1


def test_silence_ends_a_program() -> None:
    start = time.monotonic()
    with pytest.raises(TransientError, match=r"said nothing for 1 seconds"):
        python("import time; print('a'); time.sleep(300)", silence=1)
    assert time.monotonic() - start < 100


def test_what_goes_on_talking_is_left_alone() -> None:
    code = "import time\nfor number in range(8): print(number); time.sleep(0.25)"
    assert python(code, silence=30)[1] == [str(number) for number in range(8)]


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(UnavailableError, match="program 'no-such-program' is not installed"):
        process.dial(["no-such-program"], env={})
    with pytest.raises(UnavailableError, match="program 'no-such-program' is not installed"):
        process.run(["no-such-program"])
