"""A plan as systemd quadlets: `.container` files from which podman's generator makes services.

Quoting follows systemd.syntax and systemd.service: words in double quotes with C escapes, `%` doubled against
specifiers, and `$` doubled against the variables of the ExecStart line that podman's generator writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from runtimeimg.errors import UsageError
from runtimeimg.export.documents import base_name, volume_names
from runtimeimg.run.operated import NOTHING, Operated
from runtimeimg.run.plan import ContextMount, RunPlan

_BARE = re.compile(r"[A-Za-z0-9_./:@+,=-]+\Z")
_PATH = re.compile(r"/[A-Za-z0-9_./@+-]*\Z")
_PROGRAM = re.compile(r"[A-Za-z0-9_./@+-]+\Z")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "%": "%%", "$": "$$"}


def quadlets(plan: RunPlan, operated: Operated = NOTHING) -> dict[str, str]:
    """Return the units by file name, the main one first."""
    main = base_name(plan)
    volumes = {**volume_names(plan, operated), **{item.path: item.name for item in operated.state}}
    lines = [
        f"Image={plan.image}",
        f"ContainerName={plan.name or main}",
        *_command(plan.argv, plan.args),
        *_environment(plan),
        *(f"PublishPort={port.binding.removesuffix('/tcp')}" for port in plan.ports),
        *_process(operated),
        *_volumes(main, volumes),
        *_bound(operated),
        *_context(plan.context),
    ]
    wants = [f"{main}-{daemon.name}.service" for daemon in plan.sidecars]
    files = {f"{main}.container": _unit(f"{main}, from {plan.image}", lines, wants=wants, install=True)}
    for daemon in plan.sidecars:
        own = [
            f"Image={plan.image}",
            f"ContainerName={main}-{daemon.name}",
            *_command(daemon.argv, None),
            *_environment(plan),
            f"Network=container:{plan.name or main}",
            f"PodmanArgs=--pid=container:{plan.name or main}",
            *_volumes(main, volumes),
            *_bound(operated),
            *_context(plan.context),
        ]
        text = _unit(f"{daemon.name} of {main}", own, beside=f"{main}.service", restarts=plan.restart_daemons)
        files[f"{main}-{daemon.name}.container"] = text
    for name in volumes.values():
        files[f"{main}-{name}.volume"] = f"[Volume]\nVolumeName={main}-{name}\n"
    return files


def quadlet_text(plan: RunPlan, operated: Operated = NOTHING) -> str:
    """Return all units one after another, each under a comment with its file name."""
    return "\n".join(f"# {name}\n{text}" for name, text in quadlets(plan, operated).items())


def _process(operated: Operated) -> list[str]:
    """Return what is said of the process beside its command, and what is kept free for it.

    podman keeps nothing free: a unit says with which share of processors and memory it is treated gently.
    """
    if operated.others:
        raise UsageError(f"a quadlet cannot keep {', '.join(sorted(operated.others))} free")
    user = operated.user or ""
    name, _, group = user.partition(":")
    name, group = (str(operated.uid), str(operated.gid or 0)) if operated.uid is not None else (name, group)
    lines = [f"WorkingDir={_plain(operated.cwd)}"] if operated.cwd else []
    lines += [f"User={word(name)}"] if name else []
    lines += [f"Group={word(group)}"] if group else []
    lines += [f"GroupAdd={gid}" for gid in operated.groups]
    lines += [f"HostName={operated.hostname}"] if operated.hostname else []
    lines += [f"ReadOnly={str(operated.read_only).lower()}"] if operated.read_only is not None else []
    if operated.capabilities is not None:
        lines += ["DropCapability=all", *(f"AddCapability={item}" for item in operated.capabilities)]
    lines += [f"NoNewPrivileges={str(operated.no_new_privileges).lower()}"] if operated.no_new_privileges else []
    lines += ["PodmanArgs=--tty"] if operated.terminal else []
    lines += [f"Ulimit={item.name}={item.soft}:{item.hard}" for item in operated.limits]
    lines += [f"PodmanArgs=--memory-reservation={operated.memory}"] if operated.memory else []
    return lines


def _bound(operated: Operated) -> list[str]:
    lines = []
    for item in operated.bound:
        target = _plain(item.target)
        if not item.source:
            lines.append(f"Tmpfs={target}")
            continue
        lines.append(f"Volume={_plain(item.source)}:{target}{':ro' if item.read_only else ''}")
    return lines


def word(text: str) -> str:
    """Return `text` as one word of a command line or an assignment of systemd's."""
    if _BARE.match(text):
        return text
    escaped = "".join(
        _ESCAPES.get(character, character if ord(character) >= 32 and character != "\x7f" else _hex(character))
        for character in text
    )
    return f'"{escaped}"'


def _hex(character: str) -> str:
    return f"\\x{ord(character):02x}"


def _unit(
    description: str,
    lines: Iterable[str],
    *,
    beside: str | None = None,
    wants: Sequence[str] = (),
    restarts: int = 0,
    install: bool = False,
) -> str:
    unit = ["[Unit]", f"Description={description.replace('%', '%%')}"]
    if wants:
        unit.append(f"Wants={' '.join(wants)}")
    if beside:
        unit += [f"Requires={beside}", f"After={beside}", f"PartOf={beside}"]
    if restarts:
        unit += [f"StartLimitBurst={restarts + 1}", "StartLimitIntervalSec=infinity"]
    unit += ["", "[Container]", *lines]
    if restarts:
        unit += ["", "[Service]", "Restart=on-failure"]
    if install:
        unit += ["", "[Install]", "WantedBy=default.target"]
    return "\n".join(unit) + "\n"


def _command(argv: tuple[str, ...] | None, args: tuple[str, ...] | None) -> list[str]:
    """Return Entrypoint (a key of podman 5 and newer) and Exec."""
    lines = []
    if argv is not None:
        if not _PROGRAM.match(argv[0]):
            raise UsageError(f"program {argv[0]!r} cannot be written as the Entrypoint of a quadlet")
        lines.append(f"Entrypoint={argv[0]}")
        args = argv[1:]
    if args:
        lines.append("Exec=" + " ".join(word(item) for item in args))
    return lines


def _environment(plan: RunPlan) -> list[str]:
    for name in plan.env:
        if not re.match(r"[A-Za-z_][A-Za-z0-9_]*\Z", name):
            raise UsageError(f"environment variable {name!r} is no name that systemd knows")
    return [f"Environment={word(f'{name}={value}')}" for name, value in plan.env.items()]


def _volumes(main: str, names: dict[str, str]) -> list[str]:
    return [f"Volume={main}-{name}.volume:{_plain(path)}" for path, name in names.items()]


def _context(context: ContextMount | None) -> list[str]:
    if context is None:
        return []
    ending = ":ro" if context.read_only else ""
    return [f"Volume={_plain(context.source)}:{_plain(context.target)}{ending}"]


def _plain(path: str) -> str:
    if not _PATH.match(path):
        raise UsageError(f"path {path!r} cannot be written in a quadlet's Volume", hint="use a plain absolute path")
    return path
