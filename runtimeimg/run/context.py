"""Whether the running context may be mounted where it should: never over files of the image itself, unless asked."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from runtimeimg.errors import NotFoundError, RemoteError, UsageError
from runtimeimg.run.bodies import Manner, probe_body
from runtimeimg.run.containers import archive, unstarted
from runtimeimg.run.plan import RunPlan
from runtimeimg.stores.engine import Engine

_DIRECTORY = 1 << 31  # os.ModeDir of Go


def check_context(engine: Engine, plan: RunPlan, manner: Manner) -> None:
    """Raise UsageError when the image has files of its own where the context would be mounted.

    The Engine alone knows the image's files without moving layers: they are looked up in a container that is made for
    it, never started, and removed.
    """
    if plan.context is None or plan.context.asked:
        return
    with unstarted(engine, probe_body(plan, manner)) as probe:
        found = _holds(engine, probe, plan.context.target)
    if found:
        raise UsageError(
            f"image '{plan.image}' has {found} at '{plan.context.target}', where the running context would be mounted",
            hint=f"pass --no-context, or --context {plan.context.source}:TARGET to say where",
        )


def _holds(engine: Engine, container: str, path: str) -> str | None:
    """Return what is at `path` when a mount would hide it, None when nothing is there or an empty folder."""
    try:
        with engine.call("HEAD", f"/containers/{container}/archive", params={"path": path}) as response:
            stat = _stat(response.headers.get("X-Docker-Container-Path-Stat", ""))
    except NotFoundError:
        return None
    if stat.get("linkTarget") or not int(stat.get("mode", 0)) & _DIRECTORY:
        return "a file of its own"
    with archive(engine, container, path) as opened:
        members = (member for member, _ in zip(opened, range(2), strict=False))
        return "files of its own" if len(list(members)) > 1 else None


def _stat(header: str) -> dict[str, Any]:
    try:
        stat = json.loads(base64.b64decode(header, validate=True))
    except (binascii.Error, ValueError):
        stat = None
    if not isinstance(stat, dict):
        raise RemoteError("engine does not say what is at the place of the running context")
    return stat
