"""The config.json of Debian's umoci beside ours: where they differ is in docs/bundles.md, with who is right."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.bundle import BundleOptions, plan_config
from runtimeimg.errors import UsageError
from runtimeimg.image import Image
from runtimeimg.stores import StoreOptions

from .images import ACCOUNTS, image, opened

pytestmark = pytest.mark.umoci
PREFIX = "org.opencontainers.image."
DEBIANS = "0.4.7"


@dataclass(frozen=True)
class Difference:
    """A field that umoci has otherwise for an image: its value there, and in ours (None: not there)."""

    name: str
    config: dict[str, Any]
    field: tuple[str | int, ...]
    umoci: Any
    ours: Any
    top: dict[str, Any] | None = None


DIFFERENCES = (
    Difference(
        "labels win over the image's own fields",
        {"Labels": {f"{PREFIX}author": "label"}},
        ("annotations", f"{PREFIX}author"),
        "field",
        "label",
        {"author": "field"},
    ),
    Difference(
        "HOME of the image is kept",
        {"Env": ["HOME=/x"], "User": "app"},
        ("process", "env"),
        ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOME=/home/app"],
        ["HOME=/x", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    ),
    Difference("what the image does not say is no annotation", {}, ("annotations", f"{PREFIX}author"), "", None),
    Difference(
        "nor is a time that it does not say", {}, ("annotations", f"{PREFIX}created"), "0001-01-01T00:00:00Z", None
    ),
    Difference("nor a signal", {}, ("annotations", f"{PREFIX}stopSignal"), "", None),
    Difference("the variant", {}, ("annotations", f"{PREFIX}variant"), None, "v3", {"variant": "v3"}),
    Difference(
        "further groups are left alone for numbers",
        {"User": "1000"},
        ("process", "user", "additionalGids"),
        [29, 44, 0],
        None,
    ),
    Difference(
        "a line of /etc/group without a number names no group",
        {"User": "app"},
        ("process", "user", "additionalGids"),
        [29, 44, 0],
        [29, 44],
    ),
    Difference("what is in a volume", {"Volumes": {"/data": {}}}, ("mounts", 7, "source"), "none", "tmpfs"),
    Difference(
        "the options of a volume",
        {"Volumes": {"/data": {}}},
        ("mounts", 7, "options"),
        ["rw", "nosuid", "nodev", "noexec", "relatime"],
        ["nosuid", "nodev", "tmpcopyup", "mode=0755"],
    ),
    Difference("a terminal", {}, ("process", "terminal"), True, False),
    Difference("the host name", {}, ("hostname",), "umoci-default", "web"),
)


def umocis(found: Image, folder: Path) -> dict[str, Any]:
    from runtimeimg.oci import Location
    from runtimeimg.stores import open_destination

    open_destination(Location.parse(f"oci:{folder}/image:1"), StoreOptions()).write(found)
    argv = ["umoci", "raw", "runtime-config", "--image", f"{folder}/image:1", str(folder / "config.json")]
    rootfs = folder / "rootfs" / "etc"
    rootfs.mkdir(parents=True)
    for item in ACCOUNTS[1:]:
        (folder / "rootfs" / item.path).write_bytes(item.data)
    done = subprocess.run([*argv, "--rootfs", str(folder / "rootfs")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return made


def at(config: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        config = config[key] if isinstance(key, int) else (config or {}).get(key)
    return config


@pytest.mark.parametrize("case", DIFFERENCES, ids=[case.name for case in DIFFERENCES])
def test_a_difference(case: Difference, tmp_path: Path) -> None:
    top = {"created": None, **(case.top or {})}
    found = image(*ACCOUNTS, top=top, **case.config)
    with opened(found) as files:
        ours = plan_config(found, files, BundleOptions()).config
    assert at(ours, case.field) == case.ours
    told = subprocess.run(["umoci", "--version"], capture_output=True, text=True, check=True).stdout
    if DEBIANS in told:
        assert at(umocis(found, tmp_path), case.field) == case.umoci


def test_an_image_without_a_command_has_one_of_umocis(tmp_path: Path) -> None:
    found = image(*ACCOUNTS, Cmd=[])
    with opened(found) as files, pytest.raises(UsageError, match="its entrypoint and cmd are empty"):
        plan_config(found, files, BundleOptions())
    assert umocis(found, tmp_path)["process"]["args"] == ["sh"]
