"""`runtimeimg schema`."""

from __future__ import annotations

import json
from importlib import import_module

import click

# name: (module, the function in it that returns the schema)
KINDS = {
    "artefact": ("runtimeimg.configgraph.documents", "artefact_schema"),
    "automaton": ("runtimeimg.configgraph.documents", "automaton_schema"),
    "build": ("runtimeimg.spec", "json_schema"),
    "compat": ("runtimeimg.selection.nfd.spec", "schema"),
    "graph": ("runtimeimg.configgraph.savedschema", "schema"),
    "host": ("runtimeimg.selection.hostdocument", "schema"),
    "mapping": ("runtimeimg.selection.mappingdocument", "schema"),
    "preferences": ("runtimeimg.selection.preferences", "schema"),
}


@click.command("schema")
@click.argument("kind", type=click.Choice(sorted(KINDS)), default="build", required=False)
def command(kind: str) -> None:
    """Print the JSON Schema (2020-12) of a kind of document, by default of the Build spec, for editors and checkers."""
    module, function = KINDS[kind]
    click.echo(json.dumps(getattr(import_module(module), function)(), indent=2, ensure_ascii=False))
