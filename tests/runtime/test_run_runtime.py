"""`run --runtime runc|crun`: an image through a bundle without an Engine, and nothing left behind."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from runtimeimg import supervisor
from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph, encode
from tests.compose.images import tar, write_layout

from .conftest import ENV, SERVE, Machine, Running, base, wait_for

pytestmark = pytest.mark.runc
STARTS = int(os.environ.get("RUNTIMEIMG_STARTS", "4"))
TRAP = "trap 'echo got TERM; exit 9' TERM; echo ready; while :; do sleep 0.1; done"


def fetch(port: int, path: str) -> str | None:
    try:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def pids_of(machine: Machine, word: str) -> list[int]:
    """The processes whose command line holds a word, without those of the test."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in words and b"runtimeimg" not in b" ".join(words) and words[0] != b"sh":
                found.append(int(entry.name))
    return found


def test_output_input_environment_and_exit_code(machine: Machine) -> None:
    script = "echo out; echo err >&2; cat; echo $A $B; pwd; exit 7"
    out, err = machine.run("shell", "-e", "B=c d", "--", "/bin/sh", "-c", script, code=7, stdin=b"given\n")
    assert out == "out\ngiven\nb c d\n/\n"
    assert "err\n" in err
    assert "runtimeimg: it is in this machine's network: ports are those that the program itself listens on\n" in err


def test_the_images_own_command_and_user(machine: Machine) -> None:
    assert machine.run("user")[0] == "uid=7(app) gid=8(app)\n"
    assert machine.run("scratch", "-q", stdin=b"hello")[0] == "hello"


@pytest.mark.parametrize(
    ("command", "code"), [("nope", 127), ("/nope", 127), ("/bin/sh/x", 127), ("/etc/passwd", 126), ("/tmp", 126)]
)
def test_what_cannot_be_started_has_dockers_exit_codes(machine: Machine, command: str, code: int) -> None:
    out, err = machine.run("shell", "-q", "--", command, code=code)
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("runtimeimg: ")]
    assert len(lines) == 1, err
    assert lines[0].startswith(f"runtimeimg: runtime '{machine.runtime}' cannot start the container: ")
    assert "level=error" not in err


def test_a_signal_that_ends_the_program_is_told_by_the_exit_code(machine: Machine) -> None:
    script = "/bin/sh -c 'kill -KILL $$'; exit $?"
    machine.run("shell", "--", "/bin/sh", "-c", script, code=137)


def test_signals_are_passed_on(machine: Machine) -> None:
    run = machine.start("shell", "--", "/bin/sh", "-c", TRAP)
    run.until(lambda: "ready" in run.out)
    run.signal(signal.SIGTERM)
    assert run.ends() == 9
    assert run.out == "ready\ngot TERM\n"


def test_a_program_that_does_not_hear_is_killed(machine: Machine) -> None:
    run = machine.start("shell", "--stop-timeout", "0.3", "--", "/bin/sh", "-c", "trap '' TERM; echo ready; sleep 600")
    run.until(lambda: "ready" in run.out)
    run.signal(signal.SIGTERM)
    assert run.ends() == 137
    run = machine.start("shell", "--stop-timeout", "600", "--", "/bin/sh", "-c", "trap '' INT; echo ready; sleep 600")
    run.until(lambda: "ready" in run.out)
    run.signal(signal.SIGINT)
    time.sleep(0.3)
    run.signal(signal.SIGINT)
    assert run.ends() == 137


def test_a_reader_that_goes_away_ends_the_run(runc: Machine) -> None:
    reader, writer = os.pipe()
    run = runc.start("shell", "--stop-timeout", "0.3", "--", "/bin/sh", "-c", "seq 100000; sleep 600", stdout=writer)
    os.close(writer)
    os.read(reader, 10)
    os.close(reader)
    assert run.ends() in {137, 143}


def test_the_context_is_mounted_where_the_image_says(machine: Machine) -> None:
    (machine.folder / "here").write_text("mine")
    out, _ = machine.run("shell", "--", "/bin/sh", "-c", "cat $RUNTIMEIMG_CONTEXT/here; echo new >/workspace/context/n",
                         context=True)  # fmt: skip
    assert out == "mine"
    assert (machine.folder / "n").read_text() == "new\n"
    words = ("--context", f"{machine.folder}:/work:ro", "--", "/bin/sh", "-c", "ls /work; touch /work/no || exit 3")
    out, err = machine.run("shell", *words, context=True, code=3)
    assert "here" in out.split()
    assert "Read-only file system" in err


