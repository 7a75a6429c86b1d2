"""`runtimeimg index check`."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.choosing import Choosing, read_hosts, wish_options
from runtimeimg.cli.findings import FOUND
from runtimeimg.cli.index.places import max_size_option, place_of
from runtimeimg.cli.options import format_option, store_options
from runtimeimg.cli.tables import aligned
from runtimeimg.errors import RuntimeimgError, TransientError, UsageError
from runtimeimg.text import json_escaped

if TYPE_CHECKING:
    from runtimeimg.selection.fleet import Change, Fleet, Outcome
    from runtimeimg.stores import StoreOptions

_FILE = click.Path(path_type=Path)
_WORKERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An image, and what hosts would run of it, or why it cannot be told."""

    image: str
    outcomes: tuple[Outcome, ...] = ()
    after: tuple[Outcome, ...] = ()
    error: RuntimeimgError | None = None


@click.command("check")
@click.argument("images", nargs=-1, metavar="[INDEX]...")
@click.option("--images", "listed", type=_FILE, metavar="FILE", help="File of images, one a line; '-' for stdin.")
@click.option(
    *("--host", "hosts"),
    multiple=True,
    required=True,
    type=_FILE,
    metavar="FILE|DIR",
    help="Host, or a folder of hosts; may be repeated.",
)
@click.option(
    *("--against", "others"),
    multiple=True,
    type=_FILE,
    metavar="FILE|DIR",
    help="Host that takes the place of the one with its name, or of all; what changes is shown.",
)
@wish_options
@click.option("--look-inside", is_flag=True, help="Read the configs of all entries: platforms, NVIDIA_REQUIRE_*.")
@format_option
@max_size_option
@store_options
def command(
    images: tuple[str, ...],
    listed: Path | None,
    hosts: tuple[Path, ...],
    others: tuple[Path, ...],
    choosing: Choosing,
    look_inside: bool,
    output_format: str,
    max_size: int,
    stores: Callable[[], StoreOptions],
) -> int:
    """Check which entry of each INDEX hosts would run, and why, or that none fits.

    With --against, show what changes where these hosts are replaced, by other hardware or another system. The exit
    code is 10 where some host would run nothing of an image, or lose what it runs.
    """
    from runtimeimg.selection.fleet import Fleet

    wishes = choosing.wishes()
    names = (*images, *(_listed(listed) if listed else ()))
    if not names:
        raise UsageError("no image is named", hint="name indexes, or pass --images FILE")
    old, new = read_hosts(hosts), read_hosts(others)
    fleets = [Fleet([wishes.criteria_on(host) for host in side]) for side in (old, new)]
    checked = _checked(names, fleets, replace(stores(), max_top=max_size), inside=look_inside)
    called = [[host.name for host in side] for side in (old, new)]
    if output_format == "json":
        _print_json(checked, called)
    else:
        for line in _changes_table(checked, *called) if new else _table(checked, called[0]):
            click.echo(line)
    return FOUND if any(_is_problem(item, called) for item in checked) else 0


def _listed(path: Path) -> list[str]:
    """Return the images that a file names, one a line; empty lines and those that begin with `#` are left out."""
    from runtimeimg.budgets import MAX_DOCUMENT
    from runtimeimg.hostfile import read_file

    data = sys.stdin.buffer.read(MAX_DOCUMENT) if str(path) == "-" else read_file(path, MAX_DOCUMENT, "--images")
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _checked(names: Sequence[str], fleets: list[Fleet], options: StoreOptions, *, inside: bool) -> list[Checked]:
    """Open the images, several at a time, and return them in the order of their names."""
    from runtimeimg.selection.opened import outcomes_of
    from runtimeimg.stores import open_image
    from runtimeimg.stores.parallel import for_each

    places = {name: place_of(name) for name in names}
    found: dict[str, Checked] = {}
    judging = threading.Lock()

    def check(name: str, stop: threading.Event) -> None:
        if stop.is_set():
            return
        try:
            opened = open_image(places[name], options)
            with judging:
                before, after = (
                    tuple(outcomes_of(opened, fleet, inside=inside)) if fleet.hosts else () for fleet in fleets
                )
            found[name] = Checked(image=name, outcomes=before, after=after)
        except TransientError:
            raise
        except RuntimeimgError as error:
            found[name] = Checked(image=name, error=error)

    for_each(places, check, _WORKERS)
    if all(item.error for item in found.values()):
        raise next(item.error for item in found.values() if item.error)
    return [found[name] for name in places]


