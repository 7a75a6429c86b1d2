"""Dates and history of a composed image: out of what went into it, never from the clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from runtimeimg.oci import ImageConfig
from runtimeimg.plan import BuildPlan, Copy

EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An RFC 3339 time as written, and its whole seconds since 1970 (not before)."""

    text: str
    seconds: int


def moment(configs: Iterable[ImageConfig], epoch: int | None) -> Moment:
    """Return when the result counts as made: `epoch` when given, else the latest date of the images it is made of."""
    if epoch is not None:
        return Moment(text=datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), seconds=epoch)
    dates = [_parsed(config.data.get("created")) for config in configs]
    return max((date for date in dates if date), default=Moment(text=EPOCH, seconds=0), key=lambda date: date.seconds)


def _parsed(value: object) -> Moment | None:
    """Return a config's date; one that makes no sense, or lies before 1970 as in images without dates, counts not."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    seconds = int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    return Moment(text=value, seconds=seconds) if seconds > 0 else None


def copy_line(copy: Copy) -> str:
    """Return a copy as the instruction it stands for. Files are not named by their place on this machine."""
    name = copy.image and (copy.image.reference.familiar if copy.image.reference else copy.image.transport)
    origin = f"--from={name} " if name else ""
    chown = f"--chown={copy.chown} " if copy.chown is not None else ""
    return f"COPY {origin}{chown}{copy.source} {copy.destination}"


def lines(plan: BuildPlan) -> tuple[str, ...]:
    """Return the plan's instructions that make layers, in order; they are known by their place in this."""
    work_dir = (f"WORKDIR {plan.work_dir}",) if plan.work_dir is not None else ()
    return (*(copy_line(copy) for copy in plan.copies), *work_dir)
