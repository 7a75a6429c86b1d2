"""`runtimeimg debug`: a shell in an image that has none, through each runtime and on the Engine."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compose.images import file, folder, symlink, tar, write_layout

from .conftest import BUSYBOX, Machine

SHELL = [folder("bin"), file("bin/busybox", BUSYBOX.read_bytes(), 0o755)]
LINKS = [symlink(f"bin/{name}", "busybox") for name in ("sh", "ls", "id", "touch", "cat")]
BARE = [file("app", b"app", 0o755), folder("etc"), file("etc/passwd", b"app:x:7:8::/:/\n"), file("secret", mode=0o600)]
Debug = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    layout = tmp_path_factory.mktemp("debug-images") / "runtimeimg-test-debug"
    own = [folder(".debug"), folder(".debug/bin"), file(".debug/bin/sh", BUSYBOX.read_bytes(), 0o755)]
    config = {"Entrypoint": ["/app"], "User": "7:8", "Env": ["PATH=/own", "A=b"]}
    write_layout(
        layout,
        {
            "shell": ([tar([*SHELL, *LINKS])], {}),
            "dynamic": ([tar([folder("bin"), file("bin/sh", Path("/bin/true").read_bytes(), 0o755)])], {}),
            "bare": ([tar(BARE)], config),
            "debuggable": (
                [tar(own)],
                {"Labels": {"dev.runtimeimg.debug": "true"}, "Env": ["PATH=/own:/.debug/bin"], "Entrypoint": ["/app"]},
            ),
            "link": ([tar([*BARE, symlink(".debug", "/etc")])], config),
        },
    )
    return f"oci:{layout}:"


@pytest.fixture(
    params=[
        pytest.param("runc", marks=pytest.mark.runc),
        pytest.param("crun", marks=pytest.mark.crun),
        pytest.param("docker", marks=pytest.mark.engine),
    ]
)
def debug(request: pytest.FixtureRequest, tmp_path: Path, images: str) -> Iterator[Debug]:
    machine = Machine(request.param, tmp_path, images)
    env = machine.env if request.param != "docker" else {**os.environ, "RUNTIMEIMG_STATE": str(machine.state)}
    if request.param == "docker":
        request.getfixturevalue("leaves_nothing")

    def run(image: str, *words: str, shell: str = "shell", code: int = 0, stdin: bytes = b"") -> tuple[str, str]:
        argv = machine.argv("debug", "--runtime", request.param, "--image", images + shell, images + image, *words)
        done = subprocess.run(argv, env=env, input=stdin, capture_output=True, check=False, timeout=300)
        out, err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == code, out + err
        assert machine.left() == []
        return out, err

    yield run
    if request.param == "docker":  # what was loaded to be run
        engine = request.getfixturevalue("engine")
        for image in engine.images(name="localhost/runtimeimg-test-debug"):
            engine.remove_image(image["Id"], force=True)


def test_the_shell_is_brought_in_read_only(debug: Debug) -> None:
    script = "id -u; id -g; echo $PATH $A; ls /.debug/bin; touch /.debug/bin/x || exit 9"
    out, err = debug("bare", "--", "sh", "-c", script, code=9)
    assert out.split() == ["7", "8", "/own:/.debug/bin", "b", "busybox", "cat", "id", "ls", "sh", "touch"]
    assert "Read-only file system" in err


def test_commands_are_read_from_standard_input(debug: Debug) -> None:
    assert debug("bare", "-e", "X=y z", stdin=b"echo $X; exit 5", code=5)[0] == "y z\n"


def test_root_sees_what_the_images_user_does_not(debug: Debug) -> None:
    assert debug("bare", "--root", "--", "cat", "/secret")[0] == "secret"
    assert "Permission denied" in debug("bare", "--", "cat", "/secret", code=1)[1]


def test_a_debug_variant_has_its_own(debug: Debug) -> None:
    assert debug("debuggable", shell="dynamic", stdin=b"echo $PATH")[0] == "/own:/.debug/bin\n"


def test_a_shell_that_would_not_run_is_refused(debug: Debug, images: str) -> None:
    err = debug("bare", shell="dynamic", code=125)[1]
    assert f"debug image '{images}dynamic': its shell '/bin/sh' is not statically linked" in err
    assert "busybox:musl" in err


@pytest.mark.runc
def test_a_link_at_its_place_is_refused(tmp_path: Path, images: str) -> None:
    machine = Machine("runc", tmp_path, images)
    words = ("debug", "--runtime", "runc", "--image", f"{images}shell", f"{images}link")
    assert "--allow links" in machine(*words, code=125)[1]
    assert machine.left() == []


@pytest.mark.runc
def test_it_opens_on_a_terminal_without_an_engine(tmp_path: Path, images: str) -> None:
    machine = Machine("runc", tmp_path, images)
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "runtimeimg", "debug", "--image", f"{images}shell", f"{images}bare"]
    with subprocess.Popen(argv, env=machine.env, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        seen = b""
        for wanted, typed in ((b"$ ", b"echo $((6 * 7))\r"), (b"42\r\n", b"exit 3\r")):
            while wanted not in seen:
                assert select.select([ours], [], [], 120)[0], seen
                seen += os.read(ours, 4096)
            os.write(ours, typed)
        assert process.wait(120) == 3
    os.close(ours)
    assert machine.left() == []
