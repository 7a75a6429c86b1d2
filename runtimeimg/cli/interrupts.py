"""SIGINT and SIGTERM end any command within a second, whatever it waits for.

The main thread gets the chance to tidy up: it is interrupted by KeyboardInterrupt and comes to `end`. A thread of its
own sees to it that the process ends when that takes too long, as where the main thread is held up outside of Python or
by somebody who does not answer. Either way what is left is removed if that is possible, else named; after that the next
command removes it.

Imported before anything else: nothing but what Python has loaded already.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # what the module of that name is made of
import _thread
import os
import sys
import time

TYPE_CHECKING = False  # typing is loaded later
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

CODE = 130
GRACE = 0.75
"""Seconds that the main thread has for tidying up."""
_REST = 0.15
_NUMBERS = (signal.SIGINT, signal.SIGTERM)

_ending = _thread.allocate_lock()
_passed_on = False


def watch() -> None:
    """Begin: from now on the two signals end the process at once, until `tidy_up_first`."""
    _handle(_end_now)  # before all else: until here Python's own answer to INT stands
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # What a signal writes there is seen even while the main thread runs no Python.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _thread.start_new_thread(_watch, (reader,))


def tidy_up_first() -> None:
    """Have the first signal raise KeyboardInterrupt; a second one ends the process at once."""
    _handle(_interrupted)


def end_at_once() -> None:
    """Have a signal end the process at once: there is nothing left to be tidied up."""
    _handle(_end_now)


def pass_on(*, on: bool) -> None:
    """Tell that signals are for somebody else for now, who ends when it sees fit: a program that is attended to."""
    global _passed_on  # noqa: PLW0603 - a process has one way to take signals
    _passed_on = on


def end() -> NoReturn:
    """End the process, and say what is left of what it did."""
    if not _ending.acquire(blocking=False):
        time.sleep(10)  # somebody is at it
    remains = sys.modules.get("runtimeimg.remains")
    if remains is None:
        _say("runtimeimg: interrupted\n")
    else:
        left = remains.held.clear_away()
        _say("runtimeimg: interrupted; " + _listed(left))
    os._exit(CODE)


def _listed(left: list[str]) -> str:
    if not left:
        return "nothing was left behind\n"
    return "left behind:\n" + "".join(f"  {item}\n" for item in left)


def _handle(handler: object) -> None:
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupted(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
    _handle(_end_now)
    # From here on other threads trip over what is closed under them, and destructors over this exception.
    sys.unraisablehook = lambda _: None
    if "threading" in sys.modules:
        sys.modules["threading"].excepthook = lambda _: None  # type: ignore[attr-defined]
    raise KeyboardInterrupt


def _end_now(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
    end()


def _watch(reader: int) -> None:
    """Wait for a signal, then for the main thread, and end the process when that does not."""
    while True:
        number = os.read(reader, 1)
        if number and number[0] in _NUMBERS and not _passed_on:
            break
    time.sleep(GRACE)
    _thread.start_new_thread(end, ())  # the main thread may be at it already, or trip over a disk that hangs
    time.sleep(_REST)
    os._exit(CODE)


def _say(text: str) -> None:
    import contextlib
    from select import select

    if _is_terminal():
        text = f"\r\x1b[?25h{text}"  # a display may have hidden the cursor
    if select([], [2], [], 0.05)[1]:
        with contextlib.suppress(OSError):
            os.write(2, text.encode("utf-8", "backslashreplace"))


def _is_terminal() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False
