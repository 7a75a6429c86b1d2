"""An automaton's effective configuration as plain values: what its document sets, combined with its ground.

`values` is what the address is made of, and what `effective` tells the sources of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from runtimeimg.bundle import defaults
from runtimeimg.bundle.users import MAX_ID
from runtimeimg.bundle.values import STAGES, Hook
from runtimeimg.configgraph import grounds
from runtimeimg.configgraph.grounds import Ground

Given = Mapping[str, Any]
_NOTHING: Given = {}
_OWNER = "its mode and owner are those of the image's folder, which the bundle reads"
_HOME = "the user's home in the image's /etc/passwd, which the bundle reads; else /"
_NUMBERS = "numbers are looked up in the image's /etc/passwd and /etc/group by the bundle"
_GROUP = "the user's group in the image's /etc/passwd, which the bundle reads; else 0"


@dataclass(slots=True)
class Values:
    """Values by the path of their parameter, as config.json has them; `pending` says what only the files tell.

    Keys of `pending` are paths of parameters, or of what is in them (`process.user.gid`, `process.env.HOME`).
    """

    of: dict[str, Any] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)


def combine(given: Given, base: Ground) -> Values:
    """Return the effective values of what a document sets, on its ground."""
    if not given:
        return _whole(given, base)
    ground = alone(base)
    found = Values(dict(ground.of), dict(ground.pending))
    _set_process(given, base, found)
    if "root" in given or "state" in given:
        found.of["root.readonly"] = _readonly(given, base)
    if "mounts" in given or "state" in given:
        found.of["mounts"] = _mounts(given, base, found.pending)
    if "hostname" in given:
        found.of["hostname"] = given["hostname"]
    for stage, called in given.get("hooks", _NOTHING).items():
        found.of[f"hooks.{stage}"] = [hook(stage, item).to_json() for item in called]
    if "ports" in given:
        found.of["ports"] = list(ports(given, base).values())
    return found


def _set_process(given: Given, base: Ground, found: Values) -> None:
    process = given.get("process", _NOTHING)
    for key in _PLAIN & process.keys():
        found.of[f"process.{key}"] = process[key]
    if "debug" in given:
        _set_terminal(given["debug"], found.of)
    if "env" in process or "debug" in given:
        _set_env(process.get("env", _NOTHING), base, found)
    if "rlimits" in process:
        found.of["process.rlimits"] = _rlimits(process["rlimits"], base.config["process"]["rlimits"])
    if "user" in process:
        for key in ("process.user", "process.user.gid"):
            found.pending.pop(key, None)
        found.of["process.user"] = _user(process["user"], base, found.pending)


_PLAIN = frozenset({"cwd", "args", "capabilities", "noNewPrivileges"})


@lru_cache(4096)
def alone(base: Ground) -> Values:
    """Return the values of a ground where a document sets nothing; they are shared, and not to be changed."""
    return _whole(_NOTHING, base)


def _whole(given: Given, base: Ground) -> Values:
    config = base.config["process"]
    found = Values()
    found.of["root.readonly"] = _readonly(given, base)
    found.of["mounts"] = _mounts(given, base, found.pending)
    _set_terminal(base.debug, found.of)
    _set_env(_NOTHING, base, found)
    found.of["process.args"] = config["args"] if base.command else None
    for key in ("cwd", "rlimits", "capabilities", "noNewPrivileges"):
        found.of[f"process.{key}"] = config[key]
    found.of["process.user"] = _user(None, base, found.pending)
    found.of["hostname"] = base.config.get("hostname", "")
    for stage in STAGES:
        found.of[f"hooks.{stage}"] = []
    found.of["ports"] = list(ports(given, base).values())
    return found


def _set_terminal(terminal: bool, values: dict[str, Any]) -> None:
    values["process.terminal"] = terminal
    values["process.consoleSize"] = dict(zip(("height", "width"), defaults.CONSOLE, strict=True)) if terminal else None


def _set_env(given: Given, base: Ground, found: Values) -> None:
    env = grounds.environment(base, given, terminal=found.of["process.terminal"])
    found.of["process.env"] = env
    found.pending.pop("process.env.HOME", None)
    if not any(item.startswith("HOME=") for item in env):
        found.pending["process.env.HOME"] = _HOME


def hook(stage: str, given: Given) -> Hook:
    """Return a hook as the bundle takes it."""
    env = tuple(f"{name}={value}" for name, value in given.get("env", _NOTHING).items())
    return Hook(
        stage=stage, path=given["path"], args=tuple(given.get("args", ())), env=env, timeout=given.get("timeout")
    )


def ports(given: Given, base: Ground) -> dict[str, dict[str, Any]]:
    """Return the ports by number and protocol: the image's, then the document's, which replace those of the same."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(base.source.config.names("ExposedPorts")):
        number, _, protocol = name.partition("/")
        protocol = protocol or "tcp"
        port = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else number
        found[f"{number}/{protocol}"] = {"port": port, "protocol": protocol}
    for item in given.get("ports", ()):
        key = f"{item['port']}/{item.get('protocol', 'tcp')}"
        found[key] = {"port": item["port"], "protocol": item.get("protocol", "tcp"), **item}
    return found


