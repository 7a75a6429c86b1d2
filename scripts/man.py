"""Write the man pages of all commands: `python scripts/man.py [FOLDER]`, build/man by default."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from runtimeimg import __version__
from runtimeimg.cli.main import cli

ROOT = Path(__file__).parents[1]
DASHES = re.compile(r"(?<!\w)--?(?=\w)")


def main(folder: Path) -> None:
    """Write a page for each command, and for each of a group's own."""
    folder.mkdir(parents=True, exist_ok=True)
    for context in contexts(click.Context(cli, info_name="runtimeimg")):
        name = context.command_path.replace(" ", "-")
        (folder / f"{name}.1").write_text(page(context, name))


def contexts(context: click.Context) -> Iterator[click.Context]:
    """Yield the context of a command and those of all commands below it."""
    yield context
    for name, command in children(context):
        yield from contexts(click.Context(command, info_name=name, parent=context))


def children(context: click.Context) -> list[tuple[str, click.Command]]:
    """Return the commands of a group by name, none of a command that is no group."""
    group = context.command
    if not isinstance(group, click.Group):
        return []
    found = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    return [(name, command) for name, command in found if command is not None and not command.hidden]


def page(context: click.Context, name: str) -> str:
    """Return the page of one command in roff (man(7))."""
    command = context.command
    short = command.get_short_help_str(limit=120).rstrip(".")
    lines = [
        f'.TH {text(name.upper())} 1 "" "runtimeimg {text(__version__)}" "runtimeimg"',
        ".SH NAME",
        rf"{text(name)} \- {text(short[:1].lower() + short[1:])}",
        ".SH SYNOPSIS",
        f".B {text(context.command_path)}",
        " ".join(text(part) for part in command.collect_usage_pieces(context)),
        ".SH DESCRIPTION",
        *paragraphs(command.help or ""),
    ]
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    records = [record for param in options if (record := param.get_help_record(context))]
    if records:
        lines += [".SH OPTIONS", *terms(records)]
    below = children(context)
    if below:
        lines += [".SH COMMANDS", *terms([(item, found.get_short_help_str(limit=120)) for item, found in below])]
    parent = context.parent
    others = [f"{name}-{item}" for item, _ in below]
    others += [parent.command_path.replace(" ", "-")] if parent is not None else []
    lines += [".SH SEE ALSO", ",\n".join(rf".BR {text(item)} (1)" for item in others).replace("(1),", "(1) ,")]
    return "\n".join(lines) + "\n"


def paragraphs(help_text: str) -> list[str]:
    """Return the lines of a text whose paragraphs are parted by empty lines."""
    lines = []
    for paragraph in help_text.replace("\b", "").strip().split("\n\n"):
        lines += [".PP", *(text(line.strip()) for line in paragraph.splitlines() if line.strip())]
    return lines


def terms(records: list[tuple[str, str]]) -> list[str]:
    """Return a list of terms, each with what it means."""
    return [line for term, meaning in records for line in (".TP", rf"\fB{text(term)}\fR", text(meaning or term))]


def text(words: str) -> str:
    """Return words as roff shows them: no character of theirs is a command, dashes of options can be copied."""
    escaped = words.replace("\\", r"\e").replace('"', r"\(dq").replace("`", r"\(ga").replace("'", r"\(aq")
    escaped = DASHES.sub(lambda found: found[0].replace("-", r"\-"), escaped)
    return "\\&" + escaped if escaped.startswith(".") else escaped


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "man")
