"""Images that were chosen out of indexes, named by their digests for builders that pull by themselves."""

from __future__ import annotations

from dataclasses import replace

from runtimeimg.builders.base import BuildRequest
from runtimeimg.oci import Location
from runtimeimg.stores import open_one
from runtimeimg.stores.missing import named


def with_chosen_images(request: BuildRequest) -> BuildRequest:
    """Return the request with base and builder images by digest where `stores.choose` chooses them from an index."""
    if request.stores.choose is None:
        return request
    plan = request.plan
    locations = dict.fromkeys(item for item in (plan.base, *plan.images) if item is not None)
    names = {str(item): _chosen(item, request) for item in locations}
    copies = [copy if copy.image is None else replace(copy, image=names[str(copy.image)]) for copy in plan.copies]
    base = plan.base and names[str(plan.base)]
    builder = plan.builder and names.get(str(plan.builder), plan.builder)
    return replace(request, plan=replace(plan, base=base, builder=builder, copies=tuple(copies)))


def _chosen(location: Location, request: BuildRequest) -> Location:
    if location.transport not in {None, "docker"} or location.reference is None:
        return location
    with named(request.plan.role(location), location):
        entry = open_one(location, request.platform, request.stores).entry
    if entry is None:
        return location
    reference = replace(location.reference, tag=None, digest=entry.digest)
    return replace(location, transport="docker", reference=reference)
