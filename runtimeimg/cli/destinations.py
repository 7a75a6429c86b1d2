"""Where a build writes: what `-o`, `--push`, `--load` and the names mean together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runtimeimg.build import FILE_TRANSPORTS, default_destinations
from runtimeimg.errors import UsageError
from runtimeimg.oci import Location, Reference

if TYPE_CHECKING:
    from runtimeimg.plan import BuildPlan
    from runtimeimg.stores import StoreOptions


def destinations_of(plan: BuildPlan, stores: StoreOptions, options: dict[str, Any]) -> list[Location]:
    """Return all places that a build writes to, those of `-o` first."""
    destinations = [Location.parse(text) for text in options["outputs"]]
    if plan.outputs:
        # A folder or archive without a name of its own takes that of the image.
        name = Reference.parse(plan.outputs[0]).tagged
        names = {"oci": name.tag, "oci-archive": name.tag, "docker-archive": name.familiar}
        destinations = [
            replace(item, tag=names[item.transport])
            if item.transport in FILE_TRANSPORTS and item.transport and not item.tag
            else item
            for item in destinations
        ]
    if options["load"]:
        destinations += _in_engine(plan)
    if options["push"] or not destinations:
        destinations += default_destinations(plan, stores, push=options["push"])
    return destinations


def _in_engine(plan: BuildPlan) -> list[Location]:
    if not plan.outputs:
        raise UsageError("the image has no name to be loaded under", hint="write spec.output.image, or pass -t NAME")
    return [Location(transport="docker-daemon", reference=Location.parse(name).reference) for name in plan.outputs]
