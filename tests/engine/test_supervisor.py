"""The daemon wrapper in real containers: dash, bash and busybox ash as the image's shell."""

import io
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest

from runtimeimg import supervisor

pytestmark = pytest.mark.engine

DEBIAN = "debian:bookworm-slim"
BUSYBOX = "runtimeimg-test-supervisor:busybox"
APPLETS = ("sh", "sleep", "cat", "echo", "kill", "ls", "ps", "printf", "touch", "env")
SHELLS = {
    "dash": (DEBIAN, ("/bin/dash", "-c")),
    "bash": (DEBIAN, ("/bin/bash", "--posix", "-c")),
    "ash": (BUSYBOX, ("/bin/sh", "-c")),
}
FOREVER = ("sleep", "1000")
READY = 'trap "echo bye; exit 0" TERM; echo ready; while :; do sleep 0.05; done'


@pytest.fixture(scope="session")
def busybox(engine: docker.APIClient) -> Iterator[str]:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.add("/bin/busybox", "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(folder)
    engine.import_image_from_data(data.getvalue(), *BUSYBOX.split(":"))
    yield BUSYBOX
    engine.remove_image(BUSYBOX, force=True)


class Run:
    """A container made to run a wrapped command."""

    def __init__(self, engine: docker.APIClient, shell: str, wrapped: Sequence[str], args: Sequence[str], **more: Any):
        image, prefix = SHELLS[shell]
        self.engine = engine
        created = engine.create_container(
            image,
            entrypoint=[*prefix, *wrapped[2:]],
            command=list(args),
            host_config=engine.create_host_config(network_mode="none"),
            **more,
        )
        self.id = created["Id"]

    def start(self) -> None:
        self.engine.start(self.id)

    def wait(self) -> int:
        return int(self.engine.wait(self.id, timeout=120)["StatusCode"])

    @property
    def out(self) -> str:
        return self.engine.logs(self.id, stdout=True, stderr=False).decode()

    @property
    def err(self) -> str:
        return self.engine.logs(self.id, stdout=False, stderr=True).decode()

    def until(self, text: str) -> None:
        limit = time.monotonic() + 120
        while text not in self.out:
            assert time.monotonic() < limit, (text, self.out, self.err)
            time.sleep(0.05)

    def programs(self) -> list[str]:
        return [row[-1] for row in self.engine.top(self.id, "-eo pid,args")["Processes"]]


Runner = Callable[..., Run]


@pytest.fixture(params=SHELLS)
def run(request: pytest.FixtureRequest, engine: docker.APIClient, busybox: str) -> Iterator[Runner]:
    made: list[Run] = []

    def start(daemons: Sequence[Sequence[str]], main: Sequence[str], *args: str, **more: Any) -> Run:
        made.append(Run(engine, request.param, supervisor.wrap(daemons, main), args, **more))
        if not more.get("stdin_open"):
            made[-1].start()
        return made[-1]

    yield start
    for each in made:
        engine.remove_container(each.id, force=True, v=True)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143), ("exit 127", 127)]
)
def test_ends_with_the_exit_code_of_the_main_command(run: Runner, script: str, code: int) -> None:
    done = run([FOREVER, FOREVER], ["/bin/sh", "-c", script])
    assert done.wait() == code
    assert done.err == ""


def test_without_daemon_words_of_main_come_from_cmd(run: Runner) -> None:
    done = run([FOREVER], [], "printf", "%s|", "a b", "c")
    assert done.wait() == 0
    assert done.out == "a b|c|"


def test_arguments_of_docker_run_replace_cmd(run: Runner) -> None:
    done = run([FOREVER], ["printf", "<%s>"], "other", "args")
    assert done.wait() == 0
    assert done.out == "<other><args>"


HOSTILE = (
    *(
        "two words",
        "'quote'",
        '"double"',
        "$(touch /tmp/owned)",
        "`id`",
        "a\nb",
        "-n",
        "--",
        "*",
        "~",
        "",
        "a\\nb",
        "é",
    ),
    *("${HOME}", ";exit 9", "&", "%s", "!1", "\t", "@GUARDS@"),
)


def test_hostile_words_arrive_unchanged(run: Runner) -> None:
    daemon = ["/bin/sh", "-c", 'printf "<%s>" "$@" >/tmp/daemon; exec sleep 1000', "name", *HOSTILE]
    wait = "until [ -s /tmp/daemon ]; do sleep 0.05; done; sleep 0.1; "
    wait += 'cat /tmp/daemon; printf "\\n=\\n"; printf "<%s>" "$@"'
    done = run([daemon], ["/bin/sh", "-c", wait, "name", *HOSTILE], *HOSTILE)
    assert done.wait() == 0
    wanted = "".join(f"<{word}>" for word in HOSTILE)
    assert done.out == f"{wanted}\n=\n{wanted}{wanted}"


def test_main_is_a_program_even_when_the_shell_has_one_of_its_name_built_in(run: Runner) -> None:
    done = run([FOREVER], ["exit"], "5")
    assert done.wait() == 127


