"""`runtimeimg index compat validate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.findings import findings_options
from runtimeimg.cli.index.compat.documents import read

if TYPE_CHECKING:
    from runtimeimg.findings import Finding


@click.command("validate")
@click.argument("documents", nargs=-1, required=True, metavar="DOCUMENT...")
@findings_options
def command(documents: tuple[str, ...], report: Callable[..., int]) -> int:
    """Say what is wrong with each DOCUMENT, all at once with line and column; `-` is standard input.

    Nothing is fetched. Exit code 2 for a document that is invalid, 10 for one that cannot be meant so, as
    docs/findings.md has it. 'runtimeimg schema compat' prints the JSON Schema.
    """
    from runtimeimg.errors import Problem, SpecError
    from runtimeimg.selection.nfd import lint, spec

    problems: list[Problem] = []
    findings: list[Finding] = []
    for path in documents:
        try:
            findings += lint.lint(spec.loaded(*read(path)))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return report(findings, lint.RULES)
