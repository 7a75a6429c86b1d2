"""`runtimeimg index compat show`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.index.compat.documents import criteria_of, image_argument, origin, platform_option, required
from runtimeimg.cli.options import store_options
from runtimeimg.text import json_escaped, plain

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions


@click.command("show")
@image_argument
@platform_option
@click.option("--format", "output_format", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@store_options
def command(image: str, platform: str | None, output_format: str, stores: Callable[[], StoreOptions]) -> None:
    """Show what IMAGE needs of hosts: its compatibility document, or that of the base that it inherits it from."""
    found = required(image, criteria_of(platform), stores())
    if output_format == "json":
        data = {
            "image": found.image,
            "subject": str(found.subject),
            "artifact": str(found.artifact.digest),
            "inherited": found.inherited,
            "spec": found.spec.model_dump(by_alias=True, exclude_defaults=True, mode="json"),
        }
        click.echo(json_escaped(json.dumps(data, indent=2, ensure_ascii=False)))
    else:
        click.echo(plain(f"# {origin(found)}\n{found.raw.decode('utf-8', 'replace').rstrip()}"))
