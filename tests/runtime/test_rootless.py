"""Runs of a user who is not root, in a user namespace; where the machine has none for users, that is said."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.images import write_layout

from .conftest import Machine, images

NOBODY = 65534
# Everything is imported first: another user may not be allowed to read this interpreter's libraries.
CODE = """
import os, pkgutil, sys
import runtimeimg.cli.bundle, runtimeimg.bundle, runtimeimg.run
import runtimeimg.runtime, runtimeimg.stores, runtimeimg.unpack
for name in ("bundle", "image", "run", "runtime", "stores", "unpack", "cli.bundle"):
    package = sys.modules["runtimeimg." + name]
    for item in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        __import__(item.name)
import runtimeimg.cli.run, runtimeimg.cli.runtimes, runtimeimg.cli.attached, runtimeimg.cli.progress
import ctypes, encodings.idna, pwd, tempfile, termios
from runtimeimg.cli.main import cli
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
cli.main(sys.argv[1:], standalone_mode=False)
"""


WITHOUT_HYBRID = ["unshare", "--mount", "sh", "-c", 'umount /sys/fs/cgroup/unified && exec "$@"', "sh"]
"""What stands before a command that starts crun where control groups are those of v1 and v2, which it does not take."""


def is_hybrid() -> bool:
    controllers = Path("/sys/fs/cgroup/unified/cgroup.controllers")
    return controllers.exists() and bool(controllers.read_text().strip())


def no_namespaces() -> str | None:
    """Why users have no namespaces of their own here, None where they have."""
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    made = [*as_nobody, "unshare", "--map-root-user", "--mount", "true"]
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may go into, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="runtimeimg-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    "runtime", [pytest.param("runc", marks=pytest.mark.runc), pytest.param("crun", marks=pytest.mark.crun)]
)
def test_a_normal_user_runs_an_image(runtime: str, open_folder: Path) -> None:
    write_layout(open_folder / "layout", {"shell": images()["shell"]})
    home = open_folder / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    machine = Machine(runtime, home, f"oci:{open_folder}/layout:")
    script = "id -u; touch /tmp/new; mkdir /tmp/shut; chmod 0 /tmp/shut; ls /tmp; cat /etc/hosts; exit 6"
    words = ["run", "--runtime", runtime, "-q", "--no-context", f"{machine.place}shell", "--", "/bin/sh", "-c", script]
    argv = [*(WITHOUT_HYBRID if runtime == "crun" and is_hybrid() else ()), sys.executable, "-c", CODE, *words]
    env = {**machine.env, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    done = subprocess.run(argv, env=env, cwd=home, capture_output=True, text=True, check=False, timeout=300)
    refused = no_namespaces()
    if refused is not None:
        assert done.returncode == 125, done.stderr + refused
        return
    assert done.returncode == 6, done.stderr
    assert done.stdout == "0\nnew\nshut\n" + Path("/etc/hosts").read_text()
    assert machine.left() == []
