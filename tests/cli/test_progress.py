"""Progress: what a line says, that it fits, and what a terminal of 80 columns shows; the summary of a build."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from runtimeimg.cli.phases import Phases
from runtimeimg.cli.progress import Plain

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: "BUILDER"}
  output: {image: "web:1"}
  runtime: {base: {image: scratch}, directories: [/etc], entrypoint: [/bin/true]}
"""
MB = 1_000_000


def test_a_phase_is_one_line_with_its_facts() -> None:
    phases = Phases()
    phases.start("a", "push h.example/web aaaaaaaaaaaa", 40 * MB, 0.0)
    phases.start("b", "push h.example/web bbbbbbbbbbbb", 60 * MB, 0.0)
    phases.start("c", "push h.example/web cccccccccccc", 500 * MB, 0.0)
    phases.done("c", "mounted", 1.0)
    phases.advance("a", 20 * MB)
    (line,) = phases.lines(2.0, 79)
    assert line.split("  ")[0] == "push h.example/web"
    assert line.split()[2:] == ["20.0", "MB/100.0", "MB", "10.0", "MB/s", "0:02", "0:08", "left"]
    phases.advance("a", 20 * MB)
    phases.advance("b", 60 * MB)
    phases.done("a", "", 4.0)
    phases.done("b", "", 5.0)
    (line,) = phases.lines(60.0, 79)
    assert line.split()[2:] == ["100.0", "MB", "20.0", "MB/s", "0:05"]


def test_an_unknown_total_is_left_out() -> None:
    phases = Phases()
    phases.start("a", "read docker-daemon: aaaaaaaaaaaa", None, 0.0)
    assert "0 B" in phases.lines(0.1, 79)[0]
    phases.advance("a", 5 * MB)
    (line,) = phases.lines(5.0, 79)
    assert "?" not in line
    assert "/" not in line.replace("MB/s", "")
    assert "left" not in line


@pytest.mark.parametrize("width", [200, 80, 79, 60, 40, 20])
@pytest.mark.parametrize("name", ["web", "registry.example.com:5000/" + "team/" * 30 + "web"])
def test_a_line_never_exceeds_the_width(width: int, name: str) -> None:
    phases = Phases()
    phases.start("a", f"push {name} aaaaaaaaaaaa", 999_900_000_000, 0.0)
    phases.advance("a", 999_800_000_000)
    (line,) = phases.lines(360_000.0, width)
    assert len(line) <= width
    assert line.startswith("push"[:width])


def test_what_was_there_is_said() -> None:
    phases = Phases()
    phases.start("a", "push web aaaaaaaaaaaa", 5 * MB, 0.0)
    phases.done("a", "exists", 0.0)
    assert "there already" in phases.lines(1.0, 79)[0]


def test_plain_lines_tell_of_a_long_transfer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("runtimeimg.cli.progress.time.monotonic", lambda: now[0])
    plain = Plain()
    plain.start("a", "push web aaaaaaaaaaaa", 100 * MB)
    for _ in range(25):
        now[0] += 1
        plain.advance("a", MB)
    plain.done("a")
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "push web: 10.0 MB/100.0 MB, 1.0 MB/s, 0:10, 1:30 left",
        "push web: 20.0 MB/100.0 MB, 1.0 MB/s, 0:20, 1:20 left",
        "push web aaaaaaaaaaaa: 25.0 MB in 25.0 s, 1.0 MB/s",
    ]


def on_terminal(argv: list[str], folder: Path, columns: int) -> str:
    """Run a command on a terminal of its own and return what it wrote there."""
    main, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm", "XDG_CACHE_HOME": str(folder / "cache"), "DOCKER_HOST": "unix:///nowhere"}
    env = {name: value for name, value in env.items() if name not in {"COLUMNS", "LINES"}}
    with subprocess.Popen(argv, cwd=folder, stdout=child, stderr=child, stdin=child, env=env) as process:
        os.close(child)
        said = b""
        while True:
            try:
                data = os.read(main, 65536)
            except OSError:  # what Linux says of a terminal whose last user has gone
                break
            if not data:
                break
            said += data
    os.close(main)
    assert process.returncode == 0, said.decode()
    return said.decode()


def test_a_terminal_of_80_columns_gets_lines_that_fit(tmp_path: Path) -> None:
    (tmp_path / "files/etc").mkdir(parents=True)
    for number in range(4):
        (tmp_path / f"files/etc/{number}").write_bytes(os.urandom(8 * MB))
    (tmp_path / "build.yaml").write_text(SPEC.replace("BUILDER", "dir:files"))
    long = "oci:" + "a-long-name-of-a-folder-" * 4 + ":1"
    argv = [sys.executable, "-m", "runtimeimg", "build", "-o", "oci:out", "-o", long]
    said = on_terminal(argv, tmp_path, 80)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    lines = [line for line in re.split(r"[\r\n]+", plain) if line.strip()]
    drawn = [line for line in lines if line.startswith("write oci:")]
    assert any(line.startswith("write oci:out:1 ") and "MB" in line and "0:0" in line for line in drawn), lines
    assert any("…" in line for line in drawn)
    assert max(map(len, drawn)) < 80
    assert not re.search(r"/\?|\b0/|nan|inf", plain)
    assert any(line.startswith("wrote oci:out:1 (sha256:") for line in lines)
    assert "image 32.0 MB compressed" in lines
    assert "to run it: runtimeimg run oci:out:1" in lines


def test_the_summary_compares_with_the_builder_where_both_are_known(tmp_path: Path) -> None:
    (tmp_path / "files/etc").mkdir(parents=True)
    (tmp_path / "files/etc/a").write_bytes(os.urandom(MB))
    (tmp_path / "files/usr").write_bytes(os.urandom(9 * MB))
    (tmp_path / "build.yaml").write_text(
        SPEC.replace("BUILDER", "dir:files").replace("[/etc]", "[/etc, /usr]").replace("web:1", "built:1")
    )
    run = [sys.executable, "-m", "runtimeimg", "build"]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "DOCKER_HOST": "unix:///nowhere"}
    subprocess.run([*run, "-q", "-o", "oci:builder"], cwd=tmp_path, check=True, env=env, capture_output=True)
    (tmp_path / "build.yaml").write_text(SPEC.replace("BUILDER", "oci:builder"))
    done = subprocess.run([*run, "-o", "oci:out"], cwd=tmp_path, check=True, env=env, capture_output=True, text=True)
    assert "image 1.0 MB compressed, builder image 10.0 MB: 9.0 MB saved\n" in done.stderr
