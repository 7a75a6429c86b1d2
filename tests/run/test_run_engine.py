"""`run`, `ps`, `logs` and `stop` on a real Engine, with a tiny image."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import docker
import pytest
import yaml

from runtimeimg.plan import CONTEXT_LABEL
from runtimeimg.runtimegraph import ENVD_LABEL, ExposeItem, RuntimeGraph
from tests.pods import problems

from .conftest import COMMAND, PATIENCE, PREFIX, Running, ours, runtimeimg

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("leaves_no_run")]

Put = Callable[..., str]
SHELL = {"Entrypoint": ["sh", "-c"], "Cmd": ["echo started"]}
WEB = RuntimeGraph(expose=(ExposeItem(port=8080, service_name="http"),))
SERVE = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h"]


@pytest.fixture(scope="module")
def shell(tiny: str, put: Put) -> str:
    """An image whose arguments are a script, stamped without ports and daemons."""
    return put("shell", tiny, RuntimeGraph(), **SHELL)


@pytest.fixture(scope="module")
def supervised(tiny: str, put: Put) -> str:
    """The same with a daemon in its entrypoint."""
    return put("supervised", tiny, RuntimeGraph(daemons=(("sleep", "1000"),)), **SHELL)


@pytest.fixture(scope="module")
def web(tiny: str, put: Put) -> str:
    """An image that serves its running context on a free port."""
    return put("web", tiny, WEB, Entrypoint=SERVE, Cmd=["/workspace/context"], StopSignal="SIGKILL")


@pytest.mark.parametrize("code", [0, 3, 137])
@pytest.mark.parametrize("mode", ["plain", "wrapper", "sidecars"])
def test_the_exit_code_is_the_programs(code: int, mode: str, shell: str, supervised: str) -> None:
    image, options = (shell, []) if mode == "plain" else (supervised, [f"--daemons={mode}"])
    out, _ = runtimeimg("run", "--no-context", *options, image, "--", f"echo out; exit {code}", code=code)
    assert out == "out\n"


@pytest.mark.parametrize(
    ("words", "code"), [(("nosuch",), 127), (("/files/own",), 126), (("/files",), 126), (("/nosuch/x",), 127)]
)
def test_a_program_that_cannot_be_started(words: tuple[str, ...], code: int, tiny: str) -> None:
    _, err = runtimeimg("run", "--no-context", tiny, "--", *words, code=code)
    assert err.splitlines()[-1].startswith("runtimeimg: engine: ")


@pytest.mark.parametrize(
    "arguments",
    [("--nope", "x"), ("-p", "x", "tiny"), ("Upper", ), ("docker-daemon:none-such:1",), ("oci:/none/such",), ()],
)  # fmt: skip
def test_our_own_faults_end_with_125(arguments: tuple[str, ...]) -> None:
    _, err = runtimeimg("run", *arguments, code=125)
    assert "Traceback" not in err


def test_no_engine_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert "no Docker Engine answers" in runtimeimg("run", "x", code=125)[1]


def test_an_image_without_labels_is_run_by_its_config(tiny: str) -> None:
    out, err = runtimeimg("run", "--no-context", tiny, "--", "echo", "hello")
    assert out == "hello\n"
    assert "carries no runtime graph; it is run by its OCI config alone" in err


def test_the_json_label_of_envd_is_honoured(tiny: str, put: Put, running: Callable[..., Running]) -> None:
    label = {"daemon": [["sleep", "1000"]], "expose": [{"EnvdPort": 8080, "ServiceName": "http"}], "commands": {}}
    image = put("envd", tiny, None, Entrypoint=[*SERVE, "/files"], Labels={ENVD_LABEL: json.dumps(label)})
    run = running(image, "--no-context")
    assert run.fetch(run.url("http") + "/own") == "own"
    assert [daemon["name"] for daemon in json.loads(runtimeimg("ps", "--format", "json")[0])[0]["daemons"]] == ["sleep"]


def test_environment_comes_from_options_and_files(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "from here")
    file = tmp_path / "env"
    file.write_text('# comment\n\n  A=1\nB="quoted"\nMINE\nNOT_THERE\nC=from file\n')
    script = 'printf "%s|" "$A" "$B" "$C" "$MINE" "${NOT_THERE-unset}"'
    arguments = ("--no-context", "--env-file", file, "-e", "C=x=$y\nz", "-e", "NOT_THERE_EITHER")
    assert runtimeimg("run", *arguments, shell, "--", script)[0] == '1|"quoted"|x=$y\nz|from here|unset|'


def test_standard_input_is_passed_on(shell: str) -> None:
    data = bytes(range(256)) * 1000
    command = [*COMMAND, "run", "-q", "--no-context", shell, "--", "cat; echo >&2 end"]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    assert done.stdout == data
    assert done.stderr == b"end\n"


def test_a_reader_that_goes_away_ends_the_run(shell: str) -> None:
    script = (
        f"{' '.join(COMMAND)} run -q --no-context --stop-timeout 1 {shell} -- 'while echo x; do :; done' | head -n 2"
    )
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"x\nx\n", b"")


class Terminal:
    """A run under a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        self.parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        self.before = termios.tcgetattr(child)
        self.child = child
        self.process = subprocess.Popen([*COMMAND, "run", *arguments], stdin=child, stdout=child, stderr=child)
        self.seen = b""

    def until(self, pattern: bytes, seconds: float = PATIENCE) -> re.Match[bytes]:
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            assert time.monotonic() < deadline, self.seen
            if select.select([self.parent], [], [], 0.2)[0]:
                self.seen += os.read(self.parent, 4096)
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.parent)
        os.close(self.child)


