"""Images that a command looks into: those of a spec, composed for it, or one that is somewhere."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from runtimeimg.cli.locations import location_of
from runtimeimg.cli.options import cache_dir, read_plan, source_date_epoch

if TYPE_CHECKING:
    from runtimeimg.build import Part
    from runtimeimg.cache import Cache
    from runtimeimg.check.facts import Facts
    from runtimeimg.image import Image
    from runtimeimg.oci import Location, Platform
    from runtimeimg.plan import BuildPlan, Copy
    from runtimeimg.stores import StoreOptions

_ENDINGS = (".yaml", ".yml", ".json")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is looked at: `name` as given, and what the options say of it; `text` in place of what is in the file."""

    name: str
    variant: str | None = None
    builder_image: str | None = None
    builder: str = "auto"
    platform: Platform | None = None
    workspace: Path | None = None
    text: bytes | None = None

    @property
    def is_spec(self) -> bool:
        """Whether it is a spec rather than an image: standard input, a file, or what is called like one."""
        return self.name == "-" or self.name.endswith(_ENDINGS) or Path(self.name).is_file()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """An image opened for looking, the plan that it was made of, and the image that it was copied from.

    `place` turns a dotted path of the spec into what messages say.
    """

    facts: Facts
    plan: BuildPlan | None = None
    builder: Image | None = None
    place: Callable[[str], str] = str


@contextlib.contextmanager
def looked_into(target: Target, options: StoreOptions, cache: Cache | None) -> Iterator[Looked]:
    """Return a context whose value is the image of a spec or a name, with what it was made of; nothing is written."""
    from runtimeimg.check.opened import base_of, opened
    from runtimeimg.stores import open_one

    if target.is_spec:
        with composed(target, options) as (part, image), _of_built(part, image, cache) as looked:
            yield looked
            _tell(looked.facts)
        return
    image = open_one(location_of(target.name), target.platform, options)
    named = target.builder_image
    builder = open_one(location_of(named), image.platform, options) if named else None
    with opened(image, cache=cache, account=options.account, base=base_of(image, options), builder=builder) as facts:
        yield Looked(facts=facts, builder=builder)
        _tell(facts)


def _tell(facts: Facts) -> None:
    """Say what could not be read of the records of packages."""
    import click

    from runtimeimg.text import printable

    for note in facts.notes:
        click.echo(printable(f"runtimeimg: note: {note}"), err=True)


@contextlib.contextmanager
def composed(target: Target, options: StoreOptions) -> Iterator[tuple[Part, Image]]:
    """Return a context whose value is the image of a spec, stamped, and the part of a build that it is."""
    from runtimeimg.build import Part, choose_builder, images_of, with_included
    from runtimeimg.builders import BuildRequest
    from runtimeimg.plan import Facts as Told
    from runtimeimg.planned import planned

    told = Told(builder_image=target.builder_image, variant=target.variant)
    made = read_plan(target.name, told) if target.text is None else planned(target.text, target.name, told, None)
    folder = target.workspace or (Path() if made.file.startswith("<") else Path(made.file).parent)
    request = BuildRequest(
        plan=made.plan,
        stores=options,
        workspace=folder.resolve(),
        platform=target.platform,
        place=made.place,
        cache_dir=cache_dir(),
        epoch=source_date_epoch(),
        looked_at=True,
    )
    request = dataclasses.replace(request, plan=with_included(request, target.platform))
    name = "native" if target.builder == "auto" and _is_elsewhere(request.plan) else target.builder
    part = Part(request=request, builder=choose_builder(name, request, ()))
    part.builder.check(request)
    with contextlib.ExitStack() as stack:
        (image,) = images_of(part, stack)
        yield part, image


def _is_elsewhere(plan: BuildPlan) -> bool:
    """Tell whether a plan names an image that an Engine would have to fetch first, and needs no Engine otherwise."""
    from runtimeimg.build import ENGINE_TRANSPORTS

    images = (*plan.images, *((plan.base,) if plan.base is not None else ()))
    return not plan.run and any(item.transport not in ENGINE_TRANSPORTS for item in images)


@contextlib.contextmanager
def _of_built(part: Part, image: Image, cache: Cache | None) -> Iterator[Looked]:
    from runtimeimg.check.opened import opened

    plan, options = part.request.plan, part.request.stores
    seen = seen_of(part, image, cache)
    with opened(seen.image, cache=cache, account=options.account, **seen.origins) as facts:
        yield Looked(facts=facts, plan=plan, builder=seen.builder, place=part.request.place)


class Origins(TypedDict):
    """What an image was made of."""

    base: Image | None
    builder: Image | None
    copies: tuple[Copy, ...]
    copied_from: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An image that was built, called as it will be, with its base, the image that its copies read, and these."""

    image: Image
    base: Image | None
    builder: Image | None
    copies: tuple[Copy, ...]
    copied_from: str

    @property
    def origins(self) -> Origins:
        """What the image was made of, for `opened`."""
        return {"base": self.base, "builder": self.builder, "copies": self.copies, "copied_from": self.copied_from}


def seen_of(part: Part, image: Image, cache: Cache | None) -> Seen:
    """Return an image that was built of a part with those it was made from, to be looked into."""
    from runtimeimg.builders.native import shares_index
    from runtimeimg.cli.memory import give_back

    give_back()
    plan = part.request.plan
    image = dataclasses.replace(image, name=plan.outputs[0] if plan.outputs else plan.name or image.name)
    base, builder = opened_one(part, plan.base, image), builder_of(part, image)
    if cache is not None and builder is not None and shares_index(part.request):
        from runtimeimg.compose.shared import known

        image, made = known(image, builder, cache), known(builder, builder, cache)
        base, builder = base and known(base, builder, cache), made
    return Seen(image=image, base=base, builder=builder, copies=tuple(plan.copies), copied_from=str(plan.builder))


def opened_one(part: Part, location: Location | None, image: Image) -> Image | None:
    """Return an image that a plan names, for looking; None for none, a folder, and what only an Engine can get."""
    from runtimeimg.errors import NotFoundError, RemoteError, TransientError, UnavailableError
    from runtimeimg.stores import open_one

    if location is None or location.transport == "dir":
        return None
    once = dataclasses.replace(part.request.stores, attempts=1, retry_time=0.0)
    try:
        return open_one(location, image.platform, once, exact=False)
    except (NotFoundError, RemoteError, TransientError, UnavailableError):
        return None


def builder_of(part: Part, image: Image) -> Image | None:
    """Return the image that a plan's copies read, None where they read none."""
    plan = part.request.plan
    return opened_one(part, plan.builder if plan.builder in plan.images else None, image)
