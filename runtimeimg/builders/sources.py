"""The sources of a build context, found on this machine before anything is built."""

from __future__ import annotations

from runtimeimg.builders import context
from runtimeimg.builders.base import BuildRequest
from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.oci import Location
from runtimeimg.render import ContextPath, context_paths


def find_all_sources(request: BuildRequest) -> list[context.Source]:
    """Return what the build context holds; all that is missing is reported at once, by its place in the spec."""
    missing: list[str] = []
    sources: list[context.Source] = []
    for item in context_paths(request.plan):
        try:
            sources += context.find_sources(item, request.workspace)
        except UsageError as error:
            raise UsageError(_placed(request, item, error), hint=error.hint) from None
        except NotFoundError as error:
            missing.append(_placed(request, item, error))
    if missing:
        raise NotFoundError("\n".join(missing))
    return sources


def _placed(request: BuildRequest, item: ContextPath, error: Exception) -> str:
    """Say in front of an error which line of the spec named the path."""
    for copy in request.plan.copies:
        if (copy.source.lstrip("/") or ".") == item.pattern and _folder(copy.image) == item.folder:
            return f"{request.place(copy.origin)}: {error}"
    return str(error)


def _folder(image: Location | None) -> str | None:
    return image.path if image is not None else None
