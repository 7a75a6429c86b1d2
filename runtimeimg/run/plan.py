"""What a run will do, decided from an image's config, its runtime graph and the caller's options alone."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from runtimeimg import runtimegraph, supervisor
from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.image import Image
from runtimeimg.plan import CONTEXT_LABEL, DEFAULT_CONTEXT
from runtimeimg.run.ports import Publish, planned_ports
from runtimeimg.runtimegraph import RuntimeGraph

CONTEXT_VARIABLE = "RUNTIMEIMG_CONTEXT"
DAEMON_MODES = ("auto", "wrapper", "sidecars", "none")
MAX_DAEMONS = 64
"""Daemons of one run; each may become a container."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}\Z")
_ENV_NAME = re.compile(r"[^=\0]+\Z")
_SYSTEM = ("/proc", "/sys", "/dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextChoice:
    """A folder of the host as running context; `target` None is where the image says, else the default place."""

    source: str
    target: str | None = None
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `DIR[:TARGET[:ro]]` says; UsageError when it makes no sense."""
        source, colon, target = text.partition(":")
        target, read_only = (target[:-3], True) if target.endswith(":ro") else (target, False)
        if not source or (colon and not target) or ":" in target:
            raise UsageError(f"--context {text!r} is not of the form DIR[:TARGET[:ro]]")
        return cls(source=source, target=_context_target(target, "--context") if target else None, read_only=read_only)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the caller decides. `args`, when not empty, take the place of the image's Cmd.

    `daemons` is one of DAEMON_MODES. `restart_daemons` is how often a daemon that is a container of its own is started
    again.
    """

    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    publish: tuple[Publish, ...] = ()
    publish_free: bool = False
    name: str | None = None
    context: ContextChoice | None = None
    daemons: str = "auto"
    restart_daemons: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextMount:
    """The running context: `source` on the host, `target` in the container, `asked` when the caller named that."""

    source: str
    target: str
    read_only: bool
    asked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A daemon of the graph; `name` is made of its program's and is its own among the daemons."""

    name: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """How an image is run: nothing left to decide, nothing yet done.

    `argv` is the whole main command where it is not the image's own entrypoint; otherwise it is None and `args`, when
    not None, take the place of the image's Cmd. `shell` is where a small shell is to be taken from that is brought in
    beside the image, read-only: a container that has it as a volume, or a folder. `root` asks for root in place of the
    image's user. `sidecars` are the daemons that get containers of their own, `wrapped`
    those that the entrypoint starts. `env` is added to the image's. `notes` are for people.
    """

    image: str
    name: str | None
    argv: tuple[str, ...] | None
    args: tuple[str, ...] | None
    env: Mapping[str, str]
    ports: tuple[Publish, ...]
    sidecars: tuple[Daemon, ...]
    wrapped: tuple[Daemon, ...]
    context: ContextMount | None
    volumes: tuple[str, ...]
    user: str
    restart_daemons: int
    notes: tuple[str, ...]
    shell: str | None = None
    root: bool = False

    @classmethod
    def of(cls, image: Image, options: RunOptions | None = None) -> Self:
        """Return the plan of running `image`.

        Raises InvalidDocumentError for labels that are broken or ask for what a label may not, and UsageError for
        options that make no sense.
        """
        options = options or RunOptions()
        graph = read_graph(image)
        _check(options)
        daemons = name_daemons(graph.daemons if graph else ())
        mode = _mode(image, daemons, options)
        argv, args = _command(image, mode, daemons, options)
        context = _context(image, options.context)
        env = dict(options.env)
        if context is not None:
            env.setdefault(CONTEXT_VARIABLE, context.target)
        return cls(
            image=image.name.removeprefix("docker-daemon:"),
            name=options.name,
            argv=argv,
            args=args,
            env=env,
            ports=planned_ports(image.config, graph, options.publish, free=options.publish_free),
            sidecars=daemons if mode == "sidecars" else (),
            wrapped=daemons if mode == "wrapper" else (),
            context=context,
            volumes=_volumes(image),
            user=_text(image.config.config.get("User"), "User"),
            restart_daemons=options.restart_daemons,
            notes=tuple(_notes(image, graph, mode, daemons)),
        )


def read_graph(image: Image) -> RuntimeGraph | None:
    """Return the runtime graph in the labels of `image`, None when it carries none.

    Both label families are read. Raises InvalidDocumentError for a broken one, or one with more daemons than
    MAX_DAEMONS.
    """
    graph = runtimegraph.decode(image.config.labels)
    if graph is not None and len(graph.daemons) > MAX_DAEMONS:
        raise InvalidDocumentError(f"runtime graph has {len(graph.daemons)} daemons; {MAX_DAEMONS} are allowed")
    return graph


def name_daemons(daemons: Sequence[tuple[str, ...]]) -> tuple[Daemon, ...]:
    """Return the daemons with names that are short, lower case and each its own: the program's, numbered if need be."""
    named: list[Daemon] = []
    taken = {"main"}
    for argv in daemons:
        base = re.sub(r"[^a-z0-9]+", "-", posixpath.basename(argv[0]).lower())[:40].strip("-") or "daemon"
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name)
        named.append(Daemon(name=name, argv=argv))
    return tuple(named)


