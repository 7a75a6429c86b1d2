"""`runtimeimg graph build`."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.options import cache_dir, store_options
from runtimeimg.cli.progress import MODES

if TYPE_CHECKING:
    from runtimeimg.configgraph.build import Built
    from runtimeimg.configgraph.lock import Lock
    from runtimeimg.configgraph.model import Graph
    from runtimeimg.configgraph.reading import Written
    from runtimeimg.stores import StoreOptions

_NIX_TIME = 60.0
"""Seconds that nix-store may take to list a closure."""
_PATH = click.Path(path_type=Path, allow_dash=True)


@click.command("build")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=_PATH)
@click.option("-o", "--output", type=_PATH, default="graph.json", show_default=True, help="File to write.")
@click.option("--lock", "lock_file", type=click.Path(path_type=Path), help="Lock; graph.lock beside the first PATH.")
@click.option("--update", is_flag=True, help="Ask anew which digests references lead to, whatever the lock says.")
@click.option("--offline", is_flag=True, help="Ask no registry: take what the lock, the cache and this machine have.")
@click.option("--progress", type=click.Choice(MODES), default="auto", show_default=True)
@store_options
def command(
    paths: tuple[Path, ...],
    output: Path,
    lock_file: Path | None,
    update: bool,
    offline: bool,
    progress: str,
    stores: Callable[..., StoreOptions],
) -> None:
    """Make the graph of the Artefacts, Automatons and Hosts in PATH..., files or folders of YAML; '-' is read.

    What references lead to is kept in a lock, so that the next graph has the same images.
    """
    from runtimeimg.configgraph import lock
    from runtimeimg.errors import UsageError

    if update and offline:
        raise UsageError("--update asks registries, and --offline asks none", hint="give one of the two")
    place = lock_file or lock.beside(Path() if str(paths[0]) == "-" else paths[0])
    with _without_collector():
        built = _built(paths, lock.read(place), stores, progress, offline=offline, update=update)
        _write(built.graph, output)
    if (built.lock or place.exists()) and lock.write(place, built.lock):
        click.echo(f"wrote {place}", err=True)
    if str(output) != "-":
        click.echo(str(output))


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Look for no garbage: a graph is millions of values, none of which is any."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _built(
    paths: tuple[Path, ...],
    known: Lock,
    stores: Callable[..., StoreOptions],
    progress: str,
    *,
    offline: bool,
    update: bool,
) -> Built:
    from runtimeimg.cache import Cache
    from runtimeimg.cli.graph.making import made_of
    from runtimeimg.cli.progress import display
    from runtimeimg.configgraph.build import build
    from runtimeimg.configgraph.resolve import Ways

    written = _documents(paths)  # before there are threads
    with display(progress) as shown:
        cache = Cache.open(cache_dir(), shown.line)
        options = stores(shown)
        ways = Ways(
            options=options,
            lock=known,
            offline=offline,
            update=update,
            cache=cache,
            made_of=lambda location, image: made_of(location, image, options),
        )
        return build(written, ways, run=_nix_store)


def _write(graph: Graph, output: Path) -> None:
    from runtimeimg.configgraph import saved

    if str(output) == "-":
        sys.stdout.buffer.writelines(saved.dump(graph))
        sys.stdout.flush()
    else:
        saved.write(graph, output)


def _documents(paths: tuple[Path, ...]) -> list[Written]:
    from runtimeimg.configgraph import reading
    from runtimeimg.spec.yamltext import MAX_BYTES

    found: list[Written] = []
    if any(str(path) == "-" for path in paths):
        found += reading.load(sys.stdin.buffer.read(MAX_BYTES + 1))
    return found + reading.read_all([path for path in paths if str(path) != "-"])


def _nix_store(arguments: Sequence[str]) -> str | None:
    """Return what `nix-store` prints, None where it is not there."""
    from runtimeimg import process
    from runtimeimg.configgraph.closures import MAX_FILE
    from runtimeimg.errors import RuntimeimgError

    if process.find(arguments[0]) is None:
        return None
    code, found, said = process.answer(arguments, timeout=_NIX_TIME, limit=MAX_FILE)
    if code:
        raise RuntimeimgError(f"{arguments[0]} ended with {code}: {said}")
    return found.decode("utf-8", "replace")
