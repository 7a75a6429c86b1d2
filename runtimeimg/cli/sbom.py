"""`runtimeimg sbom`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.options import cache_dir, store_options
from runtimeimg.cli.targets import target_options
from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.cli.looking import Target
    from runtimeimg.stores import StoreOptions

NAMES = ("cyclonedx", "spdx")


@click.command("sbom")
@target_options
@click.option("--format", "name", type=click.Choice(NAMES), default=NAMES[0], show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@click.option("--attach", "attached", is_flag=True, help="Keep it beside IMAGE, in its registry or layout.")
@store_options
@choosing_stores
def command(
    target: Target, name: str, output: Path | None, attached: bool, stores: Callable[..., StoreOptions]
) -> None:
    """List the packages that the files of the image of SPEC, or of IMAGE, came with.

    Files of the new layers are attributed by the records of the builder image, or listed as of no package.
    """
    from runtimeimg.cache import Cache
    from runtimeimg.check.sbom import FORMATS, written
    from runtimeimg.cli.boms import attach, listed
    from runtimeimg.cli.locations import location_of
    from runtimeimg.cli.looking import looked_into
    from runtimeimg.cli.memory import few_arenas
    from runtimeimg.stores.artifacts import artifacts_of
    from runtimeimg.stores.files import write_atomically

    few_arenas()
    form = FORMATS[name]
    form.check()
    options, cache = stores(), Cache.open(cache_dir())
    if attached:
        if target.is_spec:
            raise UsageError("--attach needs an image that is somewhere", hint="for a spec's use build --sbom")
        artifacts_of(location_of(target.name), options)
    with looked_into(target, options, cache) as looked:
        data = written(listed(looked.facts), form)
        manifest = looked.facts.view.image.manifest
    if output is not None:
        write_atomically(output, data)
    if attached:
        assert manifest is not None  # registries and layouts have them
        click.echo(attach(data, form, location_of(target.name), manifest.descriptor, options).digest)
    elif output is None:
        click.echo(data, nl=False)