def _is_problem(item: Checked, called: list[list[str]]) -> bool:
    if item.error is not None:
        return True
    if called[1]:
        return any(change.kind == "lost" for change in _changes(item, *called))
    return any(outcome.choice.chosen is None for outcome in item.outcomes)


def _changes(item: Checked, old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    from runtimeimg.selection.fleet import changes

    return changes(item.outcomes, item.after, old, new)


def _table(checked: Sequence[Checked], called: Sequence[str]) -> Iterator[str]:
    from runtimeimg.selection.fleet import some

    rows = [("IMAGE", "RUNS", "PLATFORM", "HOSTS", "WHY")]
    for item in checked:
        if item.error is not None:
            rows.append((item.image, "?", "-", "-", f"cannot be told: {item.error.message}"))
        for outcome in item.outcomes:
            hosts = some([called[number] for number in outcome.hosts])
            rows.append((item.image, *_cells(outcome), hosts, _why(outcome)))
    yield from aligned(rows)


def _changes_table(checked: Sequence[Checked], old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    rows = [("IMAGE", "CHANGE", "BEFORE", "AFTER", "HOSTS", "WHY")]
    for item in checked:
        if item.error is not None:
            rows.append((item.image, "?", "-", "-", "-", f"cannot be told: {item.error.message}"))
        for change in _changes(item, old, new):
            before, after = (_cells(side)[0] for side in (change.before, change.after))
            rows.append((item.image, change.kind, before, after, _pairs(change), _why(change.after)))
    yield from aligned(rows)


def _pairs(change: Change) -> str:
    from runtimeimg.selection.fleet import some

    return some([old if old == new else f"{old} -> {new}" for old, new in change.hosts])


def _cells(outcome: Outcome) -> tuple[str, str]:
    chosen = outcome.choice.chosen
    if chosen is None:
        return "nothing", "-"
    found = chosen.candidate
    return f"#{found.position + 1} {found.descriptor.digest.short}", found.platform.full if found.platform else "-"


def _why(outcome: Outcome) -> str:
    """Say why hosts run what they run, or of what each entry fails on the first of them."""
    from runtimeimg.selection.explain import scores

    chosen = outcome.choice.chosen
    if chosen is not None:
        return ", ".join(f"{key} {weight:+d}" for key, weight in scores(chosen).items()) or "first that fits"
    failed = [f"#{item.candidate.position + 1} {'; '.join(item.failures)}" for item in outcome.choice.judged]
    return " | ".join(failed[:8]) + (f" | and {len(failed) - 8} more" if len(failed) > 8 else "")


def _print_json(checked: Sequence[Checked], called: list[list[str]]) -> None:
    """Print one object an image, written as they are made: all of them together may be long."""
    click.echo('{"images": [', nl=False)
    for number, item in enumerate(checked):
        data = _described(item, *called)
        click.echo(("," if number else "") + "\n" + json_escaped(json.dumps(data, ensure_ascii=False)), nl=False)
    click.echo("\n]}")


def _described(item: Checked, old: Sequence[str], new: Sequence[str]) -> dict[str, Any]:
    if item.error is not None:
        return {"image": item.image, "error": item.error.message}
    data: dict[str, Any] = {
        "image": item.image,
        "outcomes": [_outcome(outcome, old) for outcome in item.outcomes],
    }
    if new:
        data["after"] = [_outcome(outcome, new) for outcome in item.after]
        data["changes"] = [
            {
                "change": change.kind,
                "before": _digest(change.before),
                "after": _digest(change.after),
                "hosts": [{"before": one, "after": other} for one, other in change.hosts],
            }
            for change in _changes(item, old, new)
        ]
    return data


def _outcome(outcome: Outcome, called: Sequence[str]) -> dict[str, Any]:
    from runtimeimg.selection.explain import candidate

    chosen = outcome.choice.chosen
    return {
        "hosts": [called[number] for number in outcome.hosts],
        "runs": candidate(chosen, chosen=True) if chosen else None,
        "candidates": [] if chosen else [candidate(item) for item in outcome.choice.judged],
    }


def _digest(outcome: Outcome) -> str | None:
    chosen = outcome.choice.chosen
    return str(chosen.candidate.descriptor.digest) if chosen else None
