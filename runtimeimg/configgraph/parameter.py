"""What is known of a parameter of the configuration graph: the shape of a row of `parameters`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Category(StrEnum):
    """Who gives a parameter its value."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"
    ENCAPSULATED = "Encapsulated"


class Stage(StrEnum):
    """When its value is fixed: with the artefact's digest, when an operator describes an automaton, or on a host."""

    ARTEFACT = "artefact"
    AUTOMATON = "automaton"
    HOST = "host"


class Combine(StrEnum):
    """What becomes of a value that an earlier stage has fixed."""

    FIXED = "nothing stands before it"
    REPLACE = "replaces"
    NAME = "merges by name"
    PORT = "merges by port and protocol"
    TYPE = "merges by type"
    DESTINATION = "merges by destination"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A row: `path` is where a document of `kind` has it, `target` where config.json has it, empty for nowhere.

    `default` is for people; `image` the field of the image config that comes before it; `setter` who sets it where it
    is encapsulated; `formerly` its name in the discussion. `addressed` tells whether it is part of the address.
    """

    path: str
    kind: str
    category: Category
    stage: Stage
    meaning: str
    default: str = ""
    combine: Combine = Combine.REPLACE
    image: str = ""
    setter: str = ""
    target: str = ""
    formerly: str = ""
    addressed: bool = False


ARTEFACT, AUTOMATON, HOST = "Artefact", "Automaton", "Host"
REQUIRED, OPTIONAL, ENCAPSULATED = Category


def of_artefact(path: str, category: Category, meaning: str, **further: Any) -> Parameter:
    """Return a row of an Artefact."""
    return Parameter(
        path=path,
        kind=ARTEFACT,
        category=category,
        stage=Stage.ARTEFACT,
        meaning=meaning,
        combine=Combine.FIXED,
        **further,
    )


def of_automaton(path: str, category: Category, meaning: str, **further: Any) -> Parameter:
    """Return a row of an Automaton, by default one of config.json and of the address."""
    values = {"stage": Stage.AUTOMATON, "target": path, "addressed": True, **further}
    return Parameter(path=path, kind=AUTOMATON, category=category, meaning=meaning, **values)


def of_operated(path: str, meaning: str, **further: Any) -> Parameter:
    """Return a row of what says how often and where an automaton runs: it changes nothing about the process."""
    values = {"target": "", "addressed": False, "combine": Combine.FIXED, **further}
    return of_automaton(path, values.pop("category", OPTIONAL), meaning, **values)
