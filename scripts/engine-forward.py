"""Passes connections to 127.0.0.1:PORT of a network namespace on to the same port of this machine.

    python3 scripts/engine-forward.py /run/netns/NAME PORT

The engines of scripts/engines live in namespaces of their own, and reach the tests' registry by this.
"""

import contextlib
import ctypes
import os
import socket
import sys
import threading

CLONE_NEWNET = 0x40000000


def enter(descriptor: int) -> None:
    """Move this thread into a network namespace; a socket stays in the one where it was made."""
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def pump(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until the source ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 18):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def serve(near: socket.socket, port: int) -> None:
    """Pass on one connection."""
    with near:
        try:
            far = socket.create_connection(("127.0.0.1", port), 10)
        except OSError:
            return
        with far:
            far.settimeout(None)
            back = threading.Thread(target=pump, args=(far, near), daemon=True)
            back.start()
            pump(near, far)
            back.join()


def main() -> None:
    """Listen there, connect here."""
    path, port = sys.argv[1], int(sys.argv[2])
    here, there = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(path, os.O_RDONLY)
    enter(there)
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    enter(here)
    while True:
        near, _ = listener.accept()
        threading.Thread(target=serve, args=(near, port), daemon=True).start()


if __name__ == "__main__":
    main()