def test_ten_daemons_of_many_words(run: Runner) -> None:
    daemons = [
        ["/bin/sh", "-c", 'echo "$@" >/tmp/$1; exec sleep 1000', "x", str(n), *"abcdefghijkl"] for n in range(10)
    ]
    script = "until [ -s /tmp/9 ]; do sleep 0.05; done; sleep 0.3; cat /tmp/0 /tmp/5 /tmp/9"
    done = run(daemons, ["/bin/sh", "-c", script])
    assert done.wait() == 0
    assert done.out == "".join(f"{n} {' '.join('abcdefghijkl')}\n" for n in (0, 5, 9))


def test_stop_ends_all_before_the_engine_kills(run: Runner) -> None:
    done = run([["/bin/sh", "-c", READY], FOREVER], ["/bin/sh", "-c", READY])
    done.until("ready\nready\n")
    began = time.monotonic()
    done.engine.stop(done.id, timeout=100)
    assert time.monotonic() - began < 60
    assert done.wait() == 0
    assert done.out.count("bye") == 2
    assert done.err == ""


def test_main_without_a_handler_is_ended_by_stop(run: Runner) -> None:
    done = run([FOREVER], ["/bin/sh", "-c", "echo ready; exec sleep 1000"])
    done.until("ready")
    done.engine.stop(done.id, timeout=10)
    assert done.wait() == 143


def test_interrupt_reaches_a_main_that_handles_it(run: Runner) -> None:
    # A shell cannot take INT back once it was ignored; Perl, in Debian's base, can as most programs do.
    script = '$SIG{INT} = sub { print "int\\n"; exit 7 }; $| = 1; print "ready\\n"; sleep 1 while 1'
    done = run([FOREVER], ["perl", "-e", script])
    if "not found" in done.err or (done.engine.inspect_container(done.id)["Config"]["Image"] == BUSYBOX):
        assert done.wait() == 127  # busybox has no Perl: what is missing is said as the shell says it
        return
    done.until("ready")
    done.engine.kill(done.id, "SIGINT")
    assert done.wait() == 7
    assert done.out == "ready\nint\n"


def test_interrupt_ends_a_main_that_has_it_ignored(run: Runner) -> None:
    done = run([FOREVER], ["/bin/sh", "-c", "echo ready; exec sleep 1000"])
    done.until("ready")
    done.engine.kill(done.id, "SIGINT")
    # bash gives programs INT back when it makes way for them (`exec`), so there INT itself may end it.
    assert done.wait() in {130, 143}


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 4", 4), ("kill -9 $$", 137)])
def test_a_daemon_that_ends_ends_all(run: Runner, script: str, code: int) -> None:
    main = 'trap "echo main-bye; exit 0" TERM; while :; do sleep 0.05; done'
    done = run([FOREVER, ["/bin/sh", "-c", f"sleep 0.5; {script}"]], ["/bin/sh", "-c", main])
    assert done.wait() == 1
    assert done.out == "main-bye\n"
    assert done.err == f"runtimeimg: daemon 2 (/bin/sh) ended with exit code {code}\n"


def test_a_daemon_that_is_not_there_ends_all(run: Runner) -> None:
    done = run([["no-such-daemon"]], FOREVER)
    assert done.wait() == 1
    assert done.err.endswith("runtimeimg: daemon 1 (no-such-daemon) ended with exit code 127\n")


def test_a_main_that_ignores_term_is_killed_after_a_dead_daemon(run: Runner) -> None:
    main = 'trap "" TERM; while :; do sleep 0.05; done'
    done = run([["/bin/sh", "-c", "sleep 0.3"]], ["/bin/sh", "-c", main])
    began = time.monotonic()
    assert done.wait() == 1
    assert time.monotonic() - began > 4


def test_a_daemon_that_ignores_term_has_five_seconds(run: Runner) -> None:
    daemon = 'trap "" TERM; echo ready; while :; do sleep 0.05; done'
    done = run([["/bin/sh", "-c", daemon]], ["/bin/sh", "-c", "sleep 0.5; exit 6"])
    began = time.monotonic()
    assert done.wait() == 6
    assert time.monotonic() - began > 4


def test_environment_is_left_alone(run: Runner) -> None:
    done = run([FOREVER], ["env"], environment={"OTHER": "a  b", "code": "1"})
    assert done.wait() == 0
    assert "OTHER=a  b" in done.out.splitlines()
    assert "code=1" in done.out.splitlines()
    assert "rt_" not in done.out


@pytest.mark.parametrize("shell", SHELLS)
def test_standard_input_is_the_main_commands(shell: str, engine: docker.APIClient, busybox: str) -> None:
    image, prefix = SHELLS[shell]
    both = supervisor.wrap([["/bin/sh", "-c", "cat; exec sleep 1000"]], ["cat"])
    argv = ["docker", "run", "--rm", "-i", "--network", "none", "--entrypoint", prefix[0], image, *prefix[1:]]
    done = subprocess.run(
        [*argv, *both[2:]], input=b"line\x00\xff\n" * 1000, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"line\x00\xff\n" * 1000)


def test_processes_are_gone_after_the_main_command(run: Runner, tmp_path: Path) -> None:
    done = run([["/bin/sh", "-c", "exec sleep 1001"]], ["/bin/sh", "-c", "echo ready; exec sleep 1002"])
    done.until("ready")
    assert sorted(line for line in done.programs() if line.startswith("sleep")) == ["sleep 1001", "sleep 1002"]
    done.engine.stop(done.id, timeout=10)
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 1001" not in left
