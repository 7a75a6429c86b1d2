"""Images to make bundles of: in memory, with the programs of busybox where they are to be started."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runtimeimg.bundle.layerfiles import LayerFiles, opened
from runtimeimg.image import Image
from tests.compose.images import Item, file, folder, symlink
from tests.compose.images import image as made

BUSYBOX = Path("/usr/bin/busybox")
APPLETS = ("sh", "id", "env", "cat", "ls", "mount", "hostname", "touch", "stat", "grep", "uname", "pwd", "true", "test")
PASSWD = b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\nodd:x:many:1:::\nlone:x:7:8::/:\n"
GROUP = b"root:x:0:\napp:x:1001:\naudio:x:29:app,lone\nvideo:x:44:lone,app\nstaff:x:50:root\nbad:x:no:app\n"
ACCOUNTS = (folder("etc"), file("etc/passwd", PASSWD), file("etc/group", GROUP))


def image(
    *items: Item, name: str = "example.com/team/web:1", top: dict[str, Any] | None = None, **config: Any
) -> Image:
    """Return an image of these files for linux/amd64; `top` are fields of its config beside `config`."""
    config.setdefault("Cmd", ["/bin/main"])
    found = made(
        name, list(items) or [folder("etc")], **{key: item for key, item in config.items() if item is not None}
    )
    data = {**found.config.data, **(top or {})}
    from dataclasses import replace

    from runtimeimg.oci import ImageConfig

    return replace(found, config=ImageConfig.from_json({key: item for key, item in data.items() if item is not None}))


def busybox(*items: Item, **config: Any) -> Image:
    """Return an image with busybox, a shell and accounts, from nothing else."""
    programs = (folder("bin"), file("bin/busybox", BUSYBOX.read_bytes(), mode=0o755))
    links = [symlink(f"bin/{name}", "busybox") for name in APPLETS]
    return image(*programs, *links, *ACCOUNTS, folder("data", mode=0o750, uid=1000, gid=1001), *items, **config)


def words(*argv: str) -> Sequence[str]:
    """Return a command as images have it."""
    return list(argv)


__all__ = ["ACCOUNTS", "LayerFiles", "busybox", "file", "folder", "image", "opened", "symlink", "words"]
