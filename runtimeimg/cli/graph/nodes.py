"""The nodes that commands of `graph` are about: automatons and hosts by their names, and what an automaton runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.configgraph.model import Artefact, Automaton, HostNode, Instance, View


def automaton_of(view: View, name: str) -> Automaton:
    """Return the automaton of a name; what `views.named` raises."""
    from runtimeimg.configgraph.model import Automaton, Kind
    from runtimeimg.configgraph.views import named

    found = named(view, name, (Kind.AUTOMATON,))
    assert isinstance(found, Automaton)
    return found


def host_of(view: View, name: str) -> HostNode:
    """Return the host of a name; what `views.named` raises."""
    from runtimeimg.configgraph.model import HostNode, Kind
    from runtimeimg.configgraph.views import named

    found = named(view, name, (Kind.HOST,))
    assert isinstance(found, HostNode)
    return found


def artefact_of(view: View, automaton: Automaton) -> Artefact:
    """Return what an automaton runs, which must be an image."""
    from runtimeimg.configgraph.model import Artefact, name_of
    from runtimeimg.configgraph.views import there

    found = there(view, automaton.artefact, automaton.id)
    assert isinstance(found, Artefact)
    if not found.variants:
        raise UsageError(
            f"artefact '{name_of(found.id)}' is a path of a store, and no image",
            hint="bundles and documents are made of images",
        )
    return found


def instances_of(view: View, automaton: Automaton) -> list[Instance]:
    """Return the instances of an automaton, by their numbers."""
    from runtimeimg.configgraph.model import Instance, Relation

    found = [view.get(item) for item in view.into(automaton.id).get(Relation.INSTANCE_OF, ())]
    return sorted((item for item in found if isinstance(item, Instance)), key=lambda item: item.ordinal)