def test_the_context_is_not_mounted_over_files_of_the_images_own(runc: Machine) -> None:
    _, err = runc.run("files", "--", "/bin/id", context=True, code=125)
    assert "has files of its own at '/workspace/context', where the running context would be mounted" in err
    target = f"{runc.folder}:/workspace/context"
    assert runc.run("files", "--context", target, "--", "/bin/id", context=True)[0].startswith("uid=0")


def test_links_at_places_of_mounts_are_refused_by_name(runc: Machine) -> None:
    _, err = runc.run("links", "--", "/bin/id", context=True, code=125)
    assert "/workspace" in err
    assert "--allow links" in err
    assert runc.run("links", "--allow", "links", "--", "/bin/id", context=True)[0].startswith("uid=0")
    _, err = runc.run("odd", code=125)
    assert "/proc" in err
    assert "--allow links" in err


def test_root_can_give_files_away_and_become_somebody_else_and_others_cannot(machine: Machine) -> None:
    script = "touch /tmp/x && chown app /tmp/x && su app -c 'id -u' && ls -ln /tmp/x && grep Cap /proc/self/status"
    out, _ = machine.run("shell", "--", "/bin/sh", "-c", script)
    lines = out.split()
    assert lines[0] == lines[3] == "7"
    assert re.findall("Cap(.*):\t([0-9a-f]*)", out) == [
        ("Inh", "0" * 16),
        *((kind, "00000000a00405fb") for kind in ("Prm", "Eff", "Bnd")),
        ("Amb", "0" * 16),
    ]
    out, _ = machine.run("user", "--", "/bin/sh", "-c", "grep CapBnd /proc/self/status; chown root /tmp; echo $?")
    assert out == "CapBnd:\t0000000020000420\n1\n"


def test_names_are_looked_up_as_this_machine_does(machine: Machine) -> None:
    wanted = Path("/etc/hosts").read_text() + Path("/etc/resolv.conf").read_text()
    read = ("--", "/bin/cat", "/etc/hosts", "/etc/resolv.conf")
    assert machine.run("shell", *read)[0] == wanted
    assert machine.run("links", *read)[0] == wanted  # a link at its place is not followed
    assert machine.run("etc")[0] == ""  # a folder that is a link is left alone


def test_files_can_be_written_whatever_volumes_there_are(machine: Machine) -> None:
    out, _ = machine.run("volume", "--", "/bin/sh", "-c", "touch /new /data/new && ls -d /new /data/new")
    assert out == "/data/new\n/new\n"


def test_a_terminal_has_the_callers_size_and_hears_its_keys(machine: Machine) -> None:
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "rows", "31", "cols", "97"], stdin=theirs, check=True)
    script = "stty size; echo name; read name; echo hello $name; trap 'exit 11' INT; while :; do sleep 0.1; done"
    run = machine.start("shell", "-t", "-q", "--", "/bin/sh", "-c", script, stdin=theirs, stdout=theirs)
    os.close(theirs)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            assert select.select([ours], [], [], 120)[0], seen
            seen += os.read(ours, 4096)

    until(b"31 97\r\nname\r\n")
    os.write(ours, b"world\r")
    until(b"hello world\r\n")
    os.write(ours, b"\x03")
    assert run.ends() == 11
    os.close(ours)


def test_a_run_in_the_background(machine: Machine) -> None:
    port = 18431 if machine.runtime == "runc" else 18432
    words = ("-d", "--name", "web", "-p", str(port), "--", *SERVE, str(port), "-v")
    out, err = machine.run("shell", *words)
    assert out == "web\n"
    assert f"http://127.0.0.1:{port}" in err
    assert wait_for(lambda: fetch(port, "group")) == "root:x:0:\napp:x:8:\n"
    (told,) = json.loads(machine("ps", "--format", "json")[0])
    assert (told["name"], told["attached"], told["urls"]) == ("web", False, [f"http://127.0.0.1:{port}"])
    assert told["status"] == f"running, {machine.runtime}"
    assert "web " in machine("ps")[0]
    assert "response:200" in wait_for(lambda: "".join(machine("logs", "web")))
    _, err = machine.run("shell", "-d", "--name", "web", code=125)
    assert "a run is called 'web' already" in err
    assert machine("stop", "web", "-t", "0")[0] == "web\n"
    assert fetch(port, "group") is None
    assert "run 'web' does not exist" in machine("stop", "web", code=3)[1]
    assert "run 'web' does not exist" in machine("logs", "web", code=3)[1]
    assert machine.left() == []


