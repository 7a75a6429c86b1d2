"""The Pod Security Standard's profile "restricted", with all that "baseline" asks for, as of Kubernetes 1.36."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
SELINUX = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def problems(spec: Mapping[str, Any]) -> list[str]:
    """Return what the profile has against a pod's spec, a line each; nothing where the pod is admitted."""
    return [*_of_the_pod(spec), *(line for key in CONTAINERS for one in spec.get(key) or [] for line in _of(one, spec))]


def _of_the_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"pod: {key}"
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']}: {', '.join(sorted(kinds - VOLUMES))}"
    for item in (spec.get("securityContext") or {}).get("sysctls") or []:
        if item["name"] not in SYSCTLS:
            yield f"pod: sysctl {item['name']}"
    yield from _shared("pod", spec.get("securityContext") or {})


def _of(container: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    name, own, pod = container["name"], container.get("securityContext") or {}, spec.get("securityContext") or {}
    yield from _shared(name, own)
    if own.get("privileged"):
        yield f"{name}: privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot is not true"
    if own.get("seccompProfile", pod.get("seccompProfile")) is None:
        yield f"{name}: no seccompProfile"
    if own.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    yield from _capabilities(name, own.get("capabilities") or {})
    yield from _network(name, container)


def _capabilities(name: str, capabilities: Mapping[str, Any]) -> Iterator[str]:
    if "ALL" not in (capabilities.get("drop") or []):
        yield f"{name}: capabilities are not all dropped"
    if more := set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities {', '.join(sorted(more))}"


def _network(name: str, container: Mapping[str, Any]) -> Iterator[str]:
    for port in container.get("ports") or []:
        if port.get("hostPort", 0):
            yield f"{name}: hostPort {port['hostPort']}"
    asking = {**(container.get("lifecycle") or {}), **{key: container.get(key) for key in PROBES}}
    for key, value in asking.items():
        for action in ("httpGet", "tcpSocket"):
            if ((value or {}).get(action) or {}).get("host"):
                yield f"{name}: {key} of another host"


def _shared(name: str, context: Mapping[str, Any]) -> Iterator[str]:
    """Yield what neither a pod's nor a container's security context may say."""
    if context.get("runAsUser") == 0:
        yield f"{name}: runAsUser is 0"
    if context.get("runAsNonRoot") is False:
        yield f"{name}: runAsNonRoot is false"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{name}: hostProcess"
    for key in ("seccompProfile", "appArmorProfile"):
        if (profile := context.get(key)) and profile.get("type") not in {"RuntimeDefault", "Localhost"}:
            yield f"{name}: {key} {profile.get('type')}"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type", "") not in SELINUX or selinux.get("user") or selinux.get("role"):
        yield f"{name}: seLinuxOptions"
