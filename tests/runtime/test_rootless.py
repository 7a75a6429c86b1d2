"""Runs of a user who is not root, in a user namespace; where the machine has none for users, that is said."""

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import Machine

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


def no_namespaces() -> str | None:
    """Why users have no namespaces of their own here, None where they have."""
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    made = [*as_nobody, "unshare", "--map-root-user", "--mount", "true"]
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_normal_user_runs_an_image(machine: Machine, place: str) -> None:
    machine.folder.chmod(0o755)
    for parent in machine.folder.parents[:2]:
        parent.chmod(0o755)
    home = machine.folder / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    machine.state = home / "state"
    script = "id -u; touch /tmp/new; mkdir /tmp/shut; chmod 0 /tmp/shut; ls /tmp; cat /etc/hosts; exit 6"
    words = ["run", "--runtime", machine.runtime, "-q", "--no-context", f"{place}shell", "--", "/bin/sh", "-c", script]
    argv = machine.argv()[:-2]
    env = {**machine.env, "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    done = subprocess.run(
        [*argv, "-c", CODE, *words], env=env, capture_output=True, text=True, check=False, timeout=300
    )
    refused = no_namespaces()
    if refused is not None:
        assert done.returncode == 125, done.stderr + refused
        return
    assert done.returncode == 6, done.stderr
    assert done.stdout == "0\nnew\nshut\n" + Path("/etc/hosts").read_text()
    assert machine.left() == [str(path) for path in machine.state.glob("runs/*")] == []
