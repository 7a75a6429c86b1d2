"""`runtimeimg check`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.findings import findings_options
from runtimeimg.cli.locations import location_of, platform_of
from runtimeimg.cli.options import DEFAULT_SPEC, cache_dir, read_plan, source_date_epoch, store_options

if TYPE_CHECKING:
    from runtimeimg.cache import Cache
    from runtimeimg.findings import Finding
    from runtimeimg.oci import Platform
    from runtimeimg.stores import StoreOptions

_ENDINGS = (".yaml", ".yml", ".json")


@click.command("check")
@click.argument("target", default=DEFAULT_SPEC, metavar="[SPEC|IMAGE]")
@click.option("--variant", metavar="NAME", help="Variant of the spec.")
@click.option("--builder-image", metavar="REF", help="Image that the files came from, in place of the spec's.")
@click.option("--builder", default="auto", show_default=True, help="What composes the image of a spec.")
@click.option("--platform", metavar="P", help="Platform of an index; this machine's by default.")
@click.option("--workspace", type=click.Path(path_type=Path), help="Folder of $(workspace); the spec's by default.")
@findings_options
@store_options
@choosing_stores
def command(
    target: str,
    variant: str | None,
    builder_image: str | None,
    builder: str,
    platform: str | None,
    workspace: Path | None,
    report: Callable[..., int],
    stores: Callable[..., StoreOptions],
) -> int:
    """Say whether the image of SPEC (build.yaml by default, - for standard input), or IMAGE, will start.

    Nothing is run, and nothing is written: a spec is composed and looked at. Ends with exit code 10 where something was
    found. docs/findings.md has all rules.
    """
    from runtimeimg.cache import Cache
    from runtimeimg.check.rules import RULES
    from runtimeimg.cli.memory import few_arenas

    few_arenas()
    options, cache = stores(), Cache.open(cache_dir())
    wanted = platform_of(platform)
    if is_spec(target):
        found = _of_spec(target, variant, builder_image, builder, wanted, workspace, options, cache)
    else:
        found = _of_image(target, builder_image, wanted, options, cache)
    return report(found, RULES)


def is_spec(target: str) -> bool:
    """Tell whether something is a spec rather than an image: standard input, a file, or what is called like one."""
    return target == "-" or target.endswith(_ENDINGS) or Path(target).is_file()


def _of_image(
    target: str, builder_image: str | None, platform: Platform | None, options: StoreOptions, cache: Cache | None
) -> Sequence[Finding]:
    from runtimeimg.check.checking import check
    from runtimeimg.check.opened import base_of, opened
    from runtimeimg.stores import open_one

    image = open_one(location_of(target), platform, options)
    builder = open_one(location_of(builder_image), image.platform, options) if builder_image else None
    with opened(image, cache=cache, account=options.account, base=base_of(image, options), builder=builder) as facts:
        return check(facts)


def _of_spec(
    target: str,
    variant: str | None,
    builder_image: str | None,
    builder: str,
    platform: Platform | None,
    workspace: Path | None,
    options: StoreOptions,
    cache: Cache | None,
) -> Sequence[Finding]:
    from contextlib import ExitStack

    from runtimeimg.build import Part, choose_builder, images_of
    from runtimeimg.builders import BuildRequest
    from runtimeimg.cli.checking import of_built
    from runtimeimg.plan import Facts

    made = read_plan(target, Facts(builder_image=builder_image, variant=variant))
    folder = workspace or (Path() if made.file.startswith("<") else Path(made.file).parent)
    request = BuildRequest(
        plan=made.plan,
        stores=options,
        workspace=folder.resolve(),
        platform=platform,
        place=made.place,
        cache_dir=cache_dir(),
        epoch=source_date_epoch(),
        looked_at=True,
    )
    part = Part(request=request, builder=choose_builder(builder, request, ()))
    part.builder.check(request)
    with ExitStack() as stack:
        (image,) = images_of(part, stack)
        return of_built(part, image, cache)
