"""The plan of a look around in an image: its shell in place of its command, nothing else of it started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtimeimg.image import Image
from runtimeimg.plan import DEBUG_LABEL, DEBUG_PATH, DEFAULT_PATH
from runtimeimg.run.plan import RunPlan

SHELL = f"{DEBUG_PATH}/sh"


def has_shell(image: Image) -> bool:
    """Tell whether an image is a debug variant, which holds the shell itself."""
    return image.config.labels.get(DEBUG_LABEL) == "true"


def debug_plan(image: Image, command: Sequence[str] = (), *, env: Mapping[str, str], root: bool) -> RunPlan:
    """Return the plan of running `command` in an image, its debug shell by default, which is last on PATH.

    No daemon is started, no port published and nothing mounted. With `root` it is not the image's user who looks.
    """
    path = image.config.env.get("PATH") or DEFAULT_PATH
    if DEBUG_PATH not in path.split(":"):
        path = f"{path}:{DEBUG_PATH}"
    return RunPlan(
        image=image.name.removeprefix("docker-daemon:"),
        name=None,
        argv=tuple(command) or (SHELL,),
        args=None,
        env={"PATH": path, **env},
        ports=(),
        sidecars=(),
        wrapped=(),
        context=None,
        volumes=(),
        user=str(image.config.config.get("User") or ""),
        restart_daemons=0,
        notes=(),
        root=root,
    )
