"""`runtimeimg render`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.options import cache_dir, pairs, read_plan, spec_argument, store_options
from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.plan import BuildPlan
    from runtimeimg.planned import Planned
    from runtimeimg.stores import StoreOptions

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("render")
@spec_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write, or a folder for file and context; standard output by default.",
)
@click.option("--context", type=FOLDER, help="Folder to write with Dockerfile.runtime and the files that it copies.")
@click.option("--workspace", type=FOLDER, help="Folder of $(workspace); the spec's by default.")
@click.option("--stamped", is_flag=True, help="Add the stamp as instructions, for any other builder to carry out.")
@click.option("--variant", metavar="NAME", help="Variant of the spec to render.")
@click.option("--builder-image", metavar="REF", help="Image to copy from, in place of spec.builder.image.")
@click.option("--label", multiple=True, metavar="K=V", help="Label to add.")
@click.option("--env", multiple=True, metavar="K=V", help="Environment variable to add.")
@click.option("--debug", is_flag=True, help="Add the small shell of spec.runtime.debug, and mark the image so.")
@click.option(
    "--graph-format", type=click.Choice(["runtimegraph", "envd", "both"]), default="runtimegraph", show_default=True
)
@store_options
def command(
    spec: str,
    output: Path | None,
    context: Path | None,
    workspace: Path | None,
    stamped: bool,
    variant: str | None,
    builder_image: str | None,
    label: tuple[str, ...],
    env: tuple[str, ...],
    debug: bool,
    graph_format: str,
    stores: Callable[[], StoreOptions],
) -> None:
    """Write the Dockerfile.runtime of SPEC (build.yaml by default, - for standard input)."""
    from runtimeimg.plan import Facts

    facts = Facts(
        builder_image=builder_image,
        labels=pairs(label, "--label"),
        env=pairs(env, "--env"),
        variant=variant,
        debug=debug,
    )
    made = read_plan(spec, facts)
    plan = made.plan
    if plan.include:
        from runtimeimg.cache import Cache
        from runtimeimg.check.including import included

        plan = included(plan, None, stores(), Cache.open(cache_dir()))
        made = replace(made, plan=plan)
    text = _text(plan, stores(), graph_format if stamped else None)
    folder = _folder(output, context)
    if folder is not None:
        _write_context(folder, text, made, workspace)
        return
    if output is None:
        click.echo(text, nl=False)
    else:
        from runtimeimg.stores.files import write_atomically

        write_atomically(output, text.encode())
    _tell_of_context(plan)


def _text(plan: BuildPlan, stores: StoreOptions, graph_format: str | None) -> str:
    """Return the Dockerfile, with the stamp as instructions where a format of the graph is given."""
    from runtimeimg.render import render_dockerfile

    if graph_format is None:
        return render_dockerfile(plan)
    from runtimeimg.build import base_facts
    from runtimeimg.stamp import stamp_instructions, stamp_of

    base = base_facts(plan, stores, required=False)
    stamp = stamp_of(plan, base_digest=base.digest, graph_format=graph_format)
    return render_dockerfile(plan, stamp=stamp_instructions(plan, stamp, base.config))


def _folder(output: Path | None, context: Path | None) -> Path | None:
    """Return the folder that a context goes to: that of `--context`, or `-o` where it is one."""
    if context is not None and output is not None:
        raise UsageError("-o and --context are both given; --context writes Dockerfile.runtime too")
    return context or (output if output is not None and output.is_dir() else None)


def _write_context(folder: Path, text: str, made: Planned, workspace: Path | None) -> None:
    from runtimeimg.builders import BuildRequest
    from runtimeimg.builders.context import DOCKERFILE
    from runtimeimg.builders.contextfolder import write
    from runtimeimg.builders.sources import find_all_sources
    from runtimeimg.stores import StoreOptions

    root = workspace or (Path() if made.file.startswith("<") else Path(made.file).parent)
    request = BuildRequest(plan=made.plan, stores=StoreOptions(), workspace=root.resolve(), place=made.place)
    write(folder, text, find_all_sources(request))
    click.echo(f"wrote {folder}; to build it: docker build -f {folder / DOCKERFILE} {folder}", err=True)


def _tell_of_context(plan: BuildPlan) -> None:
    """Say where a Dockerfile alone is not all that its builder needs."""
    from runtimeimg.render import context_paths

    prefixes = dict.fromkeys(f"{item.prefix}/" for item in context_paths(plan))
    if prefixes:
        click.echo(f"runtimeimg: the Dockerfile copies {' and '.join(prefixes)} from its build context", err=True)
        click.echo("  --context DIR writes both, for docker build and others to build", err=True)
