"""Folders of the host: what is swapped while a build reads must never bring a file of somewhere else into the image."""

import os
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from runtimeimg.builders.context import find_sources, stream
from runtimeimg.errors import RuntimeimgError
from runtimeimg.render import ContextPath
from runtimeimg.stores.directory import Directory
from runtimeimg.stores.registry import credentials
from tests.compose.images import contents, folder, image, plan

from . import bounded

SECRET = b"root:secret"
SWAP = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
one, two = (os.fsencode(path) for path in sys.argv[1:])
print("ready", flush=True)
while True:
    libc.renameat2(-100, one, -100, two, 2)  # RENAME_EXCHANGE: at no moment is there nothing
"""


@pytest.fixture
def swapped(tmp_path):
    """Swap two names again and again in another process."""
    running = []

    def start(one, two):
        command = [sys.executable, "-c", SWAP, one, two]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout.readline() == b"ready\n"

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def work(tmp_path):
    """A workspace, and a folder outside of it with the same names and other contents."""
    for name, data in (("work", b"own data ok"), ("outside", SECRET)):
        (tmp_path / name / "d/e").mkdir(parents=True)
        for path in ("d/passwd", "d/e/passwd", "d/e/more", "top"):
            (tmp_path / name / path).write_bytes(data)
    return tmp_path / "work"


# What is swapped: a name in the workspace, and what takes its place: a link to the outside, whole or in the middle.
PLACES = [("d", "d"), ("d/e", "d/e"), ("d/passwd", "d/passwd"), ("top", "top"), ("d/e/more", "d/e/more")]


def builds(seconds=2.0):
    """Yield until enough time has passed."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end or count < 20:
        count += 1
        yield count


@pytest.mark.parametrize(("place", "target"), PLACES)
@pytest.mark.parametrize("source", [".", "d", "d/*", "d/e/more", "*"])
def test_swapping_for_a_link_never_brings_in_what_is_outside_natively(
    place, target, source, work, swapped, compose, tmp_path
):
    evil = tmp_path / "evil"
    evil.symlink_to(tmp_path / "outside" / target)
    composer = compose(base=image("base", [folder("usr")]))
    composer.workspace = work
    swapped(work / place, evil)
    done = 0
    for _ in builds(0.5):
        try:
            with composer.build(plan([(source, "/t/")], builder=None)) as built:
                for layer in built.layers[1:]:
                    assert SECRET not in contents(layer).values()
                done += 1
        except RuntimeimgError:
            pass
    assert done or source == "d/e/more", "nothing was ever built, which shows nothing"


@pytest.mark.parametrize(("place", "target"), PLACES)
def test_swapping_for_a_link_never_brings_in_what_is_outside_into_a_context(place, target, work, swapped, tmp_path):
    evil = tmp_path / "evil"
    evil.symlink_to(tmp_path / "outside" / target)
    swapped(work / place, evil)
    for _ in builds(0.5):
        try:
            sources = find_sources(ContextPath(prefix="w", folder=None, pattern="."), work)
            sources += find_sources(ContextPath(prefix="x", folder=None, pattern="d/*"), work)
            assert SECRET not in b"".join(stream("FROM scratch\n", sources))
        except RuntimeimgError:
            pass


@pytest.mark.parametrize("depth", [1, 2])
def test_the_workspace_itself_is_opened_once(depth, work, tmp_path):
    found = Directory(work)
    work.rename(tmp_path / "moved")
    work.symlink_to(tmp_path / "outside")
    path = b"d/passwd" if depth == 1 else b"d/e/more"
    assert b"".join(found.pieces(path, 11)) == b"own data ok"


def test_a_file_that_becomes_a_pipe_or_a_device_does_not_hang(work):
    found = Directory(work)
    (work / "top").unlink()
    os.mkfifo(work / "top")
    with pytest.raises(RuntimeimgError, match="changed while it was read"):
        list(found.pieces(b"top", 11))


def odd(path, kind):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        os.mknod(path, (stat.S_IFCHR if kind == "character device" else stat.S_IFBLK) | 0o600, os.makedev(1, 3))


ODD = ["pipe", "socket", "character device", "block device"]


@pytest.mark.skipif(os.geteuid() != 0, reason="devices are made by root")
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("source", ["d", ".", "d/od*", "d/odd"])
def test_odd_files_are_refused_by_name(kind, source, work, compose):
    odd(work / "d/odd", kind)
    composer = compose(base=image("base", [folder("usr")]))
    composer.workspace = work
    with pytest.raises(RuntimeimgError, match=rf"copies\[0\]: '.*/d/odd' is a {kind.split()[-1]}"):
        composer.entries([(source, "/t/")], builder=None)
    assert composer.entries([("d/e", "/t/")], builder=None)


@pytest.mark.parametrize("where", ["spec", "directory", "archive", "docker-archive", "layout", "graph"])
def test_pipes_in_the_place_of_files_do_not_hang(where, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pipes/blobs").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipes/oci-layout")
    os.mkfifo(tmp_path / "pipes/index.json")
    command = {
        "spec": ["render", "pipe"],
        "directory": ["strategy", "amend", "pipe"],
        "archive": ["inspect", "oci-archive:pipe"],
        "docker-archive": ["inspect", "docker-archive:pipe"],
        "layout": ["inspect", "oci:pipes"],
        "graph": ["stamp", "oci:pipes", "--graph", "pipe", "-o", "oci:out"],
    }[where]
    outcome = bounded.cli(*command, cwd=tmp_path, wall=30)
    assert outcome.code == 2, outcome.said
    assert "pipe" in outcome.err


def test_a_pipe_in_the_place_of_logins_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RuntimeimgError, match=r"login file '.*/pipe' is not a regular file"):
        credentials._read(tmp_path / "pipe")


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../outside/d", "../outside", "/", "d/../../outside/top", "/proc/self/root/etc"]
)
@pytest.mark.parametrize("source", ["link", "link/*", "lin?", "./link"])
def test_links_that_lead_out_are_refused(target, source, work, compose, tmp_path):
    (work / "link").symlink_to(target)
    composer = compose(base=image("base", [folder("usr")]))
    composer.workspace = work
    with pytest.raises(RuntimeimgError):
        composer.entries([(source, "/t/")], builder=None)
    with pytest.raises(RuntimeimgError):
        find_sources(ContextPath(prefix="w", folder=None, pattern=source), work)


def test_a_context_of_many_threads_is_whole(work):
    """Each context has descriptors of its own."""
    found: list[int] = []

    def read():
        sources = find_sources(ContextPath(prefix="w", folder=None, pattern="."), work)
        found.append(len(b"".join(stream("", sources))))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
