"""How commands that find problems print them, and the code that they end with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtimeimg.cli.options import in_place_of

if TYPE_CHECKING:
    from runtimeimg.findings import Finding, Rule

FOUND = 10
"""Exit code of a command that found problems."""

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--format",
        "output_format",
        type=click.Choice(["table", "json", "sarif", "markdown"]),
        default="table",
        show_default=True,
    ),
    click.option(
        "--severity",
        type=click.Choice(["info", "warning", "error"]),
        default="warning",
        show_default=True,
        help="The least severity that is shown and counts.",
    ),
    click.option(
        "--ignore",
        multiple=True,
        metavar="RULE[:PATH]",
        help="Rule that is not looked for, or not in some places; may be repeated.",
    ),
)


def findings_options(command: F) -> F:
    """Add `--format`, `--severity` and `--ignore`; they arrive as one argument, `report`.

    `report(findings, rules)` prints the findings that count and returns the exit code.
    """

    def with_report(*args: Any, output_format: str, severity: str, ignore: tuple[str, ...], **kwargs: Any) -> Any:
        def report(findings: Sequence[Finding], rules: Sequence[Rule]) -> int:
            return _report(findings, rules, output_format, severity, ignore)

        return command(*args, report=report, **kwargs)

    return in_place_of(command, with_report, _OPTIONS)


def _report(
    findings: Sequence[Finding], rules: Sequence[Rule], output_format: str, severity: str, ignore: tuple[str, ...]
) -> int:
    from runtimeimg.findings import Severity, chosen, to_json
    from runtimeimg.findings.markdown import to_markdown
    from runtimeimg.findings.sarif import to_sarif
    from runtimeimg.text import json_escaped

    _check_rules(ignore, rules)
    found = chosen(findings, Severity.parse(severity), ignore)
    if output_format == "markdown":
        click.echo(to_markdown(found), nl=False)
    elif output_format == "table":
        for line in _table(found):
            click.echo(line)
    else:
        data = to_json(found) if output_format == "json" else to_sarif(found, rules)
        click.echo(json_escaped(json.dumps(data, indent=2, ensure_ascii=False)))
    return FOUND if found else 0


def _check_rules(ignore: tuple[str, ...], rules: Sequence[Rule]) -> None:
    from difflib import get_close_matches

    known = [rule.id for rule in rules]
    for name in (item.partition(":")[0] for item in ignore):
        if name not in known:
            near = get_close_matches(name.upper()[:60], known, 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; rules are {known[0]} to {known[-1]}"
            raise click.BadParameter(f"rule '{name[:60]}' is not known{hint}", param_hint="--ignore")


def _table(findings: Sequence[Finding]) -> Iterator[str]:
    from runtimeimg.cli.tables import aligned
    from runtimeimg.findings import counts
    from runtimeimg.text import printable

    if not findings:
        yield "nothing found"
        return
    several = len({item.where.artifact for item in findings}) > 1
    rows = [(str(item.rule.severity), item.rule.id, _where(item, several=several)) for item in findings]
    for line, item in zip(aligned(rows), findings, strict=True):
        yield line
        yield f"    {printable(item.message)}"
        if item.fix:
            yield f"    {printable(item.fix)}"
    yield ", ".join(f"{number} {name}" for name, number in counts(findings).items() if number)


def _where(item: Finding, *, several: bool) -> str:
    """Return the place of a finding, without the artifact where all are about one that is no file."""
    return str(item.where) if several or item.where.line or not item.where.inside else item.where.inside
