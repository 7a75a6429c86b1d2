"""Where the command begins: an interrupt while it is still being loaded ends it at once and without a traceback."""

import os
import signal


def main() -> None:
    """Load the command line and run it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end_now)
    from runtimeimg.cli.main import main as run

    run()


def end_now(number: int, frame: object) -> None:  # noqa: ARG001 - signal's signature
    """End the process; there is nothing to be tidied up, or somebody asked a second time."""
    os.write(2, b"runtimeimg: interrupted\n")
    os._exit(130)
