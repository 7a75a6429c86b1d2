"""`runtimeimg version`."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

import click

from runtimeimg import __version__
from runtimeimg.cli.options import format_option


@click.command("version")
@format_option
def command(output_format: str) -> None:
    """Show the version of this command, of its Python, and which builders could build here now."""
    found = describe()
    if output_format == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    click.echo(f"runtimeimg {found['version']}")
    click.echo(f"python     {found['python']}")
    click.echo(f"platform   {found['platform']}")
    click.echo("builders:")
    for builder in found["builders"]:
        click.echo(f"  {builder['name']:<9} " + ("answers" if builder["answers"] else str(builder["reason"])))


def describe() -> dict[str, Any]:
    """Return what there is to know of the command where it stands; builders are asked, nothing is built."""
    from runtimeimg.oci import Platform

    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": str(Platform.host()),
        "builders": _builders(),
    }


def _builders() -> list[dict[str, Any]]:
    from concurrent.futures import ThreadPoolExecutor

    from runtimeimg.builders import builder_names

    names = builder_names()
    with ThreadPoolExecutor(len(names) or 1) as pool:
        reasons = list(pool.map(_why_not, names))
    return [
        {"name": name, "answers": reason is None, "reason": reason} for name, reason in zip(names, reasons, strict=True)
    ]


def _why_not(name: str) -> str | None:
    """Tell why a builder does not answer, None when it does: it is asked with the smallest of plans."""
    from pathlib import Path

    from runtimeimg.builders import BuildRequest, load_builder
    from runtimeimg.errors import RuntimeimgError
    from runtimeimg.plan import resolve
    from runtimeimg.spec import load_spec_text
    from runtimeimg.stores import StoreOptions

    spec = load_spec_text(SMALLEST).spec
    stores = StoreOptions(environ=dict(os.environ), attempts=1, timeout=5)
    try:
        load_builder(name).check(BuildRequest(plan=resolve(spec), stores=stores, workspace=Path()))
    except RuntimeimgError as error:
        return str(error)
    return None


SMALLEST = b"""\
apiVersion: runtimeimg.dev/v1
kind: Build
spec: {output: {image: x}, runtime: {base: {image: scratch}, directories: [/x], entrypoint: [/x]}}
"""