def test_what_cannot_be_started_in_the_background_is_told(machine: Machine) -> None:
    out, err = machine.run("shell", "-d", "--", "/nope", code=127)
    assert out == ""
    assert f"runtime '{machine.runtime}' cannot start the container: " in err
    assert machine.left() == []


def test_stop_asks_first(machine: Machine) -> None:
    machine.run("shell", "-d", "--keep", "--name", "asked", "--", "/bin/sh", "-c", TRAP)
    wait_for(lambda: "ready" in machine("logs", "asked")[0])
    machine("stop", "asked")
    (told,) = json.loads(machine("ps", "--format", "json")[0])
    assert told["status"] == f"exited (9), {machine.runtime}"
    assert machine("logs", "asked")[0] == "ready\ngot TERM\n"
    assert machine("logs", "asked", "-n", "1")[0] == "got TERM\n"
    machine("stop", "asked")
    assert machine.left() == []


def test_a_run_that_is_kept_keeps_its_files_and_log(runc: Machine) -> None:
    runc.run("shell", "--keep", "--name", "kept", "--", "/bin/sh", "-c", "echo x >/tmp/made; echo said; exit 4", code=4)
    assert runc("logs", "kept")[0] == "said\n"
    assert [path.read_text() for path in runc.state.glob("runs/*/bundle/rootfs/tmp/made")] == ["x\n"]
    assert not runc.groups()
    runc("stop", "--all")


def test_logs_are_followed_to_the_end(runc: Machine) -> None:
    script = "for i in 1 2 3; do echo $i; sleep 0.3; done; echo err >&2"
    runc.run("shell", "-d", "--name", "counting", "--", "/bin/sh", "-c", script)
    out, err = runc("logs", "-f", "counting")
    assert out == "1\n2\n3\n"
    assert err == "err\n"


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> str:
    layout = tmp_path_factory.mktemp("daemons") / "layout"
    found = {}
    for name, daemon in {"serve": [*SERVE, "18441"], "dies": ["/bin/sh", "-c", "sleep 0.5; exit 3"]}.items():
        graph = RuntimeGraph(daemons=(tuple(daemon),), expose=(ExposeItem(port=18441, host_port=80),))
        for wrapped in (False, True):
            main = ["/bin/sh", "-c", "while ! wget -qO- http://127.0.0.1:18441/group; do sleep 0.1; done"]
            entrypoint = supervisor.wrap(graph.daemons, main) if wrapped else main
            config = {"Entrypoint": list(entrypoint), "Labels": encode(graph, "runtimegraph"), **ENV}
            found[f"{name}-{'wrapped' if wrapped else 'bare'}"] = ([tar(base())], config)
    write_layout(layout, found)
    return f"oci:{layout}:"


@pytest.mark.parametrize("kind", ["wrapped", "bare"])
def test_daemons_are_started_by_the_wrapper(machine: Machine, daemons: str, kind: str) -> None:
    machine.place = daemons
    out, err = machine.run(f"serve-{kind}")
    assert out == "root:x:0:\napp:x:8:\n"
    assert "port 18441/tcp is stamped to be port 80 of this machine; it is 18441" in err
    assert "http://127.0.0.1:18441" in err
    _, err = machine.run(f"dies-{kind}", code=1)
    assert "daemon '/bin/sh' ended with exit code 3, and so did the rest" in err


def test_what_only_an_engine_does_is_refused(runc: Machine, daemons: str) -> None:
    runc.place = daemons
    assert "a runtime starts one container" in runc.run("serve-bare", "--daemons", "sidecars", code=125)[1]
    assert "a runtime starts one container" in runc.run("serve-bare", "--restart-daemons", "2", code=125)[1]
    _, err = runc.run("serve-bare", "-p", "81:18441", code=125)
    assert "port 18441/tcp cannot be published as 81: the program is in this machine's network" in err
    assert runc.left() == []


