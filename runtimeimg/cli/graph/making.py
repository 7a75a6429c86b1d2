"""What registries keep of how images were made, for graphs: the images that went in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtimeimg.errors import RuntimeimgError

if TYPE_CHECKING:
    from runtimeimg.configgraph.facts import Base
    from runtimeimg.image import Image
    from runtimeimg.oci import Location
    from runtimeimg.stores import StoreOptions


def made_of(location: Location, image: Image, options: StoreOptions) -> tuple[Base, ...]:
    """Return the images that the provenance of a registry's image names, its base aside; none where there is none.

    A provenance that cannot be read is told of and passed over: the graph is one without it too.
    """
    from runtimeimg import provenance
    from runtimeimg.configgraph.facts import Base

    if location.reference is None or provenance.LABEL not in image.config.labels:
        return ()
    try:
        kept = provenance.read_kept(location.reference, image, options)
    except RuntimeimgError as error:
        options.progress.line(f"provenance of '{location}' is passed over: {error}")
        return ()
    plan = kept.plan if kept is not None else {}
    found = []
    for item in plan.get("images", ()):
        name, digest = item.get("name"), item.get("digest")
        if isinstance(name, str) and name != plan.get("base"):
            found.append(Base(name=name[:4096], digest=digest if isinstance(digest, str) else ""))
    return tuple(found)
