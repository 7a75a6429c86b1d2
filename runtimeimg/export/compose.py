"""A plan as a Compose file (compose-spec): daemons as services in the main one's network and process namespaces."""

from __future__ import annotations

from typing import Any

from runtimeimg.errors import UsageError
from runtimeimg.export.documents import base_name, dump, literal, literals, volume_names
from runtimeimg.run.operated import NOTHING, Operated
from runtimeimg.run.plan import RunPlan


def compose_file(plan: RunPlan, operated: Operated = NOTHING) -> str:
    """Return the text of a compose.yaml."""
    main = base_name(plan)
    volumes = volume_names(plan, operated)
    named = {**volumes, **{item.path: item.name for item in operated.state}}
    service: dict[str, Any] = {
        "image": literal(plan.image),
        "container_name": plan.name,
        "entrypoint": literals(plan.argv),
        "command": literals(plan.args if plan.argv is None else None),
        "environment": _environment(plan) or None,
        "ports": [port.binding.removesuffix("/tcp") for port in plan.ports],
        **_process(operated),
        "volumes": _volumes(named) + _bound(operated) + _context(plan),
        "deploy": _deploy(operated) or None,
    }
    services = {main: service}
    for daemon in plan.sidecars:
        services[f"{main}-{daemon.name}"] = {
            "image": literal(plan.image),
            "entrypoint": literals(daemon.argv),
            "environment": _environment(plan) or None,
            "network_mode": f"service:{main}",
            "pid": f"service:{main}",
            "depends_on": [main],
            "restart": f"on-failure:{plan.restart_daemons}" if plan.restart_daemons else None,
            "volumes": _volumes(named) + _bound(operated) + _context(plan),
        }
    return dump([{"services": services, "volumes": {name: {} for name in named.values()} or None}])


def _process(operated: Operated) -> dict[str, Any]:
    """Return what is said of a service's process beside its command."""
    user = operated.user if operated.uid is None else f"{operated.uid}:{operated.gid or 0}"
    caps = operated.capabilities
    return {
        "working_dir": literal(operated.cwd) if operated.cwd else None,
        "user": literal(user) if user else None,
        "group_add": [str(gid) for gid in operated.groups],
        "hostname": operated.hostname,
        "tty": operated.terminal or None,
        "read_only": operated.read_only,
        "cap_drop": ["ALL"] if caps is not None else None,
        "cap_add": [name.removeprefix("CAP_") for name in caps or ()],
        "security_opt": ["no-new-privileges:true"] if operated.no_new_privileges else None,
        "ulimits": {item.name: {"soft": item.soft, "hard": item.hard} for item in operated.limits} or None,
    }


def _deploy(operated: Operated) -> dict[str, Any]:
    """Return the replicas and what is kept free for each; devices are named by kinds that Compose does not know."""
    if operated.others:
        names = ", ".join(sorted(operated.others))
        raise UsageError(f"a Compose file cannot keep {names} free", hint="export to deployment, or leave it out")
    kept = {
        "cpus": f"{operated.cpu / 1000:g}" if operated.cpu else None,
        "memory": str(operated.memory) if operated.memory else None,
    }
    found: dict[str, Any] = {"replicas": operated.replicas} if operated.replicas != 1 else {}
    if any(kept.values()):
        found["resources"] = {"reservations": kept}
    if operated.hosts:
        found["placement"] = {"constraints": [_one_of(operated.hosts)]}
    return found


def _one_of(hosts: tuple[str, ...]) -> str:
    if len(hosts) > 1:
        raise UsageError(
            f"a Compose file cannot choose among the hosts {', '.join(hosts)}", hint="pin it to one, or to none"
        )
    return literal(f"node.hostname == {hosts[0]}")


def _bound(operated: Operated) -> list[dict[str, Any]]:
    found = []
    for item in operated.bound:
        mount = {"type": "bind" if item.source else "tmpfs", "target": literal(item.target)}
        if item.source:
            mount["source"] = literal(item.source)
        found.append({**mount, "read_only": True} if item.read_only else mount)
    return found


def _environment(plan: RunPlan) -> dict[str, str]:
    for name in plan.env:
        if "$" in name:
            raise UsageError(f"environment variable {name!r} cannot be written in a Compose file: its name holds a '$'")
    return {name: literal(value) for name, value in plan.env.items()}


def _volumes(names: dict[str, str]) -> list[dict[str, Any]]:
    return [{"type": "volume", "source": name, "target": literal(path)} for path, name in names.items()]


def _context(plan: RunPlan) -> list[dict[str, Any]]:
    if plan.context is None:
        return []
    mount: dict[str, Any] = {
        "type": "bind",
        "source": literal(plan.context.source),
        "target": literal(plan.context.target),
    }
    return [{**mount, "read_only": True}] if plan.context.read_only else [mount]
