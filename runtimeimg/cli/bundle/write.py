"""`runtimeimg bundle IMAGE DIR`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.locations import location_of, platform_of
from runtimeimg.cli.options import cache_dir, image_argument, pairs, store_options
from runtimeimg.cli.progress import MODES

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions

ALLOWED = ("links", "workdir", "volumes", "annotations", "setuid", "root-user")


@click.command("write")
@image_argument
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--config-only", is_flag=True, help="Write config.json alone, without unpacking anything.")
@click.option("--rootless", is_flag=True, help="Make it one that this user can start, in a user namespace.")
@click.option("--debug", is_flag=True, help="Give the process a terminal.")
@click.option("--runtime", metavar="NAME|FILE", help="Runtime that it has to fit: a program, or its features document.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Field of config.json; may be repeated.")
@click.option("--hook", "hooks", multiple=True, metavar="STAGE=PATH[,ARG...]", help="Program that the runtime calls.")
@click.option("--mount", "mounts", multiple=True, metavar="KEY=VALUE,...", help="Mount; may be repeated.")
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="Variable to set; may be repeated.")
@click.option("--readonly/--writable", "readonly", default=None, help="Whether the rootfs is read-only.")
@click.option(
    "--network",
    type=click.Choice(["own", "host"]),
    help="Network of its own, or the host's; its own by default, the host's with --rootless.",
)
@click.option("--hostname", help="Host name; by default made of the image's name.")
@click.option("--domainname", help="NIS domain name.")
@click.option("--allow", multiple=True, type=click.Choice(ALLOWED), help="What is refused otherwise; may be repeated.")
@click.option("--platform", help="Platform to take of an index; this machine's by default.")
@click.option("--progress", type=click.Choice(MODES), default="auto", show_default=True)
@store_options
@choosing_stores
def command(
    image: str,
    folder: Path,
    config_only: bool,
    rootless: bool,
    debug: bool,
    runtime: str | None,
    settings: tuple[str, ...],
    hooks: tuple[str, ...],
    mounts: tuple[str, ...],
    env: tuple[str, ...],
    readonly: bool | None,
    network: Literal["own", "host"] | None,
    hostname: str | None,
    domainname: str | None,
    allow: tuple[str, ...],
    platform: str | None,
    progress: str,
    stores: Callable[..., StoreOptions],
) -> None:
    """Write the runtime bundle of IMAGE to DIR, which runc and crun start: its rootfs, and config.json.

    DIR must be new or empty. What an image may not have in a bundle is refused by name, and done with --allow.
    docs/bundles.md says how each field of the image is converted, and why each default is what it is.
    """
    from runtimeimg import bundle
    from runtimeimg.bundle.hooks import parse as hook
    from runtimeimg.bundle.settings import Setting
    from runtimeimg.cache import Cache
    from runtimeimg.cli.bundle.runtimes import runtime_of, this_user
    from runtimeimg.cli.progress import display
    from runtimeimg.stores import open_one

    location, wanted = location_of(image), platform_of(platform)
    options = bundle.BundleOptions(
        config_only=config_only,
        rootless=this_user() if rootless else None,
        debug=debug,
        console=_console() if debug else None,
        env=pairs(env, "--env"),
        mounts=tuple(map(bundle.Mount.parse, mounts)),
        hooks=tuple(map(hook, hooks)),
        readonly=readonly,
        hostname=hostname,
        domainname=domainname,
        network=network,
        settings=tuple(map(Setting.parse, settings)),
        allow=frozenset(allow),
        runtime=runtime_of(runtime) if runtime else None,
        name=str(location),
    )
    with display(progress) as shown:
        found = open_one(location, wanted, stores(shown))
        written = bundle.write(found, folder, options, progress=shown, cache=Cache.open(cache_dir(), shown.line))
    for note in written.notes:
        click.echo(note, err=True)
    click.echo(str(written.path))


def _console() -> tuple[int, int]:
    import shutil

    columns, lines = shutil.get_terminal_size((80, 24))
    return lines, columns
