"""`runtimeimg graph`: the group; each command is a module beside this."""

from __future__ import annotations

import click

from runtimeimg.cli.lazy import LazyGroup

# name: (module of this package, what `--help` says of it)
COMMANDS: dict[str, tuple[str, str]] = {
    "build": ("build", "Make the graph of documents, and write it."),
    "bundle": ("bundle", "Make an automaton a runtime bundle for a host."),
    "closure": ("closure", "List the blobs that something needs, and those that somebody lacks."),
    "diff": ("diff", "Show what differs between two graphs, and what has to move for it."),
    "export": ("export", "Write automatons as documents of other tools."),
    "impact": ("impact", "Show what depends on an image, a digest or a package."),
    "join": ("join", "Put a small image and its store paths together again."),
    "params": ("params", "Show every parameter of an automaton, and where its value comes from."),
    "place": ("place", "Choose a host for each instance."),
    "split": ("split", "Split an image into a small one and its store paths."),
    "show": ("show", "Show a graph, or a node of it, as text or as a picture."),
}


@click.group("graph", cls=LazyGroup, package=__name__, table=COMMANDS)
def command() -> None:
    """Tie artefacts, automatons and hosts together, and ask what follows."""
