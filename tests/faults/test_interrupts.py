"""SIGINT and SIGTERM: any command ends within a second whatever it waits for, and says the truth about what is left.

Bounds of time are wide, as machines are slow at times; what is waited for would take a minute at least.
"""

import contextlib
import fcntl
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.faults.killing import APP, BASE, SEED, World, left_on
from tests.hostile.registryserver import Server, message

PROMPTLY = 30.0
"""Seconds; it is one on a machine that has nothing else to do. What is waited for goes on for longer."""
NUMBERS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
SOURCE = "oci:images:source0"


def stall(write: Callable[[bytes], None]) -> None:
    """Say nothing until the client has gone."""
    with contextlib.suppress(OSError):
        for _ in range(1200):
            time.sleep(0.1)
            write(b"")


def until(condition: Callable[[], object], process: subprocess.Popen[bytes], world: World) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, world.said()
        assert time.monotonic() < limit, world.said()
        time.sleep(0.02)


def interrupted(process: subprocess.Popen[bytes], number: int, world: World) -> str:
    """Send the signal and return what the command said; it ended promptly, and without a traceback."""
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(60) == 130, world.said()
    assert time.monotonic() - began < PROMPTLY
    assert "Traceback" not in world.said()
    said = world.said()
    assert "runtimeimg: interrupted" in said
    return said


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(folder=tmp_path / "world")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().running() as running:
        yield running


@pytest.fixture
def silent_engine(tmp_path: Path, world: World) -> Iterator[list[socket.socket]]:
    """Accepts connections and says nothing; gives those that there were."""
    accepted: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path := f"/tmp/runtimeimg-silent-{os.getpid()}.sock")
        listener.listen()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        world.environ["DOCKER_HOST"] = f"unix://{path}"
        yield accepted
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        Path(path).unlink()
        for connection in accepted:
            connection.close()


@NUMBERS
def test_in_an_upload_that_stalls(world: World, server: Server, number: int) -> None:
    server.rule("GET /v2/$", message())
    server.rule("HEAD ", message(404))
    server.rule("POST ", message(202, Location=f"http://{server.address}/v2/a/b/blobs/uploads/1"))
    server.rule("(PUT|PATCH) ", stall)
    process = world.start("copy", SOURCE, f"docker://{server.address}/a/b:1")
    until(lambda: any(seen.method in {"PUT", "PATCH"} for seen in server.seen), process, world)
    assert f"what was sent to 'docker://{server.address}/a/b:1'" in interrupted(process, number, world)
    assert world.remains() == []


