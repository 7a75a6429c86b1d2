"""The slow link of the benchmark is as slow as it says."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LINK = Path(__file__).parents[2] / "benchmarks" / "link.py"
SIZE = 1 << 20


def answer(connection: socket.socket) -> None:
    """Read a line `COUNT\\n` and what follows, then send COUNT bytes."""
    with connection, connection.makefile("rwb") as stream:
        count = int(stream.readline())
        while stream.read(1 << 16):
            pass
        stream.write(bytes(count))


@pytest.fixture
def server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def linked(server: str, mbit: float, round_trip: float) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, str(LINK), server, "--mbit", str(mbit), "--round-trip", str(round_trip)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdout.readline().strip(), process
        process.stdin.close()
        assert process.wait(60) == 0


def moved(process: subprocess.Popen[str]) -> dict[str, int]:
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    found: dict[str, int] = json.loads(process.stdout.readline())
    return found


def exchange(address: str, up: int, down: int) -> float:
    """Seconds that it takes to send `up` bytes and to get `down` bytes."""
    host, _, port = address.rpartition(":")
    began = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        connection.sendall(b"%d\n" % down + bytes(up))
        connection.shutdown(socket.SHUT_WR)
        got = 0
        while chunk := connection.recv(1 << 16):
            got += len(chunk)
    assert got == down
    return time.monotonic() - began


def test_bandwidth_is_shared_by_connections_and_counted(server: str) -> None:
    with linked(server, mbit=8, round_trip=0) as (address, process):
        began = time.monotonic()
        threads = [threading.Thread(target=exchange, args=(address, 0, SIZE)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        down = time.monotonic() - began
        up = exchange(address, SIZE, 0)
        counted = moved(process)
    assert 2 * 0.95 < down < 40  # two MiB at one MB a second
    assert 0.95 < up < 40
    assert counted["down"] == 2 * SIZE
    assert SIZE < counted["up"] < SIZE + 100


def test_connecting_and_asking_take_a_round_trip_each(server: str) -> None:
    with linked(server, mbit=1000, round_trip=600) as (address, _):
        # The connection costs a round trip, request and answer the other.
        assert 1.15 < exchange(address, 10, 10) < 40


def test_a_server_that_is_not_there_ends_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"127.0.0.1:{gone.getsockname()[1]}"
    with linked(address, mbit=8, round_trip=0) as (found, _):
        assert exchange(found, 0, 0) < 40
