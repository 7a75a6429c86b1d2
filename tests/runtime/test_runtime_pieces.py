"""The pieces of runs through runtimes, on their own."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runtimeimg.errors import UsageError
from runtimeimg.run import Publish, RunOptions
from runtimeimg.run.plan import Daemon
from runtimeimg.runtime import leftovers, logs
from runtimeimg.runtime.bundles import base_name, run_plan
from runtimeimg.runtime.logs import LogWriter
from runtimeimg.runtime.program import Runtime, message
from runtimeimg.runtime.records import EXITED, Record
from runtimeimg.runtime.state import State
from tests.run.images import WEB, make_image

WORDY = "runc create failed: unable to start container process: "
RUNC = Runtime(name="runc", program="/usr/sbin/runc", root=Path("/nowhere"), env={})
RECORD = Record(
    id="0123456789abcdef",
    name="web",
    image="web:1",
    runtime="runc",
    program="/usr/sbin/runc",
    created=1.5,
    attached=False,
    kept=True,
    terminal=False,
    stop_signal="TERM",
    stop_timeout=10.0,
    ports=(Publish(port=80, host_port=80, service="http"),),
    daemons=("redis",),
)


@pytest.mark.parametrize(
    ("said", "told", "code"),
    [
        (
            f'time="2024-01-01" level=error msg="{WORDY}exec: \\"nope\\": executable file not found in $PATH"\n',
            'exec: "nope": executable file not found in $PATH',
            127,
        ),
        (
            f'time="x" level=warning msg="first"\ntime="x" level=error msg="{WORDY}exec: \\"/x\\": permission denied"',
            'exec: "/x": permission denied',
            126,
        ),
        ('time="x" level=error msg="rootfs (/x) does not exist: no such file or directory"', None, 125),
        ("executable file `/x` not found in $PATH: No such file or directory", None, 127),
        ("open executable: Permission denied", None, 126),
        ("open executable: Operation not permitted", None, 126),
        ("open executable: Not a directory", None, 127),
        ("cgroups in hybrid mode not supported, drop all controllers from cgroupv2", None, 125),
        ("mount `/x` to `/y`: No such file or directory", None, 125),
        ("", "no reason is given", 125),
    ],
)
def test_what_runtimes_say_of_a_failed_start(said: str, told: str | None, code: int) -> None:
    error = RUNC.failure(said)
    assert error.exit_code == code
    assert str(error) == f"runtime 'runc' cannot start the container: {told or message(said)}"
    assert "\\" not in str(error)


def test_records_come_back(tmp_path: Path) -> None:
    RECORD.save(tmp_path)
    assert Record.read(tmp_path) == RECORD
    assert replace(RECORD, state=EXITED, code=3).status == "exited (3)"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"id": 1}', '{"ports": 5}', "null", '{"ports": [1], "daemons": []}']
)
def test_a_broken_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    assert Record.read(tmp_path) is None


def collected(log: Path, tail: int | None = None) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []

    def take(daemon: Daemon | None, stream: int, data: bytes) -> None:
        assert daemon is None
        found.append((stream, data))

    logs.show(log, take, tail=tail)
    return found


def test_logs_come_back_in_their_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    writer = LogWriter(log)
    pieces = [(1, b"one\ntw"), (2, b"error\n"), (1, b"o\n"), (1, b"rest")]
    for stream, data in pieces:
        writer.write(stream, data)
    assert collected(log) == pieces
    assert collected(log, 2) == [(1, b"two\n"), (1, b"rest")]
    assert collected(log, 0) == []
    with log.open("ab") as file:
        file.write(b"\x01\0\0\0\0\0\0\xffhalf of a frame")
    assert collected(log) == pieces
    writer.close()
    writer.write(1, b"late")
    assert collected(log) == pieces


def test_a_long_log_is_set_aside_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_LOG", 1000)
    log = tmp_path / "log"
    writer = LogWriter(log)
    lines = [b"%04d\n" % number for number in range(1000)]
    for line in lines:
        writer.write(1, line)
    writer.close()
    kept = [data for _, data in collected(log)]
    assert kept == lines[-len(kept) :]
    assert 80 < len(kept) < 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]


def test_a_log_that_is_set_aside_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_LOG", 100)
    log = tmp_path / "log"
    writer = LogWriter(log)
    writer.write(1, b"first\n")
    found: list[bytes] = []
    lines = [b"%04d\n" % number for number in range(20)]
    left = iter(lines)

    def runs() -> bool:
        line = next(left, None)
        if line is not None:
            writer.write(1, line)
        return line is not None

    logs.show(log, lambda _, __, data: found.append(data), tail=None, runs=runs)
    writer.close()
    assert found == [b"first\n", *lines]


def test_programs_of_a_folder_are_ended_and_no_others(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "input()", "--root"]
    with (
        subprocess.Popen([*argv, str(tmp_path)], stdin=subprocess.PIPE) as mine,
        subprocess.Popen([*argv, f"{tmp_path}2"], stdin=subprocess.PIPE) as other,
    ):
        leftovers.end_programs(tmp_path)
        assert mine.wait(60) == -9
        assert other.poll() is None
        other.communicate(b"\n")


def test_plans_are_in_this_machines_network() -> None:
    plan = run_plan(make_image(WEB), RunOptions())
    assert [(port.port, port.host_port) for port in plan.ports] == [(8000, 8000), (8443, 8443), (9000, 9000)]
    assert plan.sidecars == ()
    assert [daemon.name for daemon in plan.wrapped] == ["redis-server", "worker"]
    assert any("port 8443/tcp is stamped to be port 443 of this machine; it is 8443" in note for note in plan.notes)
    assert base_name(plan) == "web"
    run_plan(make_image(), RunOptions(publish=(Publish(port=80), Publish(port=81, host_port=81))))
    with pytest.raises(UsageError, match="port 80/tcp cannot be published as 8080"):
        run_plan(make_image(), RunOptions(publish=(Publish(port=80, host_port=8080),)))
    with pytest.raises(UsageError, match="a runtime starts one container"):
        run_plan(make_image(WEB), RunOptions(daemons="sidecars"))


def test_a_folder_of_runs_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(0o777)
    with pytest.raises(UsageError, match="is not this user's alone"):
        State(tmp_path / "runs", {}).new("a run")


@pytest.mark.runc
def test_a_runtime_gets_no_descriptors_of_whoever_calls_it(tmp_path: Path) -> None:
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LISTEN_FDS": "3", "NOTIFY_SOCKET": "/run/x", "LANG": "C"}
    folder = State(tmp_path / "runs", env).new("a run")
    assert set(folder.runtime("runc").env) == {"PATH", "LANG"}
    folder.remove()


def test_a_run_without_a_record_is_removed(tmp_path: Path) -> None:
    state = State(tmp_path / "runs", {})
    folder = state.new("a run")
    (folder.path / "bundle").mkdir()
    assert state.sweep() == ([], [])  # it is held
    folder.let_go()
    assert state.sweep() == ([folder.id], [])
    assert list(state.root.iterdir()) == []