def test_a_terminal_is_raw_while_it_runs_and_as_before_afterwards(shell: str) -> None:
    sized = 'until [ "$(stty size)" = "{}" ]; do sleep 0.1; done; '
    script = sized.format("33 77") + 'echo ready; read line; echo "got $line"; ' + sized.format("40 100") + "exit 5"
    terminal = Terminal("--no-context", shell, "--", script)
    try:
        terminal.until(rb"ready\r\n")
        fcntl.ioctl(terminal.child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        terminal.process.send_signal(signal.SIGWINCH)
        time.sleep(0.5)
        assert not termios.tcgetattr(terminal.child)[3] & termios.ICANON
        os.write(terminal.parent, b"hello\r")
        terminal.until(rb"got hello\r\n")
        assert terminal.process.wait(PATIENCE) == 5
        assert termios.tcgetattr(terminal.child) == terminal.before
    finally:
        terminal.close()


def test_ctrl_c_in_a_terminal_goes_to_the_program(shell: str) -> None:
    terminal = Terminal(
        "--no-context", shell, "--", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 1; done"
    )
    try:
        terminal.until(b"ready")
        os.write(terminal.parent, b"\x03")
        terminal.until(b"caught")
        assert terminal.process.wait(PATIENCE) == 9
        assert termios.tcgetattr(terminal.child) == terminal.before
    finally:
        terminal.close()


def test_a_terminal_is_restored_when_the_engine_loses_the_container(shell: str, engine: docker.APIClient) -> None:
    terminal = Terminal("--no-context", shell, "--", "echo ready; sleep 100")
    try:
        terminal.until(b"ready")
        (container,) = ours(engine)
        engine.remove_container(container["Id"], force=True)
        assert terminal.process.wait(PATIENCE) == 137
        assert termios.tcgetattr(terminal.child) == terminal.before
    finally:
        terminal.close()


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_are_passed_on(name: str, shell: str, running: Callable[..., Running]) -> None:
    run = running("--no-context", shell, "--", f"trap 'exit 7' {name}; echo ready; while :; do sleep 0.1; done")
    run.until(lambda: "ready" in run.out)
    run.process.send_signal(signal.Signals[f"SIG{name}"])
    assert run.ends() == 7


def test_a_deaf_program_is_killed_after_a_while_or_at_the_second_ctrl_c(
    shell: str, running: Callable[..., Running]
) -> None:
    script = "trap '' INT TERM; echo ready; while :; do sleep 0.1; done"
    patient = running("--no-context", "--stop-timeout", "1", shell, "--", script)
    patient.until(lambda: "ready" in patient.out)
    asked = time.monotonic()
    patient.process.send_signal(signal.SIGTERM)
    assert patient.ends() == 137
    assert time.monotonic() - asked >= 1
    hasty = running("--no-context", "--stop-timeout", "1000", shell, "--", script)
    hasty.until(lambda: "ready" in hasty.out)
    hasty.process.send_signal(signal.SIGINT)
    while hasty.process.poll() is None:  # two that come close together may arrive as one
        time.sleep(0.5)
        hasty.process.send_signal(signal.SIGINT)
    assert hasty.ends() == 137


# ---- ports


def test_a_free_port_is_picked_and_answers(web: str, running: Callable[..., Running], tmp_path: Path) -> None:
    run = running(web, cwd=tmp_path)
    (tmp_path / "page").write_text("my context")
    url = run.url("http")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert run.fetch(f"{url}/page") == "my context"


def test_a_port_that_a_container_holds_is_named(
    web: str, running: Callable[..., Running], engine: docker.APIClient
) -> None:
    first = running("-p", "127.0.0.1:18231:8080", "--name", f"{PREFIX}-holder", web)
    first.url("http")
    _, err = runtimeimg("run", "--no-context", "-p", "18231:8080", web, code=125)
    assert f"runtimeimg: port 18231 of 127.0.0.1 is taken by container '{PREFIX}-holder'\n" in err
    assert "  pass -p OTHER:8080 for another port, or -P for free ones" in err
    assert len(ours(engine)) == 1


def test_a_port_that_a_process_holds_is_named(web: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        _, err = runtimeimg("run", "--no-context", "-p", f"{port}:8080", web, code=125)
    assert f"port {port} of 127.0.0.1 is taken by process {os.getpid()} (" in err


def test_p_and_P_decide(web: str, running: Callable[..., Running]) -> None:  # noqa: N802
    run = running("--no-context", "-P", "-p", "127.0.0.2:18232:8080", web, "--", "/files")
    assert run.url("http") == "http://127.0.0.2:18232"
    assert run.fetch("http://127.0.0.2:18232/own") == "own"


# ---- running context


def test_the_context_is_never_mounted_over_the_images_files(tiny: str, put: Put, tmp_path: Path) -> None:
    image = put("own", tiny, RuntimeGraph(), Labels={CONTEXT_LABEL: "/files"}, **SHELL)
    (tmp_path / "mine").write_text("")
    _, err = runtimeimg("run", image, code=125, cwd=tmp_path)
    assert f"image '{image}' has files of its own at '/files'" in err
    assert "  pass --no-context, or --context" in err
    assert runtimeimg("run", "--context", f"{tmp_path}:/files", image, "--", "ls /files")[0] == "mine\n"
    assert runtimeimg("run", "--no-context", image, "--", "ls /files; echo $RUNTIMEIMG_CONTEXT")[0] == "own\n\n"
    single = put("own-file", tiny, RuntimeGraph(), Labels={CONTEXT_LABEL: "/files/own"}, **SHELL)
    assert "has a file of its own at '/files/own'" in runtimeimg("run", single, code=125, cwd=tmp_path)[1]
    link = put("own-link", tiny, RuntimeGraph(), Labels={CONTEXT_LABEL: "/bin/sh"}, **SHELL)
    assert "has a file of its own at '/bin/sh'" in runtimeimg("run", link, code=125, cwd=tmp_path)[1]


def test_an_empty_folder_of_the_image_takes_the_context(tiny: str, put: Put, tmp_path: Path) -> None:
    image = put("empty", tiny, RuntimeGraph(), Labels={CONTEXT_LABEL: "/tmp"}, **SHELL)
    (tmp_path / "mine").write_text("")
    assert runtimeimg("run", image, "--", "ls $RUNTIMEIMG_CONTEXT", cwd=tmp_path)[0] == "mine\n"


def test_a_read_only_context_and_one_that_is_not_there(shell: str, tmp_path: Path) -> None:
    script = "touch $RUNTIMEIMG_CONTEXT/x || echo no; echo $RUNTIMEIMG_CONTEXT"
    out, err = runtimeimg("run", "--context", f"{tmp_path}:/ctx:ro", shell, "--", script)
    assert (out, list(tmp_path.iterdir())) == ("no\n/ctx\n", [])
    assert "Read-only" in err
    assert "is not a folder here" in runtimeimg("run", "--context", tmp_path / "none", shell, code=125)[1]


def test_the_root_is_not_mounted_by_itself(shell: str) -> None:
    _, err = runtimeimg("run", shell, code=125, cwd=Path("/"))
    assert "current directory is '/'" in err


# ---- detached runs


def test_a_detached_run_is_listed_read_and_stopped(supervised: str, engine: docker.APIClient) -> None:
    script = "echo to out; echo to err >&2; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    out, _ = runtimeimg("run", "-d", "--no-context", "--name", f"{PREFIX}-d", supervised, "--", script)
    assert out == f"{PREFIX}-d\n"
    (run,) = json.loads(runtimeimg("ps", "--format", "json")[0])
    assert (run["name"], run["image"], run["attached"]) == (f"{PREFIX}-d", supervised, False)
    assert f"{PREFIX}-d" in runtimeimg("ps")[0]
    deadline = time.monotonic() + PATIENCE
    while "to err" not in runtimeimg("logs", f"{PREFIX}-d")[1]:
        assert time.monotonic() < deadline
    assert runtimeimg("logs", run["run"][:6])[0] == "to out\n"
    assert "does not exist" in runtimeimg("logs", "none-such", code=3)[1]
    following = subprocess.Popen(
        [*COMMAND, "logs", "-f", f"{PREFIX}-d"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert following.stdout
    assert following.stdout.readline() == b"to out\n"
    assert runtimeimg("stop", f"{PREFIX}-d")[0] == f"{PREFIX}-d\n"
    assert following.communicate(timeout=PATIENCE) == (b"", b"to err\n")
    assert ours(engine) == []
    assert runtimeimg("ps")[1] == "no runs\n"


def test_a_kept_container_stays(shell: str, engine: docker.APIClient) -> None:
    runtimeimg("run", "--keep", "--no-context", "--name", f"{PREFIX}-k", shell, "--", "echo x; exit 3", code=3)
    (kept,) = ours(engine)
    assert kept["State"] == "exited"
    assert runtimeimg("logs", f"{PREFIX}-k")[0] == "x\n"
    engine.remove_container(kept["Id"])


def test_a_name_that_is_taken_leaves_nothing(shell: str, engine: docker.APIClient) -> None:
    runtimeimg("run", "-d", "--no-context", "--name", f"{PREFIX}-n", shell, "--", "sleep 100")
    try:
        _, err = runtimeimg("run", "-d", "--no-context", "--name", f"{PREFIX}-n", shell, "--", "sleep 100", code=125)
        assert f"{PREFIX}-n" in err
        assert len(ours(engine)) == 1
    finally:
        runtimeimg("stop", "-t", "0", "--all")


# ---- where the image comes from


def test_an_image_of_a_layout_is_loaded_first(shell: str, tmp_path: Path, engine: docker.APIClient) -> None:
    layout = f"oci:{tmp_path}/My.Layout.oci:v1"
    runtimeimg("copy", f"docker-daemon:{shell}", layout)
    try:
        for _ in range(2):
            assert runtimeimg("run", "--no-context", layout, "--", "echo from layout")[0] == "from layout\n"
        assert engine.inspect_image("localhost/my-layout:v1")["Id"] == engine.inspect_image(shell)["Id"]
    finally:
        engine.remove_image("localhost/my-layout:v1")


@pytest.mark.registry
def test_an_image_of_a_registry_is_loaded_first(shell: str, registry: str, engine: docker.APIClient) -> None:
    name = f"{registry}/{PREFIX}/shell:1"
    runtimeimg("copy", f"docker-daemon:{shell}", f"docker://{name}")
    try:
        assert runtimeimg("run", "--no-context", name, "--", "echo from registry")[0] == "from registry\n"
    finally:
        engine.remove_image(name)


# ---- without starting anything


def test_dry_run_prints_what_would_do_the_same(supervised: str, engine: docker.APIClient, tmp_path: Path) -> None:
    script = 'printf "%s|" "$A" "$RUNTIMEIMG_CONTEXT"'
    out, _ = runtimeimg("run", "--dry-run", "-e", "A=it's $(id)\n{{x}}", supervised, "--", script, cwd=tmp_path)
    assert ours(engine) == []
    same = subprocess.run(["/bin/sh", "-c", out], capture_output=True, check=True)
    assert same.stdout.decode() == "it's $(id)\n{{x}}|/workspace/context|"


def test_podman_is_looked_for_at_its_own_address(shell: str) -> None:
    assert "podman.sock" in runtimeimg("run", "--runtime", "podman", shell, code=125)[1]
    assert runtimeimg("run", "--runtime", "podman", "--dry-run", "oci:/none", code=125)


def test_a_pod_knows_the_number_of_the_images_user(samples: Path, engine: docker.APIClient) -> None:
    base = "runtimeimg-samples/node:18"
    assert engine.inspect_image(base)
    out, _ = runtimeimg("export", base, "--to", "pod")
    assert "runAsNonRoot" not in out, "the base has no user"
    image = f"{PREFIX}/nodejs-pod:1"
    runtimeimg("build", samples / "nodejs" / "build.yaml", "-t", image)
    try:
        spec = yaml.safe_load(runtimeimg("export", image, "--to", "pod")[0])["spec"]
    finally:
        engine.remove_image(image)
    security = spec["containers"][0]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert problems(spec) == []
