"""A plan as Kubernetes documents: a Pod or a Deployment, and a Service for its ports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.export import podwishes as wishes
from runtimeimg.export.documents import base_name, dns_label, dump, literal, literals, volume_names
from runtimeimg.run.operated import NOTHING, Operated
from runtimeimg.run.plan import RunPlan
from runtimeimg.run.ports import Publish

_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*\Z")
_LABEL = "app.kubernetes.io/name"


def pod(
    plan: RunPlan,
    *,
    service: bool = False,
    read_only: bool = False,
    uid: int | None = None,
    affinity: Mapping[str, Any] | None = None,
    operated: Operated = NOTHING,
) -> str:
    """Return a Pod, with `service` a Service for its ports before it.

    Daemons of their own become native sidecars (init containers that restart, Kubernetes 1.29 and newer). `read_only`
    makes the root file systems read-only. `uid` is that of the image's user where its name alone does not tell it,
    `affinity` that for nodes.
    """
    name = base_name(plan)
    if operated.replicas != 1:
        raise UsageError(f"a pod is one replica, and {operated.replicas} are wanted", hint="export to deployment")
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {_LABEL: name}},
        "spec": _spec(plan, read_only, uid, affinity, operated),
    }
    return dump([*_claims(name, operated), *_service(plan, name, service), document])


def deployment(
    plan: RunPlan,
    *,
    service: bool = False,
    read_only: bool = False,
    uid: int | None = None,
    affinity: Mapping[str, Any] | None = None,
    operated: Operated = NOTHING,
) -> str:
    """Return a Deployment, of one replica unless more are wanted; see `pod` for the options."""
    name = base_name(plan)
    template = {"metadata": {"labels": {_LABEL: name}}, "spec": _spec(plan, read_only, uid, affinity, operated)}
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {_LABEL: name}},
        "spec": {"replicas": operated.replicas, "selector": {"matchLabels": {_LABEL: name}}, "template": template},
    }
    return dump([*_claims(name, operated), *_service(plan, name, service), document])


def _spec(
    plan: RunPlan, read_only: bool, uid: int | None, affinity: Mapping[str, Any] | None, operated: Operated
) -> dict[str, Any]:
    if plan.context is not None:
        raise UsageError(
            "a pod cannot mount a folder of the caller's machine as running context", hint="leave out --context"
        )
    wishes.check(operated)
    volumes = volume_names(plan, operated)
    shared: dict[str, Any] = {
        "image": plan.image,
        "env": _environment(plan),
        "securityContext": wishes.security(_security(plan, read_only, uid), operated),
        "volumeMounts": [
            *({"name": name, "mountPath": path} for path, name in volumes.items()),
            *wishes.volume_mounts(operated),
        ],
    }
    main = {
        "name": "main",
        **_reordered(
            shared,
            command=literals(plan.argv),
            args=literals(plan.args if plan.argv is None else None),
            workingDir=operated.cwd,
            tty=operated.terminal or None,
            ports=container_ports(plan.ports),
            resources=wishes.resources(operated),
        ),
    }
    daemons = [
        {"name": daemon.name, **_reordered(shared, command=literals(daemon.argv)), "restartPolicy": "Always"}
        for daemon in plan.sidecars
    ]
    nodes = wishes.node_affinity(affinity, operated)
    return {
        "hostname": operated.hostname,
        **({"affinity": {"nodeAffinity": nodes}} if nodes else {}),
        "securityContext": wishes.pod_security(operated) or None,
        "initContainers": daemons,
        "containers": [main],
        "volumes": [
            *({"name": name, "emptyDir": {}} for name in volumes.values()),
            *wishes.volumes(base_name(plan), operated),
        ],
    }


def _claims(name: str, operated: Operated) -> list[dict[str, Any]]:
    labels = {_LABEL: name}
    return [{**claim, "metadata": {**claim["metadata"], "labels": labels}} for claim in wishes.claims(name, operated)]


def _reordered(shared: dict[str, Any], **own: Any) -> dict[str, Any]:
    return {"image": shared["image"], **own, **shared}


def container_ports(ports: tuple[Publish, ...]) -> list[dict[str, Any]]:
    """Return the ports of a container, each once, named by service."""
    return [
        {"containerPort": port.port, "name": name, "protocol": port.protocol.upper()} for port, name in _named(ports)
    ]


def _named(ports: tuple[Publish, ...]) -> list[tuple[Publish, str]]:
    named: dict[str, tuple[Publish, str]] = {}
    names: set[str] = set()
    for port in ports:
        if port.container_port in named:
            continue
        name = _port_name(port.service, port)
        if name in names:
            name = f"{port.protocol}-{port.port}"
        names.add(name)
        named[port.container_port] = (port, name)
    return list(named.values())


def _port_name(service: str, port: Publish) -> str:
    """Return a port name (IANA_SVC_NAME, RFC 6335): 15 characters at the most, one of them a letter."""
    name = dns_label(service, 15) if re.search("[a-zA-Z]", service) else ""
    return name or f"{port.protocol}-{port.port}"


def _service(plan: RunPlan, name: str, wanted: bool) -> list[dict[str, Any]]:
    if not wanted:
        return []
    ports = [
        {"name": called, "port": port.host_port or port.port, "targetPort": called, "protocol": port.protocol.upper()}
        for port, called in _named(plan.ports)
    ]
    if not ports:
        raise UsageError(f"image '{plan.image}' exposes no port that a Service could be for", hint="pass -p HOST:PORT")
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "labels": {_LABEL: name}},
            "spec": {"selector": {_LABEL: name}, "ports": ports},
        }
    ]


def _environment(plan: RunPlan) -> list[dict[str, str]]:
    for name in plan.env:
        if not _ENV_NAME.match(name):
            raise UsageError(f"environment variable {name!r} is no name that a pod may hold")
    return [{"name": name, "value": literal(value)} for name, value in plan.env.items()]


def _security(plan: RunPlan, read_only: bool, uid: int | None) -> dict[str, Any]:
    """Return what fits the restricted Pod Security Standard, as far as the image's user allows.

    A kubelet can tell that a user is not root only by its number. An image of root's keeps its capabilities and its way
    to others: it may well need them to change owners or to become somebody else.
    """
    number = user_number(plan, uid)
    security: dict[str, Any] = {}
    if number:
        security["runAsNonRoot"] = True
        if not plan.user.partition(":")[0].isdecimal():
            security["runAsUser"] = number
    if is_restricted(plan, number):
        security["allowPrivilegeEscalation"] = False
        security["capabilities"] = {"drop": ["ALL"]}
    if read_only:
        security["readOnlyRootFilesystem"] = True
    security["seccompProfile"] = {"type": "RuntimeDefault"}
    return security


def user_number(plan: RunPlan, uid: int | None) -> int | None:
    """Return the number of the image's user: the one it names, else `uid`; None where that is not known."""
    name = plan.user.partition(":")[0]
    if not name.isdecimal():
        return uid
    if not re.fullmatch(r"[0-9]{1,10}", name):
        raise InvalidDocumentError(f"user {name[:40]!r} of the image is no number that a user can have")
    return int(name)


def is_restricted(plan: RunPlan, number: int | None) -> bool:
    """Tell whether the image's user, whose number this is, has no use for capabilities: anybody but root."""
    return bool(number) or (number is None and plan.user.partition(":")[0] not in {"", "root"})
