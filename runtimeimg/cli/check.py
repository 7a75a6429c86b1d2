"""`runtimeimg check`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.findings import findings_options
from runtimeimg.cli.options import cache_dir, store_options
from runtimeimg.cli.targets import target_options

if TYPE_CHECKING:
    from runtimeimg.cli.looking import Target
    from runtimeimg.stores import StoreOptions


@click.command("check")
@target_options
@click.option(
    "--fix",
    type=click.Choice(["print", "write"]),
    help="Print the lines to add to the spec's directories, or write them into it.",
)
@findings_options
@store_options
@choosing_stores
def command(target: Target, fix: str | None, report: Callable[..., int], stores: Callable[..., StoreOptions]) -> int:
    """Say whether the image of SPEC (build.yaml by default, - for standard input), or IMAGE, will start.

    Nothing is run, and nothing is written: a spec is composed and looked at. Ends with exit code 10 where something was
    found. docs/findings.md has all rules.
    """
    from runtimeimg.cache import Cache
    from runtimeimg.check.checking import check
    from runtimeimg.check.rules import RULES
    from runtimeimg.cli.checking import of_built
    from runtimeimg.cli.looking import composed, looked_into
    from runtimeimg.cli.memory import few_arenas
    from runtimeimg.cli.mending import mended

    few_arenas()
    options, cache = stores(), Cache.open(cache_dir())
    if fix is not None:
        target, found = mended(target, fix, options, cache)
        return report(found, RULES)
    if target.is_spec:
        with composed(target, options) as (part, image):
            return report(of_built(part, image, cache), RULES)
    with looked_into(target, options, cache) as looked:
        return report(check(looked.facts), RULES)
