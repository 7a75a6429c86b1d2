"""`runtimeimg bundle check`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.findings import findings_options
from runtimeimg.cli.options import store_options

if TYPE_CHECKING:
    from runtimeimg.bundle.features import Runtime
    from runtimeimg.findings import Finding
    from runtimeimg.stores import StoreOptions


@click.command("check")
@click.argument("bundle", metavar="DIR|IMAGE")
@click.option(
    "--runtime",
    required=True,
    metavar="NAME|FILE",
    help="Runtime to hold it against: a program such as runc or crun, or its features document.",
)
@click.option("--explain", is_flag=True, help="Say on standard error which entry vouches for each field.")
@click.option("--platform", help="Platform to take of an index; this machine's by default.")
@findings_options
@store_options
@choosing_stores
def command(
    bundle: str,
    runtime: str,
    explain: bool,
    platform: str | None,
    report: Callable[..., int],
    stores: Callable[[], StoreOptions],
) -> int:
    """Say what is wrong with a bundle, and which of its fields the runtime does not vouch for.

    Every field of config.json is led back to the entry of the runtime's features that vouches for it; runtimes pass
    over what they do not know. Of an IMAGE it is the bundle that 'bundle IMAGE DIR' would make for that runtime. Ends
    with exit code 10 where something was found. docs/findings.md has all rules.
    """
    from runtimeimg.bundle import check
    from runtimeimg.bundle.rules import RULES
    from runtimeimg.cli.bundle.runtimes import runtime_of

    told = runtime_of(runtime)
    if told.features is not None and not told.told:
        click.echo(f"{told.title} cannot tell its features: it is judged by our record of that version", err=True)
    folder = Path(bundle)
    if (folder / "config.json").is_file():
        config, findings = check.check_folder(folder, told)
    else:
        config, findings = _of_image(bundle, platform, told, stores())
    if explain:
        _explain(config, told)
    return report(findings, RULES)


def _of_image(
    name: str, platform: str | None, told: Runtime, stores: StoreOptions
) -> tuple[Mapping[str, Any], tuple[Finding, ...]]:
    from runtimeimg.bundle import BundleOptions, check
    from runtimeimg.cache import Cache
    from runtimeimg.cli.locations import location_of, platform_of
    from runtimeimg.cli.options import cache_dir
    from runtimeimg.errors import NotFoundError
    from runtimeimg.stores import open_one

    if "/" in name and Path(name).is_dir():
        raise NotFoundError(f"folder '{name}' is no bundle: it has no config.json")
    found = open_one(location_of(name), platform_of(platform), stores)
    options = BundleOptions(config_only=True, name=name)
    return check.check_image(found, told, options, Cache.open(cache_dir()))


def _explain(config: Mapping[str, Any], told: Runtime) -> None:
    from runtimeimg.bundle.explain import vouchers
    from runtimeimg.cli.tables import aligned

    words = {True: "yes", False: "no", None: "does not say"}
    rows = [(item.path, words[item.answer], item.entry) for item in vouchers(config, told)]
    for line in aligned([("field", "vouched for", "by"), *rows]):
        click.echo(line, err=True)
