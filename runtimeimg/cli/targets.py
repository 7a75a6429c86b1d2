"""The options of commands that look into the image of a spec, or into one that is somewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from runtimeimg.cli.options import DEFAULT_SPEC, in_place_of

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.argument("target", default=DEFAULT_SPEC, metavar="[SPEC|IMAGE]"),
    click.option("--variant", metavar="NAME", help="Variant of the spec."),
    click.option("--builder-image", metavar="REF", help="Image that the files came from, in place of the spec's."),
    click.option("--builder", default="auto", show_default=True, help="What composes the image of a spec."),
    click.option("--platform", metavar="P", help="Platform of an index; this machine's by default."),
    click.option("--workspace", type=click.Path(path_type=Path), help="Folder of $(workspace); the spec's by default."),
)


def target_options(command: F) -> F:
    """Add what says which image is looked into; it arrives as one argument, `target`."""

    def with_target(
        *args: Any,
        target: str,
        variant: str | None,
        builder_image: str | None,
        builder: str,
        platform: str | None,
        workspace: Path | None,
        **kwargs: Any,
    ) -> Any:
        from runtimeimg.cli.locations import platform_of
        from runtimeimg.cli.looking import Target

        made = Target(
            name=target,
            variant=variant,
            builder_image=builder_image,
            builder=builder,
            platform=platform_of(platform),
            workspace=workspace,
        )
        return command(*args, target=made, **kwargs)

    return in_place_of(command, with_target, _OPTIONS)
