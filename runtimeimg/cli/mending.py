"""`check --fix`: what is missing is added to the spec, until nothing is missing that could be added."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runtimeimg.cache import Cache
    from runtimeimg.cli.looking import Target
    from runtimeimg.findings import Finding
    from runtimeimg.stores import StoreOptions


def mended(target: Target, how: str, options: StoreOptions, cache: Cache | None) -> tuple[Target, Sequence[Finding]]:
    """Return the spec with copies added, which are printed or written, and what is found in its image then.

    UsageError for what is no file with a spec. The file is written once, in whole, and only if something was added.
    """
    from runtimeimg.check.fixing import MAX_ROUNDS, entry, wanted, with_copies
    from runtimeimg.cli.checking import of_built
    from runtimeimg.cli.looking import composed
    from runtimeimg.errors import UsageError
    from runtimeimg.spec import specfile
    from runtimeimg.strategy.data import flow
    from runtimeimg.text import printable

    if not target.is_spec or target.name == "-":
        raise UsageError("--fix changes the spec in a file", hint="name the file")
    data, file = specfile.read(target.name)
    text, added = data.decode("utf-8-sig"), list[str]()
    for _ in range(MAX_ROUNDS):
        with composed(dataclasses.replace(target, text=text.encode()), options) as (part, image):
            found = of_built(part, image, cache)
        more = [path for path in wanted(found) if path not in added]
        if not more:
            break
        text = with_copies(text, file, more, target.variant)
        added += more
    for path in added:
        click.echo(printable(f"- {flow(entry(path))}"))
    if added and how == "write":
        from runtimeimg.stores.files import write_atomically

        write_atomically(Path(target.name), text.encode())
        click.echo(f"wrote {target.name}", err=True)
    return dataclasses.replace(target, text=text.encode()), found
