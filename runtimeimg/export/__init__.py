"""A run plan as documents and commands of other tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.run.plan import RunPlan

TARGETS = ("pod", "deployment", "compose", "docker", "podman", "systemd-quadlet")

__all__ = ["TARGETS", "export"]


def with_image(plan: RunPlan, target: str) -> RunPlan:
    """Return `plan` with its image called as a document for `target` may call it."""
    from runtimeimg.export.images import image_for
    from runtimeimg.oci import Location

    if plan.image.startswith("sha256:"):
        return plan
    return replace(plan, image=image_for(Location.parse(plan.image), target))


def export(
    plan: RunPlan,
    target: str,
    *,
    service: bool = False,
    read_only: bool = False,
    uid: int | None = None,
    affinity: Mapping[str, Any] | None = None,
) -> str:
    """Return `plan` in the form of `target`, one of TARGETS.

    `service` adds a Service to a pod or deployment, `read_only` makes their root file systems read-only, `uid` is the
    number of the image's user where its name does not tell it, and `affinity` is that for nodes. Raises UsageError for
    what a target cannot express, and for an image that its reader cannot get.
    """
    plan = with_image(plan, target)
    if target not in {"pod", "deployment"} and (service or read_only or affinity):
        raise UsageError(
            f"a Service, a read-only root file system and node affinity are for pods and deployments, not for {target}"
        )
    match target:
        case "pod" | "deployment":
            from runtimeimg.export import pod

            write = pod.pod if target == "pod" else pod.deployment
            return write(plan, service=service, read_only=read_only, uid=uid, affinity=affinity)
        case "compose":
            from runtimeimg.export.compose import compose_file

            return compose_file(plan)
        case "docker" | "podman":
            from runtimeimg.export.commandline import command_lines

            return command_lines(plan, target)
        case "systemd-quadlet":
            from runtimeimg.export.quadlet import quadlet_text

            return quadlet_text(plan)
    raise UsageError(f"export target {target!r} is not one of {', '.join(TARGETS)}")
