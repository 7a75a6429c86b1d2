"""The small shell script that starts an image's daemons beside its main command, as an Entrypoint.

    ["/bin/sh", "-c", SCRIPT, "runtimeimg-supervisor:N", *words of the daemons, *words of the main command]

N is how many words belong to the daemons. The image's Cmd stays the main command's arguments, so that
`docker run IMAGE ARGS` works as ever. No value stands in the script's text: it is made from the daemons' word counts
alone and takes the words from its arguments. It runs in any POSIX shell (dash, busybox ash, bash).

What it does: the daemons are started in order, then the main command; TERM and INT are passed on to all; it ends with
the main command's exit code (128+n when a signal ended it). When a daemon ends first it says so on standard error,
ends everything else and exits with 1. Daemons must stay in the foreground. After the main command they have five
seconds to end.

How, and why so:

* A shell cannot wait for whichever of its children ends first, so each daemon has a guard: a subshell that waits for
  it and then sends USR1 to the shell (`$$` is the shell, in a subshell too).
* A signal with a trap ends `wait` early, with a status of its own. After a trap `rt_wait` waits again; 127 then means
  that the status before was the process's own.
* `wait` of dash tells on standard error which signal ended a process: the exit code says that already.
* `(exec "$@")` runs programs only, where `"$@"` alone would run what the shell has built in under the same name.
* The shell gives background commands /dev/null for standard input; descriptor 3 keeps the container's for the main
  command.
* The shell starts background commands with INT ignored and cannot undo that. A program that sets its own handler hears
  INT all the same; one that left it ignored, as SigIgn in /proc says, gets TERM instead.
* A signal can come between the start of the main command and the line that notes its number, hence the second look at
  `rt_stop`.
* A subshell that was just forked still has its parent's handlers for a moment, and a signal is lost to it then. So a
  guard sets its traps after it has started its daemon, and hears TERM a second time after a second; it passes it on
  only once.
* The variables have a prefix: one that the image's environment holds already would be passed on to the programs.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

_NAME = "runtimeimg-supervisor"
_MARK = re.compile(rf"{_NAME}:(0|[1-9][0-9]{{0,5}})\Z")

_HORUST = re.compile(r"(?:^|[\s;&|(])(?:[^\s;&|(]*/)?horust(?=[\s;&|)]|$)")

_HEAD = """\
exec 3<&0
rt_main='' rt_stop='' rt_dead='' rt_code=143
rt_wait() {
  rt_code=''
  while
    rt_hit=''
    wait "$1" 2>/dev/null
    rt_last=$?
    if [ "$rt_last" != 127 ] || [ -z "$rt_code" ]; then rt_code=$rt_last; fi
    [ -n "$rt_hit" ]
  do :; done
}
rt_guard() {
  rt_number=$1
  shift
  (exec "$@") </dev/null 3<&- &
  rt_pid=$!
  trap '[ -n "$rt_stop" ] || kill -s TERM $rt_pid 2>/dev/null; rt_stop=1 rt_hit=1' TERM
  trap 'rt_hit=1; kill -s KILL $rt_pid 2>/dev/null' HUP
  rt_wait $rt_pid
  [ -z "$rt_stop" ] || exit 0
  printf '%s\\n' "runtimeimg: daemon $rt_number ($1) ended with exit code $rt_code" >&2
  kill -s USR1 $$
}
rt_end() {
  kill -s TERM @GUARDS@ 2>/dev/null
  [ -n "$rt_main" ] || return 0
  rt_signal=$1
  while read -r rt_key rt_value; do
    case $rt_signal$rt_key$rt_value in INTSigIgn:*[2367abef]) rt_signal=TERM ;; esac
  done 2>/dev/null <"/proc/$rt_main/status"
  kill -s "$rt_signal" "$rt_main" 2>/dev/null
  [ -z "$rt_dead" ] || (sleep 5; kill -s KILL "$rt_main" 2>/dev/null) 3<&- &
}
trap 'rt_stop=1 rt_hit=1; rt_end TERM' TERM
trap 'rt_stop=1 rt_hit=1; rt_end INT' INT
trap 'rt_dead=1 rt_hit=1; rt_end TERM' USR1
@UNSET@
"""
_TAIL = """\
if [ -z "$rt_stop$rt_dead" ]; then
  (exec "$@") <&3 3<&- &
  rt_main=$!
  [ -z "$rt_stop$rt_dead" ] || rt_end TERM
  rt_wait $rt_main
fi
trap '' TERM INT USR1
rt_exit=$rt_code
[ -z "$rt_dead" ] || rt_exit=1
kill -s TERM @GUARDS@ 2>/dev/null
(sleep 1; kill -s TERM @GUARDS@; sleep 4; kill -s HUP @GUARDS@) 2>/dev/null 3<&- &
@WAITS@
exit "$rt_exit"
"""


def wrap(daemons: Sequence[Sequence[str]], main: Sequence[str]) -> tuple[str, ...]:
    """Return the Entrypoint that runs `daemons` beside the command `main`.

    `main` may be empty when the image's Cmd holds the whole command. Raises ValueError for a daemon without words.
    """
    if not all(daemons):
        raise ValueError("a daemon needs at least one word")
    words = [word for daemon in daemons for word in daemon]
    return ("/bin/sh", "-c", _script([len(daemon) for daemon in daemons]), f"{_NAME}:{len(words)}", *words, *main)


def unwrap(entrypoint: Sequence[str]) -> tuple[str, ...] | None:
    """Return the main command of an Entrypoint that `wrap` made, None for any other."""
    if len(entrypoint) < 4 or tuple(entrypoint[:2]) != ("/bin/sh", "-c"):
        return None
    found = _MARK.match(entrypoint[3])
    if found is None or len(entrypoint) < 4 + int(found[1]):
        return None
    return tuple(entrypoint[4 + int(found[1]) :])


def _script(counts: Sequence[int]) -> str:
    """Return the script for daemons of so many words each."""
    guards = [f"rt_guard_{number}" for number in range(1, len(counts) + 1)]
    pids = " ".join(f"${guard}" for guard in guards)
    starts = []
    for number, (guard, count) in enumerate(zip(guards, counts, strict=True), start=1):
        words = " ".join(f'"${{{position}}}"' for position in range(1, count + 1))
        starts.append(f"rt_guard {number} {words} &\n{guard}=$!\nshift {count}\n")
    unset = " ".join(f"{guard}=''" for guard in guards)
    waits = "\n".join(f"rt_wait ${guard}" for guard in guards)
    text = _HEAD + "".join(starts) + _TAIL
    return text.replace("@GUARDS@", pids).replace("@UNSET@", unset).replace("@WAITS@", waits)


def is_envds(entrypoint: Sequence[str]) -> bool:
    """Tell whether an entrypoint is the supervisor of an envd image, horust, which starts the image's daemons itself.

    envd writes `horust`; its earlier versions wrote `tini -- bash -c SCRIPT`, where the script ends in it.
    """
    words = list(entrypoint)
    if words and posixpath.basename(words[0]) == "tini":
        words = words[words.index("--") + 1 :] if "--" in words else words[1:]
    if not words:
        return False
    program = posixpath.basename(words[0])
    if program in {"bash", "sh"} and len(words) > 2 and words[1].startswith("-") and words[1].endswith("c"):
        return _HORUST.search(words[2]) is not None
    return program == "horust"
