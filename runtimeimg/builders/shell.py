"""The one thing that daemons need of an image: `/bin/sh`, which starts them."""

from __future__ import annotations

from runtimeimg.builders.base import BuildRequest
from runtimeimg.cache import Cache
from runtimeimg.compose.lookup import has_file
from runtimeimg.errors import UsageError
from runtimeimg.image import Image

SHELL = "/bin/sh"


def require_shell(image: Image, request: BuildRequest) -> None:
    """Refuse an image without a shell when the plan has daemons; the image's layers are read for that, once."""
    if not request.plan.needs_shell:
        return
    cache = None if request.no_cache else Cache.open(request.cache_dir)
    if not has_file(image, SHELL, cache=cache, account=request.stores.account):
        raise no_shell(request)


def no_shell(request: BuildRequest) -> UsageError:
    """Return the error of an image without a shell."""
    return UsageError(
        f"{request.place('spec.runtime.daemons')}: the image has no '{SHELL}', which starts the daemons",
        hint="take a base that has one, or pass --no-supervise to have them run as containers of their own",
    )
