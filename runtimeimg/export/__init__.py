"""A run plan as documents and commands of other tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.run.operated import Operated
    from runtimeimg.run.plan import RunPlan

TARGETS = ("pod", "deployment", "compose", "cri", "docker", "podman", "systemd-quadlet")

TARGETS_OPERATED = ("pod", "deployment", "compose", "systemd-quadlet")
"""Targets that say what an operator wants, too."""
FOLDERS = ("cri", "systemd-quadlet")
"""Targets that are several files."""

__all__ = ["FOLDERS", "TARGETS", "export", "export_files"]


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
    operated: Operated | None = None,
) -> str:
    """Return `plan` in the form of `target`, one of TARGETS.

    `service` adds a Service to a pod or deployment, `read_only` makes their root file systems read-only, `uid` is the
    number of the image's user where its name does not tell it, `affinity` is that for nodes, and `operated` what an
    operator wants beside what the image says, for TARGETS_OPERATED alone. Raises UsageError for what a target cannot
    express, and for an image that its reader cannot get.
    """
    from runtimeimg.run.operated import NOTHING

    plan, wanted = with_image(plan, target), operated or NOTHING
    _check(target, service=service, read_only=read_only, affinity=affinity)
    if operated is not None and target not in TARGETS_OPERATED:
        raise UsageError(f"what an operator wants is not written for {target}")
    match target:
        case "pod" | "deployment":
            from runtimeimg.export import pod

            write = pod.pod if target == "pod" else pod.deployment
            return write(plan, service=service, read_only=read_only, uid=uid, affinity=affinity, operated=wanted)
        case "compose":
            from runtimeimg.export.compose import compose_file

            return compose_file(plan, wanted)
        case "cri":
            from runtimeimg.export.cri import cri_text

            return cri_text(plan, read_only=read_only, uid=uid)
        case "docker" | "podman":
            from runtimeimg.export.commandline import command_lines

            return command_lines(plan, target)
        case "systemd-quadlet":
            from runtimeimg.export.quadlet import quadlet_text

            return quadlet_text(plan, wanted)
    raise UsageError(f"export target {target!r} is not one of {', '.join(TARGETS)}")


def export_files(
    plan: RunPlan,
    target: str,
    *,
    service: bool = False,
    read_only: bool = False,
    uid: int | None = None,
    affinity: Mapping[str, Any] | None = None,
    operated: Operated | None = None,
) -> dict[str, str]:
    """Return what `export` gives as files of a folder by their names, for a target of FOLDERS."""
    plan = with_image(plan, target)
    _check(target, service=service, read_only=read_only, affinity=affinity)
    if target == "cri":
        from runtimeimg.export.cri import cri_documents

        return cri_documents(plan, read_only=read_only, uid=uid)
    from runtimeimg.export.quadlet import quadlets
    from runtimeimg.run.operated import NOTHING

    return quadlets(plan, operated or NOTHING)


def _check(target: str, *, service: bool, read_only: bool, affinity: Mapping[str, Any] | None) -> None:
    if target not in {"pod", "deployment"} and (service or affinity or (read_only and target != "cri")):
        raise UsageError(
            f"a Service, a read-only root file system and node affinity are for pods and deployments, not for {target}"
        )
