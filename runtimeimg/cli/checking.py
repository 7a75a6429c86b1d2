"""What is found in images that are being built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtimeimg.build import Part
    from runtimeimg.cache import Cache
    from runtimeimg.findings import Finding
    from runtimeimg.image import Image


def of_built(part: Part, image: Image, cache: Cache | None) -> Sequence[Finding]:
    """Return what is found in an image that was built of a plan, held against its base and its builder image.

    What the spec accepts is left out.
    """
    from runtimeimg.findings import chosen

    accepted = [item.rule if item.path is None else f"{item.rule}:{item.path}" for item in part.request.plan.accept]
    return chosen(_of_built(part, image, cache), ignored=accepted)


def _of_built(part: Part, image: Image, cache: Cache | None) -> Sequence[Finding]:
    from runtimeimg.check import kept
    from runtimeimg.check.checking import check
    from runtimeimg.check.opened import opened
    from runtimeimg.cli.looking import seen_of

    seen = seen_of(part, image, cache)
    key = kept.key_of(seen.image, seen.base, seen.builder, seen.copies, seen.image.name)
    known = kept.find(cache, key)
    if known is not None:
        return known
    account = part.request.stores.account
    with opened(seen.image, cache=cache, account=account, **seen.origins) as facts:
        found = check(facts)
    kept.keep(cache, key, found)
    return found


def checker(mode: str, cache: Cache | None) -> Callable[[Part, Image], None]:
    """Return what looks at images before they are written: `warn` says what it finds, `error` refuses, `off` does not.

    BuildFailed where something is found that keeps an image from starting.
    """
    if mode == "off":
        return lambda _part, _image: None

    def look(part: Part, image: Image) -> None:
        from runtimeimg.errors import BuildFailed, RuntimeimgError
        from runtimeimg.findings import Severity, chosen

        try:
            found = chosen(of_built(part, image, cache), Severity.WARNING)
        except RuntimeimgError as error:
            if mode == "error":
                raise
            part.request.stores.progress.line(f"note: whether the image will start is not known: {error}")
            return
        for item in found:
            part.request.stores.progress.line(f"{item.rule.severity}: {item.rule.id}: {item.message}")
            if item.fix:
                part.request.stores.progress.line(f"  {item.fix}")
        errors = sum(item.rule.severity is Severity.ERROR for item in found)
        if errors and mode == "error":
            raise BuildFailed(
                f"the image will not start: {errors} {'errors were' if errors > 1 else 'error was'} found",
                hint="nothing was written; docs/findings.md explains them, --check warn goes on all the same",
            )

    return look
