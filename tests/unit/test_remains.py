"""What killed processes leave is removed by the next one, and nothing else ever is."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimeimg import remains
from runtimeimg.stores.files import atomic_file

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of temporary files, empty again after every test that tidies up."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(remains.held, "_items", {})  # what other tests have interrupted is not at stake
    yield folder
    assert remains.held.clear_away() == []


def killed(tmp: Path, code: str) -> None:
    """Run `code` in a process that is then killed by itself."""
    environ = {"TMPDIR": str(tmp), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    text = f"import os, pathlib\nfrom runtimeimg import remains\n{code}    os.kill(os.getpid(), 9)\n"
    done = subprocess.run([sys.executable, "-c", text], env=environ, check=False)
    assert done.returncode == -9


def test_a_folder_is_there_while_it_is_used_and_then_nothing_is(tmp: Path) -> None:
    with remains.folder() as folder:
        (folder / "sub").mkdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.is_relative_to(tmp)
        remains.sweep()
        assert (folder / "sub").is_dir(), "its owner lives"
    assert list(tmp.iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "file"
    target.parent.mkdir()
    killed(tmp, "with remains.folder() as folder:\n    (folder / 'sub').mkdir()\n")
    killed(
        tmp,
        "from runtimeimg.stores.files import atomic_file\n"
        f"with atomic_file(pathlib.Path({str(target)!r})) as pending:\n    pending.file.write(b'half')\n",
    )
    killed(
        tmp,
        f"with remains.folder_beside(pathlib.Path({str(target.parent)!r})) as folder:\n    (folder / 'x').mkdir()\n",
    )
    assert len(list(target.parent.iterdir())) == 3
    assert len(list((tmp / f"runtimeimg-{os.geteuid()}").iterdir())) == 4
    remains.sweep()
    assert list(target.parent.iterdir()) == []
    assert list(tmp.iterdir()) == []


def test_what_is_being_written_stays(tmp: Path, tmp_path: Path) -> None:
    with atomic_file(tmp_path / "file") as pending:
        pending.file.write(b"data")
        done = subprocess.run(
            [sys.executable, "-m", "runtimeimg", "schema"],
            stdout=subprocess.DEVNULL,
            env={"TMPDIR": str(tmp), "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert done.returncode == 0
        pending.commit()
    assert (tmp_path / "file").read_bytes() == b"data"
    assert list(tmp.iterdir()) == []


def test_a_note_never_leads_to_a_file_that_is_not_ours(tmp: Path, tmp_path: Path) -> None:
    """Whatever a symlink among the notes names: only a regular file, called as we do, of a free lock, is removed."""
    place = remains.place(make=True)
    assert place is not None
    mine = tmp_path / "document"
    mine.write_text("mine")
    link = tmp_path / ".runtimeimg-0000000000000000.tmp"
    link.symlink_to(mine)
    folder = tmp_path / ".runtimeimg-1111111111111111.tmp"
    folder.mkdir()
    locked = tmp_path / ".runtimeimg-2222222222222222.tmp"
    locked.touch()
    for number, target in enumerate((mine, link, folder, locked)):
        (place / f"{number}.file").symlink_to(target)
    with locked.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        remains.sweep()
    assert mine.read_text() == "mine"
    assert link.is_symlink()
    assert folder.is_dir()
    assert locked.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of somebody else")
def test_a_file_of_another_user_is_not_removed(tmp_path: Path) -> None:
    place = remains.place(make=True)
    assert place is not None
    other = tmp_path / ".runtimeimg-0000000000000000.tmp"
    other.touch()
    os.chown(other, 4711, 4711)
    (place / "0.file").symlink_to(other)
    remains.sweep()
    assert other.exists()


@pytest.mark.parametrize("how", ["open to others", "another's", "symlink", "file"])
def test_a_place_that_is_not_ours_alone_is_not_used(tmp: Path, tmp_path: Path, how: str) -> None:
    place = tmp / f"runtimeimg-{os.geteuid()}"
    if how == "symlink":
        (tmp_path / "other").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "other")
    elif how == "file":
        place.touch()
    else:
        place.mkdir(mode=0o700)
        if how == "open to others":
            place.chmod(0o770)
        elif os.geteuid() == 0:
            os.chown(place, 4711, 4711)
        else:
            pytest.skip("only root can make a folder of somebody else")
    before = sorted(tmp.rglob("*"))
    assert remains.place(make=True) is None
    with remains.folder() as folder, atomic_file(tmp_path / "file") as pending:
        assert folder.parent == tmp
        assert folder.is_dir()
        pending.commit()
    note = remains.note("work")
    note.add(engine="x")
    note.close(done=True)
    with remains.lock("x") as alone:
        assert alone
    remains.sweep()
    assert sorted(tmp.rglob("*")) == before


def test_notes_are_read_once_their_owner_is_no_more(tmp: Path) -> None:
    killed(
        tmp,
        "note = remains.note('work')\nnote.add(a=1)\n"
        "if note.descriptors:\n    os.write(note.descriptors[0], b'{\"b\"')\n",
    )
    living = remains.note("other work")
    living.add(c=3)
    (found,) = remains.abandoned_notes()
    assert found[1] == [{"a": 1}], "a line that was not finished counts for nothing"
    assert remains.abandoned_notes() == [], "nobody else takes it meanwhile"
    found[0].close(done=False)
    ((again, _, _),) = remains.abandoned_notes()
    again.close(done=True)
    assert remains.abandoned_notes() == []
    living.close(done=True)
    assert list(tmp.iterdir()) == []


def test_a_note_is_not_abandoned_while_a_program_goes_on(tmp: Path) -> None:
    killed(
        tmp,
        "import subprocess\nnote = remains.note('work')\nif note.descriptors:\n"
        "    child = subprocess.Popen(['sleep', '60'], pass_fds=note.descriptors)\n"
        "    note.add(pid=child.pid)\n",
    )
    assert remains.abandoned_notes() == []
    (path,) = tmp.rglob("*.note")
    os.kill(json.loads(path.read_text())["pid"], 9)
    limit = time.monotonic() + 60
    while not (found := remains.abandoned_notes()):
        assert time.monotonic() < limit
    found[0][0].close(done=True)


def test_locks_are_taken_in_turns_and_leave_nothing(tmp: Path) -> None:
    counts = [0, 0]

    def count() -> None:
        for _ in range(50):
            with remains.lock("x") as alone:
                assert alone
                counts[0] += 1
                counts[1] = max(counts[1], counts[0])
                counts[0] -= 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [0, 1]
    with remains.lock("x", shared=True), remains.lock("x", shared=True) as both, remains.lock("x", seconds=0) as alone:
        assert both
        assert not alone
    assert list(tmp.iterdir()) == []


def test_what_cannot_be_removed_is_told(tmp: Path) -> None:
    remains.held.add("gone", "what is gone", lambda: True)
    remains.held.add("stays", "what stays", lambda: False)
    remains.held.add("known", "what is known to stay")
    assert remains.held.clear_away() == ["what stays", "what is known to stay"]
    remains.held.drop("stays")
    remains.held.drop("known")


def test_what_an_error_leaves_is_not_held_for_ever() -> None:
    with pytest.raises(ValueError, match="x"), remains.held.during("half of it"):
        raise ValueError("x")
    with pytest.raises(KeyboardInterrupt), remains.held.during("the other half"):
        raise KeyboardInterrupt
    assert remains.held.clear_away() == ["the other half"]
    remains.held._items.clear()