def _readonly(given: Given, base: Ground) -> bool:
    said = given.get("root", _NOTHING).get("readonly")
    return bool(given.get("state") or base.config["root"]["readonly"]) if said is None else bool(said)


def _mounts(given: Given, base: Ground, pending: dict[str, str]) -> list[dict[str, Any]]:
    """Return all mounts, the document's and its state sorted by destination behind the others.

    So what is mounted within another mount comes after it, however the document orders them. They take the place of
    volumes with the same destination.
    """
    found = {item["destination"]: item for item in base.config["mounts"]}
    kernel = {item["destination"] for item in defaults.MOUNTS}
    for place in found.keys() - kernel:
        found[place] = {**found[place], "options": list(defaults.VOLUME_OPTIONS)}
        pending[f"mounts.{place}"] = _OWNER
    own: dict[str, dict[str, Any]] = {}
    for item in given.get("mounts", ()):
        options = {"options": list(item["options"])} if item["options"] else {}
        own[item["destination"]] = {key: item[key] for key in ("destination", "type", "source")} | options
        pending.pop(f"mounts.{item['destination']}", None)
    for item in given.get("state", ()):
        own[item["path"]] = {"destination": item["path"], "type": "bind", "state": item["name"]}
        pending[f"mounts.{item['path']}"] = f"its source is the folder of state '{item['name']}' on the host"
    return [item for item in found.values() if item["destination"] not in own] + [own[place] for place in sorted(own)]


def _rlimits(given: Any, base: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = {item["type"]: item for item in base}
    for item in given:
        found[item["type"]] = {key: item[key] for key in ("type", "hard", "soft")}
    return list(found.values())


def _user(given: Given | None, base: Ground, pending: dict[str, str]) -> dict[str, Any]:
    """Return the user as far as it is known: numbers, or the names that the bundle looks up."""
    umask = {"umask": (given or _NOTHING).get("umask", base.config["process"]["user"]["umask"])}
    if given is not None and "uid" in given:
        return {key: given[key] for key in ("uid", "gid", "additionalGids") if key in given} | umask
    if given is not None and "name" in given:
        name, group = given["name"], given.get("group", "")
    else:
        name, _, group = base.user.partition(":")
    if not _is_id(name or "0") or not _is_id(group or "0"):
        pending["process.user"] = _NUMBERS
        return ({"name": name} | ({"group": group} if group else {})) | umask
    if not group:
        pending["process.user.gid"] = _GROUP
    return {"uid": int(name or 0), "gid": int(group or 0)} | umask


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_ID
