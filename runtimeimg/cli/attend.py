"""The process that attends to a run in the background: `python -m runtimeimg.cli.attend FOLDER LOCK REPORT`.

It is started by `runtimeimg run -d` and holds the run's lock (descriptor LOCK) from then on. To the descriptor REPORT
it writes `{}` when the program has been started, or why it could not be.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from runtimeimg.errors import RuntimeimgError
from runtimeimg.run import Daemon
from runtimeimg.runtime.records import Record
from runtimeimg.runtime.session import RuntimeSession
from runtimeimg.runtime.state import State


def main() -> None:
    """Attend to the run until it ends."""
    path, lock, report = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for descriptor in (lock, report):
        os.set_inheritable(descriptor, False)
    os.chdir("/")  # whatever the caller was in may go away
    folder = State(path.parent, dict(os.environ)).take_over(path, lock)
    record = Record.read(path)
    assert record is not None  # it was written by whoever started this process
    with RuntimeSession(folder, record, folder.runtime(record.runtime), _nowhere, stdin=False) as session:

        def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
            session.signal("TERM")

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            session.start()
        except RuntimeimgError as error:
            said = {"message": error.message, "hint": error.hint, "code": error.exit_code}
            os.write(report, json.dumps(said).encode())
            return
        os.write(report, b"{}")
        os.close(report)
        session.attend()


def _nowhere(daemon: Daemon | None, stream: int, data: bytes) -> None:
    """Write nothing: the log has it already."""


if __name__ == "__main__":
    main()
