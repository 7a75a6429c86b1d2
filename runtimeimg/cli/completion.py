"""`runtimeimg completion`, and what completes the values of options and arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_RUNTIMEIMG_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script that completes this command in SHELL.

    For bash: source <(runtimeimg completion bash). For zsh the same. For fish: runtimeimg completion fish | source.
    """
    from click.shell_completion import get_completion_class

    from runtimeimg.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "runtimeimg", VARIABLE).source())


def builders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Complete the name of a builder."""
    from click.shell_completion import CompletionItem

    from runtimeimg.builders import builder_names

    return [CompletionItem(name) for name in ("auto", *builder_names()) if name.startswith(incomplete)]


def specs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Complete the path of a file."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def images(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Complete the name of an image: a transport, or what the local Engine has."""
    from click.shell_completion import CompletionItem

    from runtimeimg.oci.reference import TRANSPORTS

    starts = [f"{name}://" if name == "docker" else f"{name}:" for name in TRANSPORTS if name != "dir"]
    prefix = "docker-daemon:" if incomplete.startswith("docker-daemon:") else ""
    names = [prefix + name for name in _engine_names()]
    return [CompletionItem(name) for name in sorted([*starts, *names]) if name.startswith(incomplete)]


def _engine_names() -> list[str]:
    import os

    from runtimeimg.errors import RuntimeimgError
    from runtimeimg.stores import StoreOptions
    from runtimeimg.stores.engine import Engine

    try:
        with Engine.connect(StoreOptions(environ=dict(os.environ), attempts=1, timeout=2)) as engine:
            listed = engine.get("/images/json")
    except RuntimeimgError:
        return []
    return [str(tag) for image in listed for tag in image.get("RepoTags") or () if "<none>" not in tag]
