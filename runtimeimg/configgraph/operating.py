"""An automaton as a run: the plan and the wishes that documents of other tools are written from (export)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from runtimeimg.configgraph import grounds
from runtimeimg.configgraph.amounts import resources
from runtimeimg.configgraph.model import Artefact, Automaton, Variant, name_of
from runtimeimg.errors import UsageError
from runtimeimg.run import Publish, RunOptions, RunPlan
from runtimeimg.run.operated import Bound, Limit, Operated, Volume
from runtimeimg.run.ports import LOOPBACK, parse_address
from runtimeimg.spec import quantities

_READ_ONLY = frozenset({"ro", "rro"})
_PLAIN_OPTIONS = frozenset({"bind", "rbind", "rw", "nosuid", "nodev", "noexec", *_READ_ONLY})


def plan_of(automaton: Automaton, artefact: Artefact, variant: Variant) -> RunPlan:
    """Return how an automaton is run, decided from the graph alone.

    A command of the automaton's own is all that is started, so that daemons of the image are not. Raises UsageError for
    what only a bundle can do.
    """
    given = automaton.given
    name = name_of(automaton.id)
    if given.get("hooks"):
        raise UsageError(
            f"{automaton.origin}: automaton '{name}' has hooks, which only a bundle has",
            hint=f"runtimeimg graph bundle {name} --host HOST DIR",
        )
    process = given.get("process", {})
    args = tuple(process.get("args") or ())
    base = grounds.ground(variant, name_of(artefact.id))
    config = base.source.image.config.with_config(User=base.user)
    image = replace(base.source.image.with_config(config), name=artefact.reference)
    options = RunOptions(
        args=args,
        env=dict(process.get("env") or {}),
        publish=tuple(_published(given.get("ports", ()))),
        name=name,
        daemons="none" if args else "auto",
    )
    found = RunPlan.of(image, options)
    return replace(found, argv=args, args=None) if args else found


def wishes_of(automaton: Automaton) -> Operated:
    """Return what an automaton says that its image does not; UsageError for what only a bundle can do."""
    given = automaton.given
    process = given.get("process", {})
    user = process.get("user") or {}
    named = user.get("name")
    text = f"{named}:{user['group']}" if named is not None and user.get("group") else named
    uid, gid = _numbers(text) if text is not None else (user.get("uid"), user.get("gid"))
    capabilities = process.get("capabilities")
    asked = resources(given.get("resources", {}))
    state = given.get("state", ())
    readonly = given.get("root", {}).get("readonly")
    return Operated(
        cwd=process.get("cwd"),
        uid=uid,
        gid=gid,
        user=text if uid is None else None,
        groups=tuple(user.get("additionalGids") or ()),
        hostname=given.get("hostname"),
        read_only=bool(state) or None if readonly is None else readonly,
        capabilities=tuple(capabilities["bounding"]) if capabilities is not None else None,
        no_new_privileges=process.get("noNewPrivileges"),
        terminal=bool(given.get("debug")),
        limits=tuple(
            Limit(name=item["type"].removeprefix("RLIMIT_").lower(), soft=item["soft"], hard=item["hard"])
            for item in process.get("rlimits") or ()
        ),
        bound=tuple(_bound(item, automaton) for item in given.get("mounts", ())),
        state=tuple(_volume(item) for item in state),
        replicas=automaton.replicas,
        cpu=asked.cpu,
        memory=asked.memory,
        others=asked.others,
        hosts=tuple(given.get("placement", {}).get("hosts") or ()),
    )


def _volume(item: Mapping[str, Any]) -> Volume:
    size = item.get("size")
    return Volume(name=item["name"], path=item["path"], size=None if size is None else quantities.whole(size))


def _numbers(text: str) -> tuple[int | None, int | None]:
    """Return the numbers that a user is, None where it or its group is a name."""
    user, _, group = (("0" if part == "root" else part) for part in text.partition(":"))
    if not user.isdecimal() or (group and not group.isdecimal()):
        return None, None
    return int(user), int(group) if group else None


def _published(ports: Sequence[Mapping[str, Any]]) -> Iterator[Publish]:
    """Yield the ports that a document publishes; one without a port of the host is only exposed."""
    for item in ports:
        if item.get("hostPort"):
            yield Publish(
                port=item["port"],
                protocol=item.get("protocol") or "tcp",
                host_port=item["hostPort"],
                address=parse_address(item["listeningAddr"]) if item.get("listeningAddr") else LOOPBACK,
                service=item.get("serviceName") or "",
            )


def _bound(item: Mapping[str, Any], automaton: Automaton) -> Bound:
    odd = sorted(set(item["options"]) - _PLAIN_OPTIONS)
    if item["type"] not in {"bind", "tmpfs"} or (item["type"] == "bind" and odd):
        what = f"of the type '{item['type']}'" if item["type"] != "bind" else f"with the option '{odd[0]}'"
        raise UsageError(
            f"{automaton.origin}: automaton '{name_of(automaton.id)}': the mount at {item['destination']} is one "
            f"{what}, which only a bundle has",
            hint="make a bundle of it, or a plain bind mount or tmpfs",
        )
    return Bound(
        target=item["destination"],
        source=item["source"] if item["type"] == "bind" else "",
        read_only=bool(_READ_ONLY & set(item["options"])),
    )
