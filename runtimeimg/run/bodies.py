"""What the Engine is asked to create for a plan: pure functions from a plan to request bodies.

Only what the caller chose and the ports of the graph become options of the Engine; no label reaches anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtimeimg.plan import DEBUG_PATH
from runtimeimg.run.plan import Daemon, RunPlan

RUN_LABEL = "dev.runtimeimg.run"
ROLE_LABEL = "dev.runtimeimg.role"
DAEMON_LABEL = "dev.runtimeimg.daemon"
IMAGE_LABEL = "dev.runtimeimg.image"
MODE_LABEL = "dev.runtimeimg.mode"
OWNER_LABEL = "dev.runtimeimg.owner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the containers of a run are kept: `run_id` names the run, `owner` the process that started it.

    `init` puts the Engine's own small init before programs that get a container to themselves: as process 1 they would
    not hear a signal that they have no handler for.
    """

    run_id: str
    owner: str
    detach: bool = False
    remove: bool = True
    tty: bool = False
    stdin: bool = False
    init: bool = False
    stop_timeout: float = 10.0


def main_body(plan: RunPlan, manner: Manner) -> dict[str, Any]:
    """Return the body of POST /containers/create for the main command."""
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in plan.ports:
        host_port = str(port.host_port) if port.host_port else ""
        bindings.setdefault(port.container_port, []).append({"HostIp": port.address, "HostPort": host_port})
    host: dict[str, Any] = {"AutoRemove": manner.remove, "PortBindings": bindings}
    if plan.context is not None:
        host["Mounts"] = [
            {
                "Type": "bind",
                "Source": plan.context.source,
                "Target": plan.context.target,
                "ReadOnly": plan.context.read_only,
            }
        ]
    if plan.sidecars and manner.init:
        host["Init"] = True
    body: dict[str, Any] = {
        **_common(plan, manner, "main"),
        "ExposedPorts": {key: {} for key in bindings},
        "Tty": manner.tty,
        "OpenStdin": manner.stdin,
        "StdinOnce": manner.stdin,
        "AttachStdin": manner.stdin,
        "HostConfig": host,
    }
    if plan.shell is not None:
        host["VolumesFrom"] = [f"{plan.shell}:ro"]
    if plan.root:
        body["User"] = "0:0"
    if plan.argv is not None:
        body["Entrypoint"] = list(plan.argv)
    elif plan.args is not None:
        body["Cmd"] = list(plan.args)
    return body


def daemon_body(plan: RunPlan, manner: Manner, daemon: Daemon, main: str) -> dict[str, Any]:
    """Return the body for a daemon beside the container `main`: the same network and volumes.

    Of a detached run, which nobody attends to, it is in the main command's process namespace too: the kernel ends it
    with the main command. It is then kept until the run is cleared away, so that its end can be told.
    """
    host: dict[str, Any] = {
        "AutoRemove": manner.remove and not manner.detach,
        "NetworkMode": f"container:{main}",
        "VolumesFrom": [main],
    }
    if manner.detach:
        host["PidMode"] = f"container:{main}"
        if plan.restart_daemons:
            host["RestartPolicy"] = {"Name": "on-failure", "MaximumRetryCount": plan.restart_daemons}
    elif manner.init:
        host["Init"] = True
    body = {**_common(plan, manner, "daemon"), "Entrypoint": list(daemon.argv), "HostConfig": host}
    body["Labels"][DAEMON_LABEL] = daemon.name
    return body


def shell_body(plan: RunPlan, manner: Manner) -> dict[str, Any]:
    """Return the body for a container that is never started: a volume of it holds the small shell."""
    body = probe_body(plan, manner)
    del body["Labels"][RUN_LABEL]  # it is no part of the run
    return {**body, "Volumes": {DEBUG_PATH: {}}}


def probe_body(plan: RunPlan, manner: Manner) -> dict[str, Any]:
    """Return the body for a container that is never started: the image's files are looked up in it."""
    body = _common(plan, manner, "probe")
    return {**body, "Entrypoint": ["runtimeimg-probe"], "HostConfig": {"NetworkMode": "none"}}


def _common(plan: RunPlan, manner: Manner, role: str) -> dict[str, Any]:
    return {
        "Image": plan.image,
        "Env": [f"{name}={value}" for name, value in plan.env.items()],
        "Labels": {
            RUN_LABEL: manner.run_id,
            ROLE_LABEL: role,
            IMAGE_LABEL: plan.image,
            MODE_LABEL: "detached" if manner.detach else "attached",
            OWNER_LABEL: manner.owner,
        },
    }
