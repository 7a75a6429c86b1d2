"""A plan as the documents that `crictl runp` and `crictl create` take, so that a CRI runtime starts an image by hand.

They are PodSandboxConfig and ContainerConfig of the CRI API (runtime/v1, api.proto). crictl reads YAML into the
generated Go structures by encoding/json: field names are those of the protocol, enumerations are their numbers, and
what it does not know it passes over without a word. Nothing is expanded on the way: `$` stands for itself.
"""

from __future__ import annotations

import hashlib
from typing import Any

from runtimeimg.errors import UsageError
from runtimeimg.export.documents import base_name, dump
from runtimeimg.export.pod import is_restricted, user_number
from runtimeimg.run.plan import RunPlan
from runtimeimg.run.ports import Publish

POD = "pod.yaml"
_LOGS = "/var/log"
_PROTOCOLS = {"tcp": 0, "udp": 1, "sctp": 2}
_NAMESPACES = {"network": 0, "pid": 1, "ipc": 0}  # NamespaceMode: POD is 0, CONTAINER 1
_SECCOMP = {"profile_type": 0}  # SecurityProfile.ProfileType: RuntimeDefault
_LABEL = "app.kubernetes.io/name"


def cri_documents(plan: RunPlan, *, read_only: bool = False, uid: int | None = None) -> dict[str, str]:
    """Return the documents by file name: the pod's, the main container's, and one for each daemon of its own.

    Containers of a pod share its network. `read_only` makes their root file systems read-only; `uid` is that of the
    image's user where its name alone does not tell it.
    """
    name = base_name(plan)
    files = {POD: _pod(plan, name), "container.yaml": _container(plan, name, "main", plan.argv, read_only, uid)}
    for daemon in plan.sidecars:
        own = _container(plan, name, daemon.name, daemon.argv, read_only, uid)
        files[f"container-{daemon.name}.yaml"] = own
    return {file: dump([document]) for file, document in files.items()}


def cri_text(plan: RunPlan, *, read_only: bool = False, uid: int | None = None) -> str:
    """Return all documents one after another, each under a comment with its file name; crictl reads one of a file."""
    files = cri_documents(plan, read_only=read_only, uid=uid)
    return "---\n".join(f"# {name}\n{text}" for name, text in files.items())


def command_lines(files: dict[str, str], image: str) -> tuple[str, ...]:
    """Return the command lines that start what `cri_documents` gave, in a shell."""
    import shlex

    names = [shlex.quote(name) for name in files if name != POD]
    return (
        f"crictl pull {shlex.quote(image)}",
        f"pod=$(crictl runp {POD})",
        *(f'crictl start "$(crictl create "$pod" {name} {POD})"' for name in names),
    )


def _pod(plan: RunPlan, name: str) -> dict[str, Any]:
    """Return a PodSandboxConfig; its uid is made of the name, so that the same plan gives the same text."""
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": hashlib.sha256(f"{name}\n{plan.image}".encode()).hexdigest()[:32],
            "attempt": 0,
        },
        "hostname": name,
        "log_directory": _LOGS,
        "port_mappings": [_mapping(port) for port in plan.ports],
        "labels": {_LABEL: name},
        "linux": {"security_context": {"namespace_options": _NAMESPACES, "seccomp": _SECCOMP}},
    }


def _mapping(port: Publish) -> dict[str, Any]:
    """Return a PortMapping; CRI runtimes choose no port of the host by themselves, so that none is then mapped."""
    found: dict[str, Any] = {"protocol": _PROTOCOLS[port.protocol], "container_port": port.port}
    if port.host_port:
        found |= {"host_port": port.host_port, "host_ip": port.address}
    return found


def _container(
    plan: RunPlan, pod: str, name: str, argv: tuple[str, ...] | None, read_only: bool, uid: int | None
) -> dict[str, Any]:
    """Return a ContainerConfig; what it leaves out (command, user, working directory) is the image's own."""
    for variable in plan.env:
        if "=" in variable or "\0" in variable:
            raise UsageError(f"environment variable {variable!r} is no name that a container may hold")
    document: dict[str, Any] = {"metadata": {"name": name, "attempt": 0}, "image": {"image": plan.image}}
    if argv is not None:
        document["command"] = list(argv)
    elif plan.args is not None and name == "main":
        document["args"] = list(plan.args)
    document["envs"] = [{"key": key, "value": value} for key, value in plan.env.items()]
    if plan.context is not None:
        document["mounts"] = [
            {
                "container_path": plan.context.target,
                "host_path": plan.context.source,
                "readonly": plan.context.read_only,
            }
        ]
    return {
        **document,
        "labels": {_LABEL: pod},
        "log_path": f"{pod}-{name}.log",
        "linux": {"security_context": _security(plan, read_only, uid)},
    }


def _security(plan: RunPlan, read_only: bool, uid: int | None) -> dict[str, Any]:
    """Return a LinuxContainerSecurityContext that gives what the same image's pod gets (see export.pod)."""
    number = user_number(plan, uid)
    security: dict[str, Any] = {"namespace_options": _NAMESPACES, "seccomp": _SECCOMP}
    if number and not plan.user.partition(":")[0].isdecimal():
        security["run_as_user"] = {"value": number}
    if is_restricted(plan, number):
        security |= {"capabilities": {"drop_capabilities": ["ALL"]}, "no_new_privs": True}
    if read_only:
        security["readonly_rootfs"] = True
    return security
