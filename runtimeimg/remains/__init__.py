"""What this process would leave if it were killed now, and how the next one finds and removes it.

All of it is told by a folder of the user's own, `runtimeimg-UID` among the temporary files (0700, ours, no symlink),
which is there only as long as something is in it. Nothing is taken for abandoned but by a lock that nobody holds any
more: the kernel drops the locks of a process however it ends.

    XXXX.lock, XXXX   a folder to work in, and the lock that its owner holds as long as it is there
    XXXX.file         a symlink to a temporary file elsewhere, which its writer holds a lock on
    XXXX.note         lines of JSON that their owner holds a lock on; they mean something to who reads `abandoned_notes`
"""

from runtimeimg.remains.files import (
    folder_beside,
    forget,
    is_temporary,
    remove_if_abandoned,
    sweep,
    temporary_file,
)
from runtimeimg.remains.folders import folder, locked_file, locked_folder, sweep_folders
from runtimeimg.remains.locks import lock
from runtimeimg.remains.notes import Note, abandoned_notes, note
from runtimeimg.remains.places import place
from runtimeimg.remains.register import held

__all__ = [
    "Note",
    "abandoned_notes",
    "folder",
    "folder_beside",
    "forget",
    "held",
    "is_temporary",
    "lock",
    "locked_file",
    "locked_folder",
    "note",
    "place",
    "remove_if_abandoned",
    "sweep",
    "sweep_folders",
    "temporary_file",
]
