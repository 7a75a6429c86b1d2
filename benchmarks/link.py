"""A slow link on loopback: a proxy with the bandwidth and the round trip of a line between a machine and a registry.

    python benchmarks/link.py 127.0.0.1:5000 --mbit 100 --round-trip 20

prints the address it listens on, and then, for each line on its standard input, what went through so far as JSON; it
ends with its input. One token bucket for each direction is shared by all connections; every byte arrives half a round
trip after it left, and a new connection costs a round trip, as it does on a line. Slow start and losses are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Self

CHUNK = 16 << 10
BURST = 0.02  # seconds of the bandwidth that may be saved up: timers are late on a busy machine
QUEUED = 256  # chunks under way in one direction of a connection


@dataclass(slots=True)
class Bucket:
    """One direction of the link: bytes a second, and how many went through."""

    rate: float
    free: float = 0.0
    """When the line has sent what it was given so far, in the loop's time."""
    moved: int = 0

    async def take(self, size: int) -> None:
        """Wait until the line has sent `size` bytes more."""
        now = asyncio.get_running_loop().time()
        self.free = max(self.free, now - BURST) + size / self.rate
        self.moved += size
        if self.free > now:
            await asyncio.sleep(self.free - now)


@dataclass(slots=True)
class Link:
    """The proxy before one server; `delay` is of one way, in seconds."""

    host: str
    port: int
    delay: float
    up: Bucket
    down: Bucket

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until both directions have ended."""
        await asyncio.sleep(2 * self.delay)
        try:
            there_reader, there_writer = await asyncio.open_connection(self.host, self.port, limit=CHUNK)
        except OSError:
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.carry(reader, there_writer, self.up))
                group.create_task(self.carry(there_reader, writer, self.down))
        except* OSError:
            pass  # one side is gone: so is the other
        finally:
            for each in (writer, there_writer):
                each.close()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bucket: Bucket) -> None:
        """Carry one direction: as fast as the bucket lets it, each chunk written when it has arrived."""
        arriving: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED)
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver(arriving, writer))
            loop = asyncio.get_running_loop()
            while chunk := await reader.read(CHUNK):
                await bucket.take(len(chunk))
                await arriving.put((loop.time() + self.delay, chunk))
            await arriving.put((loop.time() + self.delay, b""))

    def moved(self) -> dict[str, int]:
        """Bytes that went through so far."""
        return {"down": self.down.moved, "up": self.up.moved}


class Running:
    """The link as a process of its own, for as long as the context lasts."""

    def __init__(self, server: str, mbit: float, round_trip: float) -> None:
        command = [sys.executable, __file__, server, "--mbit", str(mbit), "--round-trip", str(round_trip)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.mbit = mbit

    def __enter__(self) -> Self:
        self.address = self.line()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.process.communicate(timeout=60)

    def line(self) -> str:
        """Return the next line that the proxy says."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def moved(self) -> tuple[int, int]:
        """Return the bytes that went down and up so far."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found = json.loads(self.line())
        return found["down"], found["up"]


async def deliver(arriving: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    """Write each chunk at its time; an empty one ends the direction."""
    loop = asyncio.get_running_loop()
    while True:
        due, chunk = await arriving.get()
        await asyncio.sleep(max(0.0, due - loop.time()))
        if not chunk:
            with contextlib.suppress(OSError):
                writer.write_eof()
            return
        writer.write(chunk)
        await writer.drain()


async def serve(server: str, mbit: float, round_trip: float, listen: str) -> None:
    """Listen until the standard input ends."""
    host, _, port = server.rpartition(":")
    rate = mbit * 1e6 / 8
    link = Link(host, int(port), round_trip / 2000, Bucket(rate), Bucket(rate))
    here, _, number = listen.rpartition(":")
    listener = await asyncio.start_server(link.connected, here, int(number), limit=CHUNK)
    host, found = listener.sockets[0].getsockname()[:2]
    print(f"{host}:{found}", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(link.moved()), flush=True)
    listener.close()


def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", help="HOST:PORT that is proxied")
    parser.add_argument("--mbit", type=float, default=100.0, help="megabits a second in each direction")
    parser.add_argument("--round-trip", type=float, default=20.0, help="milliseconds there and back")
    parser.add_argument("--listen", default="127.0.0.1:0", help="HOST:PORT; any free port by default")
    options = parser.parse_args()
    asyncio.run(serve(options.server, options.mbit, options.round_trip, options.listen))


if __name__ == "__main__":
    main()
