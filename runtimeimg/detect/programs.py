"""Programs that tell facts: their output read, nothing trusted of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import RootModel

from runtimeimg import process
from runtimeimg.errors import RuntimeimgError, UsageError
from runtimeimg.selection.hostdocument import FactName, Texts
from runtimeimg.spec import documents
from runtimeimg.spec.checks import shown
from runtimeimg.spec.problems import Guide

TIMEOUT = 30.0
"""Seconds that a program may take."""
MAX_OUTPUT = 1 << 20


class FactsModel(RootModel[Mapping[FactName, Texts]]):
    """Facts by name."""


def detector(program: str, env: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the facts that a program writes to its standard output, a map in YAML or JSON.

    Raises UnavailableError when it cannot be started, UsageError when it fails, and SpecError for what is no facts.
    """
    path = process.find(program, env.get("PATH")) or program
    code, said, error = process.answer((path,), env=env, timeout=TIMEOUT, limit=MAX_OUTPUT)
    name = Path(program).name
    if code:
        raise UsageError(
            f"detector {shown(program)} ended with exit code {code}" + (f": {error[:200]}" if error else "")
        )
    return dict(
        documents.load(said, FactsModel, "facts", f"<{name}>", Guide(model=FactsModel, as_written=True)).value.root
    )


def quiet(argv: tuple[str, ...], env: Mapping[str, str]) -> bytes | None:
    """Return what a program on PATH writes; None where it is not there, fails, takes long or writes much."""
    path = process.find(argv[0], env.get("PATH"))
    if path is None:
        return None
    try:
        code, said, _ = process.answer((path, *argv[1:]), env=env, timeout=TIMEOUT, limit=MAX_OUTPUT)
    except RuntimeimgError:
        return None
    return None if code else said
