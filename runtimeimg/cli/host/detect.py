"""`runtimeimg host detect`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtimeimg.errors import UsageError
from runtimeimg.text import json_escaped

if TYPE_CHECKING:
    from runtimeimg.selection.hosts import Host

_PATH = click.Path(path_type=Path, allow_dash=True)


@click.command("detect")
@click.option(
    "--from",
    "sources",
    multiple=True,
    type=_PATH,
    metavar="FILE",
    help="A Node, NodeFeature, List, output of 'nfd export' or profile, in place of this machine; may be repeated.",
)
@click.option(
    "--exec",
    "detectors",
    multiple=True,
    metavar="PROGRAM",
    help="Program that writes further facts as a map in YAML or JSON; may be repeated.",
)
@click.option("--name", metavar="NAME", help="What the host is called; by default its own name.")
@click.option("--full", is_flag=True, help="Keep all options and built-in modules of the kernel.")
@click.option("--format", "output_format", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.option("-o", "--output", type=_PATH, metavar="FILE", help="File to write; of several hosts, the folder.")
def command(
    sources: tuple[Path, ...],
    detectors: tuple[str, ...],
    name: str | None,
    full: bool,
    output_format: str,
    output: Path | None,
) -> None:
    """Write a profile of this machine: its platform, and facts that images can be chosen by.

    With --from the profile is made of what Kubernetes and Node Feature Discovery say of a node. Files about one node
    are put together, what a later one says over what an earlier says.
    """
    hosts = _given(sources) if sources else (_here(name, full=full),)
    if name is not None:
        if len(hosts) != 1:
            raise UsageError(f"--name is for one host, and there are {len(hosts)}")
        hosts = (replace(hosts[0], name=name),)
    hosts = tuple(_with_facts(host, detectors) for host in hosts)
    _checked(hosts)
    if len(hosts) == 1 and (output is None or not output.is_dir()):
        _write(_text(hosts[0], output_format), output)
    else:
        _write_each(hosts, output_format, output)


def _here(name: str | None, *, full: bool) -> Host:
    from runtimeimg.detect.machine import detect
    from runtimeimg.oci import Platform

    return detect(Path("/"), name or os.uname().nodename, Platform.host(), dict(os.environ), full=full)


def _given(sources: Sequence[Path]) -> tuple[Host, ...]:
    from runtimeimg.budgets import MAX_DOCUMENT
    from runtimeimg.errors import NotFoundError
    from runtimeimg.hostfile import read_file
    from runtimeimg.selection import hostfiles
    from runtimeimg.selection.nfd.kubernetes import merged

    found: list[Host] = []
    for path in sources:
        if str(path) == "-":
            found += hostfiles.load_all(sys.stdin.buffer.read(MAX_DOCUMENT + 1))
        else:
            found += hostfiles.load_all(read_file(path, MAX_DOCUMENT, "host"), str(path))
    if not found:
        raise NotFoundError("the list holds no host")
    return merged(found)


def _with_facts(host: Host, detectors: Sequence[str]) -> Host:
    from runtimeimg.detect.programs import detector

    for program in detectors:
        host = replace(host, facts={**host.facts, **detector(program, dict(os.environ))})
    return host


def _checked(hosts: Sequence[Host]) -> None:
    """Raise what is wrong with a profile before anything is written: what is read of clusters may be anything."""
    from runtimeimg.selection import hostdocument

    for host in hosts:
        hostdocument.load(_text(host, "json").encode(), f"<host {host.name}>")


def _text(host: Host, output_format: str) -> str:
    if output_format == "json":
        return json_escaped(json.dumps(host.document(), indent=2, ensure_ascii=False)) + "\n"
    import yaml

    return yaml.safe_dump(host.document(), sort_keys=False, width=120)


def _write_each(hosts: Sequence[Host], output_format: str, output: Path | None) -> None:
    if output is None or str(output) == "-":
        raise UsageError(f"there are {len(hosts)} hosts, each of which is a file", hint="name a folder with -o FOLDER")
    for host in hosts:
        if host.name.startswith(".") or "/" in host.name or len(host.name.encode()) > 200:
            raise UsageError(f"host {host.name[:80]!r} has a name that no file can have")
    from runtimeimg.hostfile import explained

    with explained(output):
        output.mkdir(exist_ok=True)
    for host in hosts:
        _write(_text(host, output_format), output / f"{host.name}.{output_format}")


def _write(text: str, output: Path | None) -> None:
    from runtimeimg.stores.files import write_atomically

    if output is None or str(output) == "-":
        click.echo(text, nl=False)
    else:
        write_atomically(output, text.encode())
