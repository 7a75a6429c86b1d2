"""What an operator wants of a run, in the fields that pods have for it (Kubernetes API, core/v1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtimeimg.errors import UsageError
from runtimeimg.export.documents import dns_label
from runtimeimg.run.operated import Operated

_HOSTNAME = "kubernetes.io/hostname"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_DEFAULT_SIZE = 1 << 30


def check(operated: Operated) -> None:
    """Raise UsageError for what no field of a pod says."""
    if operated.limits:
        names = ", ".join(item.name for item in operated.limits)
        raise UsageError(
            f"a pod cannot set limits of its process: {names}", hint="set them on the nodes, or leave them"
        )
    if operated.user is not None and operated.uid is None:
        raise UsageError(
            f"a pod takes a user's number, and '{operated.user}' is a name", hint="write uid and gid in its place"
        )


def security(found: Mapping[str, Any], operated: Operated) -> dict[str, Any]:
    """Return the security context of a container with what the operator wants in place of what is there."""
    changed = dict(found)
    if operated.uid is not None:
        changed |= {"runAsUser": operated.uid, "runAsGroup": operated.gid or 0}
        changed["runAsNonRoot"] = True if operated.uid else None
    if operated.capabilities is not None:
        add = [name.removeprefix("CAP_") for name in operated.capabilities]
        changed["capabilities"] = {"drop": ["ALL"], **({"add": add} if add else {})}
    if operated.no_new_privileges is not None:
        changed["allowPrivilegeEscalation"] = not operated.no_new_privileges
    if operated.read_only is not None:
        changed["readOnlyRootFilesystem"] = operated.read_only
    return changed


def pod_security(operated: Operated) -> dict[str, Any]:
    """Return the security context of the pod: further groups, and the one that volumes of state are written by."""
    groups = {"supplementalGroups": list(operated.groups)} if operated.groups else {}
    return groups | ({"fsGroup": operated.gid} if operated.state and operated.gid else {})


def resources(operated: Operated) -> dict[str, Any] | None:
    """Return what is kept free for a container; what is not processors or memory has no more than it asks for."""
    asked = {
        **({"cpu": f"{operated.cpu}m"} if operated.cpu else {}),
        **({"memory": str(operated.memory)} if operated.memory else {}),
        **{name: str(count) for name, count in sorted(operated.others.items())},
    }
    if not asked:
        return None
    others = {name: str(count) for name, count in sorted(operated.others.items())}
    return {"requests": asked, **({"limits": others} if others else {})}


def node_affinity(affinity: Mapping[str, Any] | None, operated: Operated) -> dict[str, Any]:
    """Return the affinity for nodes with the hosts that it is pinned to in every term."""
    found = dict(affinity or {})
    if operated.hosts:
        pinned = {"key": _HOSTNAME, "operator": "In", "values": list(operated.hosts)}
        terms = found.get(_REQUIRED, {}).get("nodeSelectorTerms") or [{"matchExpressions": []}]
        found[_REQUIRED] = {
            "nodeSelectorTerms": [{"matchExpressions": [*term["matchExpressions"], pinned]} for term in terms]
        }
    return found


def volume_mounts(operated: Operated) -> Iterator[dict[str, Any]]:
    """Yield where paths of the node and state are mounted."""
    for number, item in enumerate(operated.bound):
        mount: dict[str, Any] = {"name": _bound_name(number), "mountPath": item.target}
        yield {**mount, "readOnly": True} if item.read_only else mount
    for volume in operated.state:
        yield {"name": dns_label(volume.name), "mountPath": volume.path}


def volumes(name: str, operated: Operated) -> Iterator[dict[str, Any]]:
    """Yield the volumes that are so mounted."""
    for number, item in enumerate(operated.bound):
        source = {"hostPath": {"path": item.source}} if item.source else {"emptyDir": {"medium": "Memory"}}
        yield {"name": _bound_name(number), **source}
    for volume in operated.state:
        yield {"name": dns_label(volume.name), "persistentVolumeClaim": {"claimName": _claim(name, volume.name)}}


def claims(name: str, operated: Operated) -> Iterator[dict[str, Any]]:
    """Yield a claim for each volume of state, shared by all replicas; of 1 GiB where nobody says how large it is."""
    mode = "ReadWriteOnce" if operated.replicas == 1 else "ReadWriteMany"
    for volume in operated.state:
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": _claim(name, volume.name)},
            "spec": {
                "accessModes": [mode],
                "resources": {"requests": {"storage": str(volume.size or _DEFAULT_SIZE)}},
            },
        }


def _bound_name(number: int) -> str:
    return f"host-{number + 1}"


def _claim(name: str, volume: str) -> str:
    return dns_label(f"{name}-{volume}")
