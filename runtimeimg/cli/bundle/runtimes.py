"""The runtime that a bundle is made or checked for, and the user who is to start it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtimeimg.bundle import Rootless
    from runtimeimg.bundle.features import Runtime

_MAX_IDS = 1 << 20


def runtime_of(text: str) -> Runtime:
    """Return the runtime that is meant by a name on PATH, by the path of a program, or by that of its features."""
    from runtimeimg.bundle import features

    path = Path(text)
    if text.endswith(".json") or ("/" in text and path.is_file() and not os.access(path, os.X_OK)):
        return features.read(path)
    return features.ask(text, dict(os.environ))


def this_user() -> Rootless:
    """Return the user namespace of this user, with lent ids where there are the programs that set them up."""
    import pwd

    from runtimeimg import process
    from runtimeimg.bundle import rootless

    uid, gid = os.geteuid(), os.getegid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    lent = all(process.find(program) for program in ("newuidmap", "newgidmap"))
    subuid, subgid = (_text(Path(path)) if lent else "" for path in ("/etc/subuid", "/etc/subgid"))
    return rootless.namespace(uid, gid, name=name, subuid=subuid, subgid=subgid)


def _text(path: Path) -> str:
    from runtimeimg.errors import RuntimeimgError
    from runtimeimg.hostfile import read_file

    try:
        return read_file(path, _MAX_IDS).decode("utf-8", "replace")
    except RuntimeimgError:
        return ""
