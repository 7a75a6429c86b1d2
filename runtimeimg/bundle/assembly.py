"""A config.json put together: what the image says, the defaults, what the caller asked for; nothing is written here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runtimeimg.bundle import defaults, users, versions
from runtimeimg.bundle.conversion import Asked, Converted, convert
from runtimeimg.bundle.users import User
from runtimeimg.bundle.values import BundleOptions, Files, Hook, Mount, hostname_of
from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.image import Image
from runtimeimg.image.layertar import DIRECTORY
from runtimeimg.plan import DEBUG_LABEL

_ROOT: Mapping[str, Any] = {"uid": 0, "gid": 0}
_GROUPS_ROOTLESS = frozenset({"crun"})
"""Runtimes that give a normal user's process further groups; runc refuses to start one that has any."""


@dataclass(slots=True)
class Assembled:
    """A config.json, and what people should know of how it came about."""

    config: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def assemble(image: Image, files: Files, options: BundleOptions) -> Assembled:
    """Return the config.json of an image; `files` are those of its rootfs.

    Raises what `conversion.convert` raises, and InvalidDocumentError for what makes no bundle.
    """
    if image.config.data.get("os", "linux") != "linux":
        raise UsageError(f"image '{image.name}' is for {image.platform}, and bundles are made for linux")
    converted = convert(image, files, asked(options))
    found = Assembled({})
    process = _process(image, files, converted, options, found.notes)
    mounts = _mounts(converted, files, process, options)
    readonly = options.readonly if options.readonly is not None else bool(converted.volumes)
    config: dict[str, Any] = {
        "ociVersion": versions.LEAST,
        "process": process,
        "root": {"path": "rootfs", "readonly": readonly},
        **_names(image, options),
        "mounts": mounts,
        **_hooks(options.hooks, options, found.notes),
        "annotations": {**converted.annotations, **options.annotations},
        "linux": _linux(options),
    }
    found.config = config
    return found


def asked(options: BundleOptions) -> Asked:
    """Return what of the options stands in place of fields of the image."""
    given = {setting.path: setting.value for setting in options.settings}
    argv = given["process.args"] if given.get("process.args") else options.argv
    return Asked(
        argv=tuple(argv) if argv is not None else None,
        args=options.args,
        env=options.env,
        user=any(given.get(path) is not None for path in ("process.user", "process.user.uid")),
    )


def has_terminal(image: Image, options: BundleOptions) -> bool:
    """Tell whether the process gets a terminal: where that is asked for, or the image is a debug variant."""
    if options.terminal is not None:
        return options.terminal
    return options.debug or image.config.labels.get(DEBUG_LABEL) == "true"


def _process(
    image: Image, files: Files, converted: Converted, options: BundleOptions, notes: list[str]
) -> dict[str, Any]:
    said = dict(converted.process)
    cwd = said["cwd"]
    if not cwd.startswith("/") and not any(item.path == "process.cwd" for item in options.settings):
        raise InvalidDocumentError(
            f"working directory {cwd[:80]!r} of image '{image.name}' is not an absolute path",
            hint=f"give another: --set process.cwd=/{cwd[:80]}",
        )
    terminal = has_terminal(image, options)
    process: dict[str, Any] = {"terminal": terminal}
    if terminal:
        height, width = options.console or defaults.CONSOLE
        process["consoleSize"] = {"height": height, "width": width}
    process["user"] = _user(said.get("user", _ROOT), image, options, notes) | {
        "umask": defaults.value("process.user.umask")
    }
    process["args"] = said["args"]
    process["env"] = environment(said["env"], process["user"]["uid"], files, terminal=terminal)
    process["cwd"] = cwd
    process["capabilities"] = defaults.value("process.capabilities")
    process["noNewPrivileges"] = defaults.value("process.noNewPrivileges")
    process["rlimits"] = defaults.value("process.rlimits")
    return process


def _user(user: Mapping[str, Any], image: Image, options: BundleOptions, notes: list[str]) -> dict[str, Any]:
    """Return the user; in a user namespace it must have a number there, and only its groups that have one are kept."""
    rootless = options.rootless
    if rootless is None:
        return dict(user)
    if not rootless.has_uid(user["uid"]) or not rootless.has_gid(user["gid"]):
        who = f"user {user['uid']}:{user['gid']}"
        if "root-user" not in options.allow:
            raise InvalidDocumentError(
                f"{who} of image '{image.name}' has no number in your user namespace",
                hint="lend yourself some: /etc/subuid and /etc/subgid (subuid(5)); or run it as the namespace's root, "
                "who is you: --allow root-user",
            )
        notes.append(f"{who} has no number in the user namespace; the process is its root, who is you")
        return {"uid": 0, "gid": 0}
    found = {"uid": user["uid"], "gid": user["gid"]}
    groups = list(user.get("additionalGids", ()))
    if groups and options.runtime is not None and options.runtime.name in _GROUPS_ROOTLESS:
        kept = [gid for gid in groups if rootless.has_gid(gid)]
        return found | ({"additionalGids": kept} if kept else {})
    if groups:
        notes.append(f"groups {', '.join(map(str, groups))} are left out: runc sets none for a normal user")
    return found


