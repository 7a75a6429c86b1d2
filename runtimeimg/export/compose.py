"""A plan as a Compose file (compose-spec): daemons as services in the main one's network and process namespaces."""

from __future__ import annotations

from typing import Any

from runtimeimg.errors import UsageError
from runtimeimg.export.documents import base_name, dump, literal, literals, volume_names
from runtimeimg.run.plan import RunPlan


def compose_file(plan: RunPlan) -> str:
    """Return the text of a compose.yaml."""
    main = base_name(plan)
    volumes = volume_names(plan)
    service: dict[str, Any] = {
        "image": literal(plan.image),
        "container_name": plan.name,
        "entrypoint": literals(plan.argv),
        "command": literals(plan.args if plan.argv is None else None),
        "environment": _environment(plan) or None,
        "ports": [port.binding.removesuffix("/tcp") for port in plan.ports],
        "volumes": _volumes(volumes) + _context(plan),
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
            "volumes": _volumes(volumes) + _context(plan),
        }
    return dump([{"services": services, "volumes": {name: {} for name in volumes.values()} or None}])


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