def _check(options: RunOptions) -> None:
    if options.daemons not in DAEMON_MODES:
        raise UsageError(f"daemons {options.daemons!r} is not one of {', '.join(DAEMON_MODES)}")
    if options.name is not None and not _NAME.match(options.name):
        raise UsageError(f"name {options.name!r} is not valid", hint="letters, digits, '_', '.' and '-', two at least")
    for name, value in options.env.items():
        if not _ENV_NAME.match(name) or "\0" in value:
            raise UsageError(f"environment variable {name!r} is not valid")
    for text in (*options.args, *options.env, *options.env.values()):
        if "\0" in text or re.search("[\ud800-\udfff]", text):
            raise UsageError(f"value {text!r} is not UTF-8 text without NUL")


def _mode(image: Image, daemons: tuple[Daemon, ...], options: RunOptions) -> str:
    """Return how the daemons are started: by the entrypoint where it is wrapped, else as containers of their own."""
    entrypoint = image.config.strings("Entrypoint")
    if daemons and supervisor.is_envds(entrypoint):
        if options.daemons in {"sidecars", "none"}:
            raise UsageError(
                f"--daemons={options.daemons}: the daemons of image '{image.name}' are started by its own entrypoint, "
                "envd's supervisor",
                hint="leave --daemons out",
            )
        return _own_mode(options)
    wrapped = supervisor.unwrap(entrypoint) is not None
    if options.daemons == "none" or not daemons:
        # A wrapper that no label speaks of is the image's own business.
        mode = "wrapper" if wrapped and options.daemons != "none" else "none"
    elif options.daemons == "auto":
        mode = "wrapper" if wrapped else "sidecars"
    else:
        mode = options.daemons
    if options.restart_daemons and mode == "wrapper":
        raise UsageError("--restart-daemons does not reach daemons of the wrapper", hint="add --daemons=sidecars")
    return mode


def _own_mode(options: RunOptions) -> str:
    """Return the mode of an image whose entrypoint starts its daemons in a way of its own."""
    if options.restart_daemons:
        raise UsageError("--restart-daemons does not reach the daemons of envd's supervisor")
    return "wrapper"


def _command(
    image: Image, mode: str, daemons: tuple[Daemon, ...], options: RunOptions
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return `argv` and `args` of the plan; the wrapper is taken off or put on where `mode` differs from the image."""
    entrypoint = image.config.strings("Entrypoint")
    if mode == "wrapper" and supervisor.is_envds(entrypoint):
        return None, options.args or None
    main = supervisor.unwrap(entrypoint)
    if (main is None) != (mode == "wrapper"):
        return None, options.args or None
    rest = options.args or image.config.strings("Cmd")
    if mode == "wrapper":
        return (*supervisor.wrap([daemon.argv for daemon in daemons], entrypoint), *rest), None
    argv = (*(main or ()), *rest)
    if not argv:
        raise UsageError(f"image '{image.name}' has no main command", hint="write one after --")
    return argv, None


def _context(image: Image, choice: ContextChoice | None) -> ContextMount | None:
    if choice is None:
        return None
    label = image.config.labels.get(CONTEXT_LABEL)
    stamped = DEFAULT_CONTEXT if label is None else _context_target(label, f"label '{CONTEXT_LABEL}'")
    return ContextMount(
        source=choice.source,
        target=choice.target or stamped,
        read_only=choice.read_only,
        asked=choice.target is not None,
    )


def _context_target(text: str, what: str) -> str:
    """Return `text` when a folder may be mounted there: an absolute plain path, not the root, not the kernel's."""
    normal = posixpath.normpath(text)
    plain = text.startswith("/") and len(text) <= 4096 and text.rstrip("/") == normal and not _unprintable(text)
    if not plain or normal in {"/", "//"} or any(normal == item or normal.startswith(item + "/") for item in _SYSTEM):
        shown = repr(text if len(text) <= 80 else text[:77] + "...")
        raise InvalidDocumentError(
            f"{what}: {shown} is no place to mount a folder at", hint="an absolute path is wanted, for example /work"
        )
    return normal


def _unprintable(text: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 or 0xD800 <= ord(character) < 0xE000 for character in text)


def _volumes(image: Image) -> tuple[str, ...]:
    value = image.config.config.get("Volumes")
    return tuple(sorted(value)) if isinstance(value, Mapping) else ()


def _text(value: Any, what: str) -> str:
    if value is not None and not isinstance(value, str):
        raise InvalidDocumentError(f"{what} of the image config is not a string")
    return value or ""


def _notes(image: Image, graph: RuntimeGraph | None, mode: str, daemons: tuple[Daemon, ...]) -> list[str]:
    if graph is None:
        return [f"image '{image.name}' carries no runtime graph; it is run by its OCI config alone"]
    if daemons and mode == "none":
        return [f"daemons are not started: {', '.join(daemon.name for daemon in daemons)}"]
    return []
