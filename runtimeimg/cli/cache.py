"""`runtimeimg cache info` and `runtimeimg cache prune`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from runtimeimg.cli.options import cache_dir, format_option
from runtimeimg.errors import UsageError


@click.group("cache")
def command() -> None:
    """Show or clear what the native builder keeps."""


@command.command("info")
@format_option
def info(output_format: str) -> None:
    """Show the folder of the cache, and files and bytes by kind."""
    from runtimeimg.cache import Cache
    from runtimeimg.text import human_size

    found = Cache(_folder()).info()
    if output_format == "json":
        data = {"folder": str(found.root), "files": dict(found.files), "sizes": dict(found.sizes), "size": found.size}
        click.echo(json.dumps(data, indent=2))
        return
    click.echo(f"folder  {found.root}")
    for kind, count in found.files.items():
        click.echo(f"{kind:<7} {count} files, {human_size(found.sizes[kind])}")
    click.echo(f"all     {human_size(found.size)}")


@command.command("prune")
@click.option("--keep", default=0, metavar="MB", type=click.IntRange(min=0), help="Megabytes to keep, newest first.")
def prune(keep: int) -> None:
    """Remove what was kept, what was not used for longest first."""
    from runtimeimg.cache import Cache
    from runtimeimg.text import human_size

    click.echo(f"removed {human_size(Cache(_folder()).prune(keep * 1_000_000))}", err=True)


def _folder() -> Path:
    folder = cache_dir()
    if folder is None:
        raise UsageError("there is no folder for a cache", hint="set HOME or XDG_CACHE_HOME")
    return folder
