"""A plan as command lines of docker or podman, quoted for a POSIX shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from runtimeimg.errors import UsageError
from runtimeimg.export.documents import base_name
from runtimeimg.run.plan import ContextMount, Daemon, RunPlan

HERE = "."
"""A context source that means the folder the command is given in."""

_HERE_MARK = "\0here\0"  # stands for the shell's "$PWD"; no argument holds a NUL


def command_lines(plan: RunPlan, program: str = "docker", *, detach: bool = False, keep: bool = False) -> str:
    """Return a line for each container, the main one first.

    With daemons of their own all run detached: they share the main container's network, process table and volumes,
    so that they end with it.
    """
    lines = [_shell(main_command(plan, program, detach=detach, keep=keep))]
    lines += [_shell(daemon_command(plan, daemon, program, keep=keep)) for daemon in plan.sidecars]
    return "".join(f"{line}\n" for line in lines)


def main_command(plan: RunPlan, program: str, *, detach: bool = False, keep: bool = False) -> list[str]:
    """Return the argument list that starts the main container."""
    argv = [program, "run"]
    argv += ["--detach"] if detach or plan.sidecars else []
    argv += [] if keep else ["--rm"]
    argv += ["--name", plan.name or base_name(plan)]
    for port in plan.ports:
        argv += ["--publish", port.binding]
    argv += _environment(plan)
    if plan.context is not None:
        argv += ["--mount", _mount(plan.context)]
    if plan.argv is None:
        return [*argv, plan.image, *(plan.args or ())]
    return [*argv, f"--entrypoint={_entrypoint(plan.argv, program)}", plan.image, *plan.argv[1:]]


def daemon_command(plan: RunPlan, daemon: Daemon, program: str, *, keep: bool = False) -> list[str]:
    """Return the argument list that starts a daemon beside the main container."""
    main = plan.name or base_name(plan)
    argv = [program, "run", "--detach"]
    if plan.restart_daemons:
        argv += [f"--restart=on-failure:{plan.restart_daemons}"]
    elif not keep:
        argv += ["--rm"]
    argv += ["--name", f"{main}-{daemon.name}"]
    argv += [f"--network=container:{main}", f"--pid=container:{main}", f"--volumes-from={main}"]
    entrypoint = f"--entrypoint={_entrypoint(daemon.argv, program)}"
    return [*argv, *_environment(plan), entrypoint, plan.image, *daemon.argv[1:]]


def _environment(plan: RunPlan) -> Iterable[str]:
    return [f"--env={name}={value}" for name, value in plan.env.items()]


def _entrypoint(argv: tuple[str, ...], program: str) -> str:
    """Return the program of `argv` as --entrypoint takes it: podman reads one that begins with `[` as JSON."""
    if not argv[0] or (program == "podman" and argv[0].startswith("[")):
        raise UsageError(f"program {argv[0]!r} cannot be written as an --entrypoint of {program}")
    return argv[0]


def _mount(context: ContextMount) -> str:
    """Return the value of --mount, which is a line of CSV."""
    source = _HERE_MARK if context.source == HERE else context.source
    fields = ["type=bind", f"source={source}", f"target={context.target}", *(["readonly"] if context.read_only else [])]
    return ",".join(_csv(field) for field in fields)


def _csv(field: str) -> str:
    """Quote a field of CSV where it must be; nobody knows yet what the shell's directory will hold."""
    if any(character in field for character in ('"', ",", "\n", "\r", _HERE_MARK)):
        return '"' + field.replace('"', '""') + '"'
    return field


def _shell(argv: list[str]) -> str:
    return " ".join(_word(word) for word in argv)


def _word(word: str) -> str:
    before, found, after = word.partition(_HERE_MARK)
    if not found:
        return shlex.quote(word)
    return (shlex.quote(before) if before else "") + '"$PWD"' + (shlex.quote(after) if after else "")
