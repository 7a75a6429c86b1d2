"""README's first command in a fresh Debian with python3, git and ca-certificates, as a user without any right."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Kept between runs, beside the services' own state: it takes debootstrap most of a minute.
PRISTINE = Path(os.environ.get("XDG_STATE_HOME") or "/var/tmp") / "runtimeimg-services" / "first-hour-bookworm"
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL")

pytestmark = [pytest.mark.debian, pytest.mark.slow]


def run(*argv: str | Path, timeout: int = 300, **kwargs: object) -> str:
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False, **kwargs
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def lend_network(root: Path) -> None:
    """Give a root what this machine needs to reach its package registries."""
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    for authority in Path("/usr/local/share/ca-certificates").glob("*.crt"):
        shutil.copy(authority, root / "usr/local/share/ca-certificates")
    run("chroot", root, "update-ca-certificates")
    if Path("/etc/pip.conf").is_file():
        shutil.copy("/etc/pip.conf", root / "etc/pip.conf")
    for setting in Path("/etc/apt/apt.conf.d").iterdir():
        if "Acquire::" in setting.read_text():
            shutil.copy(setting, root / "etc/apt/apt.conf.d")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """A Debian 12 as its installer leaves it, with the checkout in the home of an unprivileged user."""
    if not PRISTINE.is_dir():
        PRISTINE.parent.mkdir(parents=True, exist_ok=True)
        made = tmp_path / "pristine"
        run("debootstrap", "--variant=minbase", "--include=python3,git,ca-certificates", "bookworm", made)
        run("cp", "-a", made, f"{PRISTINE}.{os.getpid()}")
        Path(f"{PRISTINE}.{os.getpid()}").rename(PRISTINE)
        shutil.rmtree(made)
    root = tmp_path / "root"
    run("cp", "-a", PRISTINE, root)
    lend_network(root)
    run("chroot", root, "useradd", "--create-home", "user")
    checkout = root / "home/user/runtimeimg"
    listed = run("git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    run("chroot", root, "chown", "-R", "user:user", "/home/user")
    yield root
    shutil.rmtree(root)


def test_the_demo_runs_unprivileged_with_python_git_and_apt_alone(fresh: Path) -> None:
    assert not (fresh / "usr/lib/python3.11/ensurepip").exists(), "python3-venv is there: the test proves nothing"
    enter = 'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && exec chroot --userspec=user:user "$0" "$@"'
    environment = {name: os.environ[name] for name in PROXIES if name in os.environ}
    said = run(
        *("unshare", "--mount", "--pid", "--fork", "bash", "-c", enter, fresh),
        *("bash", "-c", "cd ~/runtimeimg && scripts/demo"),
        env={"HOME": "/home/user", "USER": "user", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **environment},
    )
    assert "the page says: hello" in said
    assert "demo/files/bin/busybox httpd" in said.splitlines()[-1]
    kept = sum(path.lstat().st_blocks * 512 for path in (fresh / "home/user/runtimeimg").rglob("*"))
    assert kept < 80_000_000, f"the demo takes {kept} bytes"