def environment(said: Iterable[str], uid: int, files: Files, *, terminal: bool) -> list[str]:
    """Return the environment with what is missing in it; nothing that is there is touched."""
    env = list(said)
    names = {item.partition("=")[0] for item in env}
    added = {"PATH": defaults.PATH}
    if terminal:
        added["TERM"] = "xterm"
    if "HOME" not in names:
        added["HOME"] = _home(uid, files)
    return env + [f"{name}={value}" for name, value in added.items() if name not in names]


def _home(uid: int, files: Files) -> str:
    found: User = users.resolve(str(uid), files, "")
    return found.home if found.home and found.home.startswith("/") else "/"


def _mounts(
    converted: Converted, files: Files, process: Mapping[str, Any], options: BundleOptions
) -> list[dict[str, Any]]:
    mounts = defaults.value("mounts")
    rootless = options.rootless
    if not options.own_network:
        mounts = [dict(defaults.HOST_SYS) if item["destination"] == "/sys" else item for item in mounts]
    if rootless is not None and not rootless.has_gid(5):
        for item in mounts:
            item["options"] = [option for option in item["options"] if option != "gid=5"]
    mounts += [_volume(path, files, process, options) for path in converted.volumes]
    for mount in options.mounts:
        mounts = [item for item in mounts if item["destination"] != mount.destination]
        mounts.append(mount.to_json())
    return list(mounts)


def _volume(path: str, files: Files, process: Mapping[str, Any], options: BundleOptions) -> dict[str, Any]:
    """Return the mount of a volume: a folder of the image's with its owner, else one of the process's user.

    So it is in a rootless bundle too, whose files have no other owner.
    """
    there = files.lookup(path, follow=True)
    owner, mode = (process["user"]["uid"], process["user"]["gid"]), 0o755
    if there is not None and there.kind == DIRECTORY:
        mode = there.mode
        owner = (there.uid, there.gid) if options.rootless is None else owner
    words = list(defaults.VOLUME_OPTIONS)
    if not _knows(options, "tmpcopyup"):
        words.remove("tmpcopyup")
    words.append(f"mode={mode:04o}")
    words += [f"{name}={number}" for name, number in zip(("uid", "gid"), owner, strict=True) if number]
    return Mount(destination=path, kind="tmpfs", source="tmpfs", options=tuple(words)).to_json()


def _knows(options: BundleOptions, option: str) -> bool:
    """Tell whether a mount option of runc and crun is not one that the runtime leaves out of those that it knows."""
    features = options.runtime.features if options.runtime else None
    known = features.names("mountOptions") if features else None
    return known is None or option in known


def _names(image: Image, options: BundleOptions) -> dict[str, str]:
    hostname = options.hostname if options.hostname is not None else hostname_of(options.name or image.name)
    found = {"hostname": hostname} if hostname else {}
    return found | ({"domainname": options.domainname} if options.domainname else {})


def _hooks(hooks: Iterable[Hook], options: BundleOptions, notes: list[str]) -> dict[str, Any]:
    """Return the hooks by stage; createRuntime, which is called in the same moment, takes the place of prestart."""
    features = options.runtime.features if options.runtime else None
    known = features.names("hooks") if features else None
    found: dict[str, list[dict[str, Any]]] = {}
    for hook in hooks:
        stage = hook.stage
        if stage == "prestart" and (known is None or "createRuntime" in known):
            stage = "createRuntime"
            notes.append(f"hook '{hook.path}' of prestart, which is deprecated, is one of createRuntime")
        found.setdefault(stage, []).append(hook.to_json())
    return {"hooks": found} if found else {}


def _linux(options: BundleOptions) -> dict[str, Any]:
    rootless = options.rootless
    linux: dict[str, Any] = {}
    if rootless is not None:
        linux["uidMappings"] = [item.to_json() for item in rootless.uids]
        linux["gidMappings"] = [item.to_json() for item in rootless.gids]
    else:
        linux["resources"] = {"devices": defaults.value("linux.resources.devices")}
    linux["namespaces"] = _namespaces(options)
    linux["maskedPaths"] = defaults.value("linux.maskedPaths")
    linux["readonlyPaths"] = defaults.value("linux.readonlyPaths")
    return linux


def _namespaces(options: BundleOptions) -> list[dict[str, str]]:
    names = [item["type"] for item in defaults.value("linux.namespaces")]
    if not options.own_network:
        names.remove("network")
    features = options.runtime.features if options.runtime else None
    known = features.names("linux.namespaces") if features else None
    if known is not None and "time" in known:
        names.append("time")
    if options.rootless is not None:
        names.append("user")
    return [{"type": name} for name in names]


def finish(config: dict[str, Any], options: BundleOptions) -> None:
    """Set the fields that the caller wants so, and the version that a config.json needs and its runtime takes."""
    for setting in options.settings:
        setting.apply(config)
    if not any(setting.path == "ociVersion" for setting in options.settings):
        config["ociVersion"] = versions.chosen(config, options.runtime.features if options.runtime else None)