@NUMBERS
@pytest.mark.parametrize("to", ["oci:out/layout", "oci-archive:out/oci.tar"])
def test_in_a_download_that_stalls(world: World, server: Server, number: int, to: str) -> None:
    images = world.folder / "images"
    entry = next(
        item
        for item in json.loads((images / "index.json").read_text())["manifests"]
        if item["annotations"]["org.opencontainers.image.ref.name"] == "source0"
    )
    manifest = json.loads(read_blob(images, entry["digest"]))
    server.rule("(GET|HEAD) /v2/$", message())
    server.rule(
        "GET .*/manifests/",
        message(
            body=read_blob(images, entry["digest"]),
            Content_Type=entry["mediaType"],
            Docker_Content_Digest=entry["digest"],
        ),
    )
    server.rule(manifest["config"]["digest"], message(body=read_blob(images, manifest["config"]["digest"])))

    def half_of(size: int) -> Callable[[Callable[[bytes], None]], None]:
        def half(write: Callable[[bytes], None]) -> None:
            write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + bytes(size // 2))
            stall(write)

        return half

    for layer in manifest["layers"]:
        server.rule(layer["digest"], half_of(layer["size"]))
    process = world.start("copy", f"docker://{server.address}/a/b:1", to)
    until(
        lambda: any(layer["digest"] in seen.path for seen in server.seen for layer in manifest["layers"]),
        process,
        world,
    )
    time.sleep(0.2)
    said = interrupted(process, number, world)
    assert ("nothing was left behind" in said) == (to != "oci:out/layout"), "a layout keeps whole blobs"
    assert world.remains() == []
    assert list((world.folder / "out").rglob("*.tar")) == []


def read_blob(images: Path, digest: str) -> bytes:
    return (images / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()


@NUMBERS
@pytest.mark.parametrize("argv", [("ps",), ("copy", SOURCE, "docker-daemon:x:1")], ids=["ps", "copy"])
def test_in_a_call_to_an_engine_that_does_not_answer(
    world: World, silent_engine: list[socket.socket], number: int, argv: tuple[str, ...]
) -> None:
    process = world.start(*argv)
    until(lambda: len(silent_engine) > 1, process, world)
    time.sleep(0.2)
    interrupted(process, number, world)
    assert world.remains() == []


@NUMBERS
def test_while_another_holds_the_lock_of_a_layout(world: World, number: int) -> None:
    world.run("copy", SOURCE, "oci:out/layout:1")
    index = (world.folder / "out/layout/index.json").read_bytes()
    with (world.folder / "out/layout/.runtimeimg-lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = world.start("copy", "oci:images:source1", "oci:out/layout:2")
        blobs = world.folder / "out/layout/blobs/sha256"
        until(lambda: len(list(blobs.iterdir())) > 5, process, world)
        time.sleep(0.3)
        assert "blobs in layout 'out/layout'" in interrupted(process, number, world)
    assert (world.folder / "out/layout/index.json").read_bytes() == index
    assert world.remains() == []


@NUMBERS
def test_a_program_that_does_not_end_is_named(world: World, number: int) -> None:
    programs = world.folder / "programs"
    programs.mkdir()
    fake = programs / "buildah"
    fake.write_text(f"#!/bin/sh\ntrap '' TERM\necho $$ > {programs}/pid\nexec sleep 90\n")
    fake.chmod(0o755)
    world.environ |= {"PATH": f"{programs}:{os.environ['PATH']}", "DOCKER_HOST": "unix:///nonexistent.sock"}
    process = world.start("build", "engine.yaml", "--builder", "buildah", "-o", "oci:out/layout")
    until((programs / "pid").exists, process, world)
    time.sleep(0.2)
    said = interrupted(process, number, world)
    pid = int((programs / "pid").read_text())
    assert f"program 'buildah' (process {pid}), told to end" in said
    os.kill(pid, signal.SIGKILL)
    world.run("schema")
    assert world.remains() == []


STUCK = """
import ctypes, sys
from runtimeimg.cli import interrupts
interrupts.watch()
interrupts.tidy_up_first()
from runtimeimg import remains
with remains.folder() as folder:
    print(folder, flush=True)
    mutex, library = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)
"""


@NUMBERS
def test_while_no_python_runs_in_the_main_thread(world: World, number: int) -> None:
    """As in a look-up of a name: nothing is raised there, and yet it ends and tidies up."""
    child = subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=world.environ
    )
    assert child.stdout is not None
    folder = Path(child.stdout.readline().strip())
    assert folder.is_dir()
    time.sleep(0.3)
    began = time.monotonic()
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert time.monotonic() - began < PROMPTLY
    assert said == "runtimeimg: interrupted; nothing was left behind\n"
    assert world.remains() == []


def test_a_second_signal_ends_it_at_once(world: World, silent_engine: list[socket.socket]) -> None:
    process = world.start("ps")
    until(lambda: len(silent_engine) > 1, process, world)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert world.said().count("interrupted") == 1


BEFORE_THE_WATCH = {"__init__.py", "__main__.py", "cli/__init__.py", "cli/start.py", "cli/interrupts.py"}
"""What is loaded before the signals are ours: up to there Python's own answer to INT stands, a traceback."""


@NUMBERS
def test_at_random_moments(world: World, number: int) -> None:
    """The archive is the old one or the new one, and nothing else is there; what is said agrees."""
    chance = random.Random(SEED + number)
    argv = ("build", "native.yaml", "--builder", "native", "--no-cache", "-o", "oci-archive:out/oci.tar:1")
    length = world.run(*argv, "--env", "N=0")
    was = "0"
    for turn in range(1, 13):
        moment = chance.uniform(0.02, 1.05) * length
        process = world.start(*argv, "--env", f"N={turn}")
        time.sleep(moment)
        process.send_signal(number)
        code, said = process.wait(60), world.said()
        story = f"seed {SEED}, turn {turn} after {moment:.3f} of {length:.3f} seconds: {code}\n{said}"
        # Before the first line of ours, and after the last, it is Python that the signal ends.
        assert code in {0, 130, -number} or moment < max(0.1, 0.2 * length), story
        shown = re.findall(r'File "[^"]*/runtimeimg/([^"]+)", line', said)
        assert set(shown) <= BEFORE_THE_WATCH, story
        if code == 130:
            assert said.endswith(("runtimeimg: interrupted\n", "nothing was left behind\n")), story
        now = world.marks("oci-archive:out/oci.tar:1")
        finished = code == 0 or (code == -number and bool(said) and "Traceback" not in said)
        assert now in ({str(turn)} if finished else {was, str(turn)}), story
        assert world.remains() == [], story
        was = now


@NUMBERS
def test_from_the_start_of_python_on(world: World, number: int) -> None:
    """However early it comes, no traceback shows more of ours than the few lines before the watch."""
    for step in range(24):
        process = world.start("schema")
        time.sleep(step * 0.005)
        process.send_signal(number)
        code, said = process.wait(60), world.said()
        assert code in {0, 1, 130, -number}, (step, said)
        shown = re.findall(r'File "[^"]*/runtimeimg/([^"]+)", line', said)
        assert set(shown) <= BEFORE_THE_WATCH, (step, said)


@pytest.mark.engine
@NUMBERS
def test_in_a_step_that_the_engine_runs(world: World, engine: docker.APIClient, number: int) -> None:
    """Nothing is left on the Engine: at once, or once the next command has talked to it."""
    before = left_on(engine)
    with contextlib.ExitStack() as stack:
        for name, data in world.tars.items():
            repository, tag = name.split(":")
            engine.import_image_from_data(data, repository, tag, changes=["ENV PATH=/bin"])
            stack.callback(engine.remove_image, name, force=True)
        spec = world.folder / "engine.yaml"
        spec.write_text(spec.read_text().replace("    env:", "    run: ['sleep 300']\n    env:"))
        process = world.start("build", "engine.yaml", "--builder", "docker", "--network", "none")
        running = {"State": "running"}
        until(lambda: any(running.items() <= one.items() for one in engine.containers()), process, world)
        said = interrupted(process, number, world)
        if "nothing was left behind" not in said:
            assert "unfinished build on the Engine" in said
            world.run("ps")
        assert left_on(engine) - before == set()
        assert world.remains() == []
    assert APP not in str(engine.images())
    assert BASE not in str(engine.images())