def test_daemons_want_a_shell(runc: Machine, tmp_path: Path) -> None:
    labels = encode(RuntimeGraph(daemons=(("/cat",),)), "runtimegraph")
    busybox = Path("/bin/busybox").read_bytes()
    from tests.compose.images import file

    layer = tar([file("cat", busybox, 0o755)])
    write_layout(tmp_path / "bare", {"1": ([layer], {"Entrypoint": ["/cat"], "Labels": labels})})
    runc.place = f"oci:{tmp_path}/bare:"
    assert "has no '/bin/sh', which starts its daemons" in runc.run("1", code=125)[1]
    runc.run("1", "--daemons", "none")


def killed(run: Running) -> None:
    run.process.kill()
    run.process.wait()


def test_what_a_killed_run_leaves_is_removed_by_the_next_command(machine: Machine) -> None:
    run = machine.start("shell", "--", "/bin/sleep", "98765")
    wait_for(lambda: pids_of(machine, "98765"), lambda: run.err)
    killed(run)
    assert [line for line in machine.left() if "runs/" in line]
    assert pids_of(machine, "98765")
    _, err = machine("ps")
    assert "removed run 'layout-" in err
    assert not pids_of(machine, "98765")
    assert machine.left() == []


def test_what_a_killed_attendant_leaves_is_removed(machine: Machine) -> None:
    machine.run("shell", "-d", "--name", "orphan", "--", "/bin/sleep", "98764")
    (attendant,) = [int(line.split()[1][:-1]) for line in machine.left() if "runtimeimg.cli.attend" in line]
    os.kill(attendant, signal.SIGKILL)
    wait_for(
        lambda: not Path(f"/proc/{attendant}/cmdline").exists() or not Path(f"/proc/{attendant}/cmdline").read_bytes()
    )
    assert pids_of(machine, "98764")
    assert "removed run 'orphan', which a killed process had left" in machine.run("shell", "--", "/bin/id")[1]
    assert not pids_of(machine, "98764")
    assert machine.left() == []


def test_interrupts_at_any_moment_leave_nothing(machine: Machine) -> None:
    for number in range(STARTS):
        run = machine.start("shell", "--", "/bin/sleep", "98761")
        time.sleep(0.1 + 0.4 * number / STARTS)
        while run.process.poll() is None:
            run.signal(signal.SIGINT)
            time.sleep(0.05)
        assert run.ends() in {-2, 130, 137}, run.err
    assert machine.left() == []
    assert not pids_of(machine, "98761")


@pytest.mark.slow
def test_kills_at_any_moment_leave_nothing(machine: Machine) -> None:
    for number in range(STARTS):
        run = machine.start("shell", "--", "/bin/sleep", "98763")
        time.sleep(0.25 + 0.4 * number / STARTS)
        killed(run)
    machine("ps")
    wait_for(lambda: not pids_of(machine, "98763"))
    assert machine.left() == []


@pytest.mark.slow
def test_starts_and_stops_leave_nothing(machine: Machine) -> None:
    for number in range(STARTS):
        machine.run("shell", "-d", "--name", f"n{number}", "--", "/bin/sleep", "98762")
        machine("stop", f"n{number}", "-t", "0")
    assert machine.left() == []
    assert not pids_of(machine, "98762")


def test_a_dry_run_tells_command_lines_that_do_the_same(runc: Machine) -> None:
    words = ("--name", "dry", "--dry-run", "-e", "X=a b", "--", "/bin/sh", "-c", "echo $X; id")
    out, _ = runc.run("shell", *words, context=True)
    assert not runc.state.exists()
    done = subprocess.run(
        ["sh", "-ec", out], env={**runc.env, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        cwd=runc.folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "a b\nuid=0(root) gid=0(root)\n" in done.stdout
    assert not (runc.folder / "dry.bundle").exists()


def test_a_runtime_that_is_not_there_is_told(tmp_path: Path, place: str) -> None:
    machine = Machine("crun", tmp_path, place)
    argv = [sys.executable, "-m", "runtimeimg", "run", "--runtime", "crun", "--no-context", f"{place}shell"]
    env = {**machine.env, "PATH": "/nowhere"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 125, done.stderr
    assert "crun" in done.stderr
