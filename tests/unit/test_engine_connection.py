"""How an Engine is reached, without one: the words of ssh, rootless sockets, waits that end."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtimeimg.errors import TransientError, UnavailableError, UsageError
from runtimeimg.progress import Silent
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.engine import Engine, address, connection, engine_environ, find_address
from runtimeimg.stores.engine.connection import patience
from runtimeimg.stores.engine.transports import ssh_command

SSH = ["ssh", "-T", "-o", "ConnectTimeout=30"]


@pytest.mark.parametrize(
    ("url", "argv"),
    [
        ("ssh://Host", ["--", "Host", "docker system dial-stdio"]),
        ("ssh://me@host:2222", ["-l", "me", "-p", "2222", "--", "host", "docker system dial-stdio"]),
        ("ssh://[::1]:22", ["-p", "22", "--", "::1", "docker system dial-stdio"]),
        ("ssh://-oProxyCommand=x", ["--", "-oProxyCommand=x", "docker system dial-stdio"]),
        ("ssh://h/a b;c", ["--", "h", "docker --host 'unix:///a b;c' system dial-stdio"]),
    ],
)
def test_the_words_of_ssh(url: str, argv: list[str]) -> None:
    assert ssh_command(url) == [*SSH, *argv]


@pytest.mark.parametrize("url", ["ssh://", "ssh://me:secret@h", "ssh://h:x", "ssh://h:99999", "ssh://h?a", "ssh://h#a"])
def test_addresses_that_ssh_does_not_take(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        ssh_command(url)
    assert "secret" not in str(caught.value)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")  # the path of a socket must be short


def test_sockets_of_people_without_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default, system = folder / "default.sock", folder / "system.sock"
    monkeypatch.setattr(address, "DEFAULT_ADDRESS", f"unix://{default}")
    monkeypatch.setattr(address, "SYSTEM_PODMAN", str(system))
    environ = {"XDG_RUNTIME_DIR": str(folder)}
    (folder / "podman").mkdir()
    (folder / "docker.sock").write_text("no socket")
    found = []
    for path in (None, system, folder / "podman/podman.sock", default):
        if path is not None:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
        where = find_address(environ)
        found.append((Path(where.url.removeprefix("unix://")).name, where.fallback))
        assert engine_environ(environ).get("DOCKER_HOST") == (where.url if where.fallback else None)
    assert found == [
        ("default.sock", False),
        ("system.sock", True),
        ("podman.sock", True),
        ("default.sock", False),
    ]
    assert find_address({**environ, "DOCKER_HOST": "tcp://h:1"}).url == "tcp://h:1"


class Lines(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


Answer = Callable[[socket.socket, str], None]


@pytest.fixture
def engine_at(folder: Path) -> Iterator[Callable[[Answer], str]]:
    """Start what answers the version, and everything else as it is told."""
    stop: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(listener: socket.socket, answer: Answer) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            stop.append(connection)
            threads.append(threading.Thread(target=talk, args=(connection, answer)))
            threads[-1].start()

    def talk(connection: socket.socket, answer: Answer) -> None:
        with connection, connection.makefile("rb") as reader:
            while line := reader.readline().decode():
                while reader.readline().strip():
                    pass
                if "/version" in line:
                    say(connection, json.dumps({"ApiVersion": "1.41"}).encode())
                else:
                    answer(connection, line)

    def start(answer: Answer) -> str:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{folder}/e.sock")
        listener.listen()
        stop.append(listener)
        threads.append(threading.Thread(target=serve, args=(listener, answer)))
        threads[-1].start()
        return f"unix://{folder}/e.sock"

    yield start
    for item in stop:
        with contextlib.suppress(OSError):
            item.shutdown(socket.SHUT_RDWR)
        item.close()
    for thread in threads:
        thread.join(10)


def say(connection: socket.socket, body: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def test_the_socket_that_is_used_instead_is_said_once(
    engine_at: Callable[[Answer], str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = engine_at(lambda *_: None)
    monkeypatch.setattr(address, "DEFAULT_ADDRESS", f"unix://{folder}/none.sock")
    monkeypatch.setattr(address, "SYSTEM_PODMAN", url.removeprefix("unix://"))
    monkeypatch.setattr(connection, "_told", set())
    lines = Lines()
    for _ in range(2):
        Engine.connect(StoreOptions(environ={"DOCKER_CONFIG": str(folder)}, progress=lines)).close()
    assert lines.lines == [f"no Docker Engine at 'unix:///var/run/docker.sock': the one at '{url}' is used"]


@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n"])
def test_an_engine_that_falls_silent_ends_what_it_does(engine_at: Callable[[Answer], str], after: bytes) -> None:
    environ = {"DOCKER_HOST": engine_at(lambda connection, _: connection.sendall(after)), connection.PATIENCE: "1"}
    start = time.monotonic()
    with Engine.connect(StoreOptions(environ=environ)) as engine, pytest.raises(TransientError) as caught:
        list(engine.messages(engine.call("POST", "/build", patient=True)))
    assert time.monotonic() - start < 60
    assert "gave no answer in time" in str(caught.value)
    assert "RUNTIMEIMG_ENGINE_TIMEOUT" in (caught.value.hint or "")


def test_an_engine_that_takes_nothing_more_ends_a_load(engine_at: Callable[[Answer], str]) -> None:
    def deaf(*_: object) -> None:
        time.sleep(4)

    environ = {"DOCKER_HOST": engine_at(deaf), connection.PATIENCE: "1"}
    endless = (bytes(1 << 20) for _ in range(1 << 20))
    with Engine.connect(StoreOptions(environ=environ)) as engine, pytest.raises(TransientError):
        engine.call("POST", "/images/load", data=endless, patient=True)


@pytest.mark.parametrize(("text", "seconds"), [("", 600), ("0", None), ("5", 5)])
def test_patience(text: str, seconds: float | None) -> None:
    assert patience({connection.PATIENCE: text}) == seconds


def test_patience_is_a_number() -> None:
    with pytest.raises(UsageError, match="'soon' is not a number of seconds"):
        patience({connection.PATIENCE: "soon"})


@pytest.mark.parametrize("answer", [b"[]", b'{"ApiVersion": "../x"}', b'{"ApiVersion": 5}', b"{}"])
def test_what_is_no_engine_is_named(folder: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/x.sock")
        listener.listen()

        def serve() -> None:
            for _ in range(2):  # a knock, and the question
                connection, _address = listener.accept()
                with connection:
                    if connection.recv(65536):
                        say(connection, answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UnavailableError, match="is not a Docker Engine"):
            Engine.connect(StoreOptions(environ={"DOCKER_HOST": f"unix://{folder}/x.sock"}))
        thread.join()
