"""The number of an image's user, where the image names it."""

from __future__ import annotations

from runtimeimg.errors import NotFoundError
from runtimeimg.run.bodies import Manner, probe_body
from runtimeimg.run.containers import archive, unstarted
from runtimeimg.run.plan import RunPlan
from runtimeimg.stores.engine import Engine

_MOST = 1 << 20  # bytes of an /etc/passwd that are read


def user_number(engine: Engine, plan: RunPlan, manner: Manner) -> int | None:
    """Return the number that the image's /etc/passwd gives its user (passwd(5)), None where it gives none.

    The file is taken from a container that is made for it, never started, and removed.
    """
    name = plan.user.partition(":")[0]
    with unstarted(engine, probe_body(plan, manner)) as probe:
        try:
            lines = _read(engine, probe, "/etc/passwd").decode("utf-8", "replace").splitlines()
        except NotFoundError:
            return None
    for line in lines:
        fields = line.split(":")
        if len(fields) > 2 and fields[0] == name and fields[2].isascii() and fields[2].isdecimal():
            return int(fields[2][:10])
    return None


def _read(engine: Engine, container: str, path: str) -> bytes:
    with archive(engine, container, path) as opened:
        member = opened.next()
        file = opened.extractfile(member) if member is not None and member.isfile() else None
        return file.read(_MOST) if file is not None else b""
