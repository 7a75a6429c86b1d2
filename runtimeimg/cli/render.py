"""`runtimeimg render`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.options import pairs, read_spec, spec_argument, store_options

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions


@click.command("render")
@spec_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; standard output by default.")
@click.option("--stamped", is_flag=True, help="Add the stamp as instructions, for any other builder to carry out.")
@click.option("--builder-image", metavar="REF", help="Image to copy from, in place of spec.builder.image.")
@click.option("--label", multiple=True, metavar="K=V", help="Label to add.")
@click.option("--env", multiple=True, metavar="K=V", help="Environment variable to add.")
@click.option(
    "--graph-format", type=click.Choice(["runtimegraph", "envd", "both"]), default="runtimegraph", show_default=True
)
@store_options
def command(
    spec: str,
    output: Path | None,
    stamped: bool,
    builder_image: str | None,
    label: tuple[str, ...],
    env: tuple[str, ...],
    graph_format: str,
    stores: Callable[[], StoreOptions],
) -> None:
    """Write the Dockerfile.runtime of SPEC (build.yaml by default, - for standard input)."""
    from runtimeimg.plan import Facts, resolve
    from runtimeimg.render import render_dockerfile

    loaded = read_spec(spec)
    facts = Facts(builder_image=builder_image, labels=pairs(label, "--label"), env=pairs(env, "--env"))
    plan = resolve(loaded.spec, facts)
    instructions = None
    if stamped:
        from runtimeimg.build import base_facts
        from runtimeimg.stamp import stamp_instructions, stamp_of

        base = base_facts(plan, stores(), required=False)
        instructions = stamp_instructions(
            plan, stamp_of(plan, base_digest=base.digest, graph_format=graph_format), base.config
        )
    text = render_dockerfile(plan, stamp=instructions)
    if output is None:
        click.echo(text, nl=False)
    else:
        from runtimeimg.stores.files import write_atomically

        write_atomically(output, text.encode())
