"""Streams, lines and owners: the small parts of a run."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.oci import Location
from runtimeimg.run.attach import frames
from runtimeimg.run.containers import start_failed
from runtimeimg.run.fetch import engine_reference
from runtimeimg.run.lines import MAX_LINE, Lines, Tail
from runtimeimg.run.owner import Owner
from runtimeimg.run.ports import Publish
from runtimeimg.run.session import bound_ports


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=50))), st.integers(1, 20))
def test_frames_come_back_however_they_are_cut(sent: list[tuple[int, bytes]], cut: int) -> None:
    raw = b"".join(struct.pack(">BxxxL", stream, len(data)) + data for stream, data in sent)
    found: dict[int, bytes] = {1: b"", 2: b""}
    for stream, data in frames(raw[at : at + cut] for at in range(0, len(raw), cut)):
        found[stream] += data
    assert found == {stream: b"".join(data for other, data in sent if other == stream) for stream in (1, 2)}


@given(st.lists(st.binary(max_size=30)))
def test_lines_come_back_however_they_are_cut(pieces: list[bytes]) -> None:
    lines = Lines()
    found = [line for piece in pieces for line in lines.feed(piece)] + list(lines.end())
    whole = b"".join(pieces)
    expected = whole.split(b"\n")
    assert found == [line.removesuffix(b"\r") for line in expected[:-1]] + ([expected[-1]] if expected[-1] else [])


def test_a_line_without_end_is_cut() -> None:
    lines = Lines()
    assert [len(line) for line in lines.feed(b"x" * (2 * MAX_LINE + 5))] == [MAX_LINE, MAX_LINE]
    assert list(lines.end()) == [b"x" * 5]


def test_the_tail_keeps_the_last_lines() -> None:
    tail = Tail(2)
    tail.feed(1, b"a\nb\n")
    tail.feed(2, b"c\n\xff")
    assert tail.lines() == ("c", "\ufffd")


def test_an_owner_is_known_by_its_start() -> None:
    here = Owner.current()
    assert Owner.parse(str(here)) == here
    assert not here.is_gone(here)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child:
        stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        theirs = Owner(machine=here.machine, pid=child.pid, started=int(stat[19]))
        assert not theirs.is_gone(here)
        child.communicate(b"\n")
    assert theirs.is_gone(here)
    assert Owner(machine=here.machine, pid=os.getpid(), started=1).is_gone(here)
    assert not Owner(machine="elsewhere", pid=child.pid, started=1).is_gone(here)


@pytest.mark.parametrize("text", ["", "x", "#1@2", "m#1", "m#x@1", "m#1@-1", "m#" + "9" * 50 + "@1"])
def test_a_broken_owner_label_names_nobody(text: str) -> None:
    assert Owner.parse(text) is None


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('engine: OCI runtime create failed: exec: "x": executable file not found in $PATH', 127),
        ('engine: OCI runtime create failed: exec: "/x": stat /x: no such file or directory', 127),
        ('engine: OCI runtime create failed: exec: "/etc/passwd": permission denied', 126),
        ("engine: OCI runtime create failed: exec /x: exec format error", 126),
        ("engine: invalid mount config: bind source path does not exist", 125),
    ],
)
def test_exit_codes_of_a_failed_start_are_dockers(message: str, code: int) -> None:
    assert start_failed(message).exit_code == code


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("oci:/tmp/Some Dir.oci:v1", "localhost/some-dir:v1"),
        ("oci:x", "localhost/x:latest"),
        ("oci:./:a/b:c", "localhost/image:c"),
        ("oci-archive:/a/web.tar.gz", "localhost/web:latest"),
        ("docker-archive:/a/ü.tar:r.io/web:2", "localhost/image:2"),
        ("docker://r.io/team/web", "r.io/team/web:latest"),
        ("docker://web@sha256:" + "a" * 64, "web:sha256-" + "a" * 64),
    ],
)
def test_names_in_the_engine(text: str, name: str) -> None:
    assert engine_reference(Location.parse(text)).familiar == name


def test_free_ports_are_read_back_in_order() -> None:
    planned = (
        Publish(port=80),
        Publish(port=80),
        Publish(port=80, host_port=5),
        Publish(port=81, address="::1"),
        Publish(port=82),
    )
    inspection = {
        "NetworkSettings": {
            "Ports": {
                "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}, {"HostIp": "127.0.0.1", "HostPort": "2"}],
                "81/tcp": [{"HostIp": "::1", "HostPort": "3"}],
                "82/tcp": None,
            }
        }
    }
    assert [port.host_port for port in bound_ports(inspection, planned)] == [1, 2, 5, 3, 0]
