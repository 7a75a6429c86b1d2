"""What a run's bundle is made of: the plan of the run as options of its bundle, and what only a run needs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtimeimg.bundle import Bundle, BundleOptions, Mount, Rootless
from runtimeimg.bundle.features import Runtime
from runtimeimg.bundle.settings import Setting
from runtimeimg.bundle.values import hostname_of
from runtimeimg.bundle.writing import CONFIG, to_bytes
from runtimeimg.errors import UsageError
from runtimeimg.image import Image
from runtimeimg.image.layertar import DIRECTORY, FILE, SYMLINK
from runtimeimg.plan import DEBUG_PATH
from runtimeimg.run.plan import ContextMount, RunOptions, RunPlan
from runtimeimg.run.ports import Publish
from runtimeimg.runtime.leftovers import cgroup_name
from runtimeimg.unpack import Root

SHELL = "/bin/sh"
ROOTS = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
"""Capabilities of root in a run."""
_NO_TERMINAL = ("process.terminal=false", "process.consoleSize=null")
_NAME_OPTIONS = ("bind", "ro", "nosuid", "nodev", "noexec")
_SHELL_OPTIONS = ("bind", "ro", "nosuid", "nodev")
_NAMES = ("/etc/resolv.conf", "/etc/hosts")
"""Files of this machine by which names are looked up in its network."""


def run_plan(image: Image, options: RunOptions) -> RunPlan:
    """Return the plan of a run in this machine's network, where the program listens where it says itself.

    Daemons are started by the wrapper. UsageError for what only an Engine does.
    """
    if options.daemons == "sidecars" or options.restart_daemons:
        raise UsageError(
            "a runtime starts one container: daemons of their own are the Engine's",
            hint="leave out --daemons, or take --daemons=wrapper",
        )
    options = replace(options, daemons="wrapper" if options.daemons == "auto" else options.daemons)
    for port in options.publish:
        if port.host_port not in {0, port.port}:
            raise UsageError(
                f"port {port.container_port} cannot be published as {port.host_port}: the program is in this machine's "
                "network and listens on its own ports",
                hint=f"pass -p {port.port}, have the program listen on {port.host_port}, or run it on the Engine",
            )
    plan = RunPlan.of(image, replace(options, publish_free=False))
    ports = tuple(dict.fromkeys(replace(port, host_port=port.port) for port in plan.ports))
    notes = ["it is in this machine's network: ports are those that the program itself listens on"]
    notes += [
        f"port {port.container_port} is stamped to be port {port.host_port} of this machine; it is {port.port}"
        for port in plan.ports
        if _moved(port)
    ]
    return replace(plan, ports=ports, notes=(*plan.notes, *notes))


def _moved(port: Publish) -> bool:
    return port.host_port not in {0, port.port}


def base_name(plan: RunPlan) -> str:
    """Return what a run of the image is called: the last part of its name."""
    return hostname_of(plan.image)[:40].strip("-") or "run"


def bundle_options(
    plan: RunPlan,
    container: str,
    *,
    runtime: Runtime,
    rootless: Rootless | None,
    terminal: bool,
    console: tuple[int, int] | None,
    allow: frozenset[str],
) -> BundleOptions:
    """Return the options of a run's bundle; `console` is the size of its terminal, rows and columns.

    The rootfs can be written to: it is removed after the run.
    """
    mounts: tuple[Mount, ...] = ()
    if plan.context is not None:
        options = ("rbind", "ro") if plan.context.read_only else ("rbind",)
        mounts = (Mount(destination=plan.context.target, kind="bind", source=plan.context.source, options=options),)
    if plan.shell is not None:
        mounts += (Mount(destination=DEBUG_PATH, kind="bind", source=plan.shell, options=_SHELL_OPTIONS),)
    groups = () if rootless is not None else (f"linux.cgroupsPath=/{cgroup_name(container)}",)
    return BundleOptions(
        rootless=rootless,
        debug=terminal,
        console=console,
        argv=plan.argv,
        args=plan.args,
        env=plan.env,
        mounts=mounts,
        readonly=False,
        network="host",
        settings=tuple(map(Setting.parse, [*groups, *settings(plan), *(() if terminal else _NO_TERMINAL)])),
        allow=allow,
        runtime=runtime,
        name=plan.image,
    )


def settings(plan: RunPlan) -> list[str]:
    """Return what the run decides of the process and not the image, as `bundle --set` takes it.

    Root gets the capabilities that programs written for containers count on, to give files to others and become
    somebody else, and none that reaches into the network that it shares. Whoever is not root gets a bundle's.
    """
    found = []
    if plan.root:
        found += ["process.user.uid=0", "process.user.gid=0", "process.user.additionalGids=null"]
    if plan.root or re.fullmatch("(root|0+)?(:.*)?", plan.user):
        words = json.dumps(ROOTS)
        found += [f"process.capabilities.{kind}={words}" for kind in ("bounding", "effective", "permitted")]
        found += [f"process.capabilities.{kind}=null" for kind in ("inheritable", "ambient")]
    return found


def check(plan: RunPlan, bundle: Bundle) -> None:
    """Raise UsageError where the image has files at the place of the context, or no shell for its daemons."""
    assert bundle.rootfs is not None
    with Root(bundle.rootfs) as root:
        if plan.wrapped and plan.argv is not None:
            _check_shell(plan, root)
        if plan.context is not None and not plan.context.asked:
            _check_context(plan, plan.context, root)


def _check_shell(plan: RunPlan, root: Root) -> None:
    found = root.lookup(SHELL, follow=True)
    if found is None or found.kind != FILE:
        raise UsageError(f"image '{plan.image}' has no '{SHELL}', which starts its daemons", hint="pass --daemons=none")


def _check_context(plan: RunPlan, context: ContextMount, root: Root) -> None:
    there = root.lookup(context.target)
    if there is None or (there.kind == DIRECTORY and not root.names(context.target)):
        return
    found = "files of its own" if there.kind == DIRECTORY else "a file of its own"
    raise UsageError(
        f"image '{plan.image}' has {found} at '{context.target}', where the running context would be mounted",
        hint=f"pass --no-context, or --context {context.source}:TARGET to say where",
    )


def with_names(bundle: Bundle, host: Path = Path("/")) -> None:
    """Have the bundle look names up as this machine does, whose network it is in: by its files, read-only.

    A link at their place is removed first: what it leads to was never meant to be mounted over.
    """
    assert bundle.rootfs is not None
    added = [
        {"destination": path, "type": "bind", "source": str(host / path[1:]), "options": list(_NAME_OPTIONS)}
        for path in _usable(bundle.rootfs, host)
    ]
    config: Mapping[str, Any] = {**bundle.config, "mounts": [*bundle.config.get("mounts", []), *added]}
    (bundle.path / CONFIG).write_bytes(to_bytes(dict(config)))


def _usable(rootfs: Path, host: Path) -> Iterator[str]:
    """Yield those of the files that this machine has and the image has a place for."""
    with Root(rootfs) as root:
        folder = root.lookup("/etc")
        if folder is not None and folder.kind != DIRECTORY:
            return
        for path in _NAMES:
            if not (host / path[1:]).is_file():
                continue
            there = root.lookup(path)
            if there is not None and there.kind == SYMLINK:
                _unlink(rootfs, path)
            elif there is not None and there.kind != FILE:
                continue
            yield path


def _unlink(rootfs: Path, path: str) -> None:
    """Remove a link right below /etc of a rootfs, which is a folder there and no link."""
    descriptor = os.open(rootfs / "etc", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.unlink(os.path.basename(path), dir_fd=descriptor)  # noqa: PTH119 - a name for the descriptor
    finally:
        os.close(descriptor)
