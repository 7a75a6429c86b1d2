"""Plans with what they include, found out by looking into their images."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, replace

from runtimeimg import __version__
from runtimeimg.cache import Cache, work_folder
from runtimeimg.check.include import ORIGIN, resolved
from runtimeimg.check.kept import contents
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.view import View
from runtimeimg.errors import UsageError
from runtimeimg.image import Image
from runtimeimg.oci import Location, Platform
from runtimeimg.plan import BuildPlan, Copy
from runtimeimg.stores import StoreOptions, open_one
from runtimeimg.stores.missing import named

_FORMAT = 1


def included(plan: BuildPlan, platform: Platform | None, options: StoreOptions, cache: Cache | None) -> BuildPlan:
    """Return a plan whose copies bring what it includes; the same for one that includes nothing.

    What was found is kept under the images and the copies. Raises UsageError where the builder is no image, and
    NotFoundError where it has not what is asked for.
    """
    if not plan.include:
        return plan
    builder = _opened(plan, plan.builder, platform, options)
    if builder is None:
        raise UsageError(f"{ORIGIN}: files are included from a builder image, not from a folder")
    base = _opened(plan, plan.base, platform, options)
    key = _key(plan, builder, base)
    data = cache.get("check", key) if cache is not None else None
    if data is not None:
        paths = [(source, destination) for source, destination in json.loads(data)]
        more = (Copy(source=a, destination=b, image=plan.builder, chown=None, origin=ORIGIN) for a, b in paths)
        return replace(plan, copies=(*plan.copies, *more), include=())
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(work_folder(cache))
        reader = stack.enter_context(Reader(cache=cache, account=options.account, folder=folder))
        found = resolved(plan, View(builder, reader), View(base, reader) if base is not None else None)
    if cache is not None:
        told = [[copy.source, copy.destination] for copy in found.copies[len(plan.copies) :]]
        cache.put("check", key, json.dumps(told).encode())
    return found


def _opened(
    plan: BuildPlan, location: Location | None, platform: Platform | None, options: StoreOptions
) -> Image | None:
    if location is None or location.transport == "dir":
        return None
    with named(plan.role(location), location):
        return open_one(location, platform, options, exact=False)


def _key(plan: BuildPlan, builder: Image, base: Image | None) -> str:
    images = [contents(builder), contents(base)]
    copies = [asdict(copy) for copy in plan.copies]
    data = [_FORMAT, __version__, plan.include, images, copies]
    return hashlib.sha256(json.dumps(data, default=str).encode()).hexdigest()
