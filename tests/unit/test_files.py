"""Files written for others: the name is replaced, never what a link there leads to."""

import subprocess
import sys
from pathlib import Path

import pytest

from runtimeimg.errors import NotFoundError, RuntimeimgError
from runtimeimg.stores.files import write_atomically


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"precious")
    for name, target in (("link", "secret"), ("dangling", "nowhere"), ("device", "/dev/null")):
        (tmp_path / name).symlink_to(target)
        write_atomically(tmp_path / name, b"new")
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_bytes() == b"new"
    assert (tmp_path / "secret").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_permissions_of_what_was_there_stay(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o600)
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("stdout", ["pipe", "file"])
def test_standard_output_may_be_named(stdout: str, tmp_path: Path) -> None:
    code = "from runtimeimg.stores.files import write_atomically; write_atomically('/dev/stdout', b'said')"
    root = Path(__file__).parents[2]
    with (tmp_path / "out").open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE if stdout == "pipe" else file, check=True, cwd=root
        )
    assert (done.stdout if stdout == "pipe" else (tmp_path / "out").read_bytes()) == b"said"
    assert Path("/dev/stdout").is_symlink()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"'.*/none/file' cannot be written"):
        write_atomically(tmp_path / "none" / "file", b"")
    (tmp_path / "file").touch()
    with pytest.raises(RuntimeimgError, match=r"'.*/file/below' cannot be written"):
        write_atomically(tmp_path / "file" / "below", b"")
