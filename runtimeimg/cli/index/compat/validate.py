"""`runtimeimg index compat validate`."""

from __future__ import annotations

import click

from runtimeimg.cli.index.compat.documents import read


@click.command("validate")
@click.argument("documents", nargs=-1, required=True, metavar="DOCUMENT...")
def command(documents: tuple[str, ...]) -> None:
    """Say what is wrong with each DOCUMENT, all at once with line and column; `-` is standard input.

    Nothing is fetched. 'runtimeimg schema compat' prints the JSON Schema.
    """
    from runtimeimg.errors import Problem, SpecError
    from runtimeimg.selection.nfd import spec

    problems: list[Problem] = []
    for path in documents:
        raw, name = read(path)
        try:
            found = spec.load(raw, name)
        except SpecError as error:
            problems += error.problems
        else:
            rules = sum(len(item.rules) for item in found.compatibilities)
            click.echo(f"{name}: valid, {len(found.compatibilities)} sets, {rules} rules")
    if problems:
        raise SpecError(problems)
