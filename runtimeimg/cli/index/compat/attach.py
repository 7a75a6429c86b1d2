"""`runtimeimg index compat attach`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.index.compat.documents import criteria_of, image_argument, platform_option, read
from runtimeimg.cli.options import source_date_epoch, store_options

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions


@click.command("attach")
@image_argument
@click.argument("document")
@platform_option
@click.option(
    "--inherit/--no-inherit",
    default=True,
    show_default=True,
    help="Add what the base image needs, where it has an artifact.",
)
@store_options
def command(image: str, document: str, platform: str | None, inherit: bool, stores: Callable[[], StoreOptions]) -> None:
    """Attach DOCUMENT to IMAGE in its registry, as an artifact about it; IMAGE itself stays as it is.

    The document is checked first. What the base image needs is added, so that the artifact says all. The digest of the
    artifact is printed. One that says the same as the newest is not attached again.
    """
    from runtimeimg import compat
    from runtimeimg.cli.locations import location_of
    from runtimeimg.selection.nfd import spec as documents

    raw, name = read(document)
    spec = documents.load(raw, name)
    location, wanted, options = location_of(image), criteria_of(platform), stores()
    if inherit and (base := compat.base_of(location, wanted, options)) is not None:
        raw = documents.dump(documents.both(spec, base.spec))
        click.echo(f"with what {base.image} needs", err=True)
    artifact, new = compat.attach(location, raw, _now(), wanted, options)
    if not new:
        click.echo("attached already", err=True)
    click.echo(str(artifact.digest))


def _now() -> str:
    """Return the time that an artifact is created at (RFC 3339), SOURCE_DATE_EPOCH where it is set."""
    epoch = source_date_epoch()
    found = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
    return found.isoformat(timespec="microseconds" if epoch is None else "seconds").replace("+00:00", "Z")
