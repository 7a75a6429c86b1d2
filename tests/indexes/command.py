"""The command line within this process: what it prints, and the code that it ends with."""

import contextlib
import io
import sys
from dataclasses import dataclass
from unittest import mock

from runtimeimg.cli import main as commandline


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


def run(*args: object) -> Outcome:
    """Run `runtimeimg ARGS`."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    argv = ["runtimeimg", *map(str, args)]
    with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = commandline._run(debug=False)
        out.flush()
    return Outcome(code=code, out=out.buffer.getvalue().decode(), err=err.getvalue())


def done(*args: object) -> str:
    """Run `runtimeimg ARGS`, which must go well, and return what it printed without the last line break."""
    outcome = run(*args)
    assert outcome.code == 0, outcome.err
    return outcome.out.rstrip("\n")
