"""The image of a run: in the Engine, or brought there first."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace

from runtimeimg.errors import NotFoundError
from runtimeimg.image import Image, choose_platform
from runtimeimg.oci import Location, Platform, Reference
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.stores.engine import Engine
from runtimeimg.stores.engine.images import DaemonDestination


def find(location: Location, options: StoreOptions, platform: Platform | None = None) -> Image:
    """Return the image that `location` names, for this machine or `platform`, wherever it is; nothing is moved.

    An image of the Engine is only as exact as the Engine tells at once, which is all that running it needs.
    """
    return choose_platform(open_image(location, options, exact=False), platform)


def fetch(location: Location, options: StoreOptions) -> Image:
    """Return the Engine's image that `location` names; what is elsewhere is loaded into the Engine first.

    A bare name is the Engine's own image where it has one, else the registry's. An image of a layout or archive is
    loaded under a name made from its path, unless the Engine has the very same one already.
    """
    if location.transport is None:
        with Engine.connect(options):  # what is to run needs one, whatever a registry has
            pass
    image = find(location, options)
    options = replace(options, choose=None)  # it is chosen now
    if image.image_id is not None:
        return image
    same = Location(transport="docker-daemon", image_id=str(image.config.digest))
    name = engine_reference(location)
    try:
        there = find(same, options)
    except NotFoundError:
        there = image
    target = Location(transport="docker-daemon", reference=name)
    DaemonDestination(target, options).write(there)
    return find(target, options)


def engine_reference(location: Location) -> Reference:
    """Return the name that an image of `location` gets in the Engine."""
    found = location.reference
    if found is None:
        stem = posixpath.basename((location.path or "").rstrip("/")).lower()
        stem = re.sub(r"\.(oci|tar|tgz|tar\.gz)\Z", "", stem)
        stem = re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "image"
        tag = (location.tag or "latest").rpartition(":")[2]
        tag = re.sub(r"[^A-Za-z0-9_.-]", "-", tag)[:128].lstrip(".-") or "latest"
        return Reference.parse(f"localhost/{stem[:100]}:{tag}")
    if found.digest is not None:
        return replace(found, tag=found.tag or str(found.digest).replace(":", "-")[:71], digest=None)
    return found.tagged
