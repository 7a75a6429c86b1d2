"""The source distribution holds the whole project: what tests, scripts and packagers need."""

import subprocess
import sys
import tarfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WRITE = "import hatchling.build, sys; print(hatchling.build.build_sdist(sys.argv[1]))"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> tarfile.TarFile:
    """The distribution, written by the build backend in an environment of its own."""
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=120)
    python = folder / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "hatchling>=1.27"], check=True, timeout=300)
    subprocess.run([python, "-c", WRITE, str(folder)], check=True, timeout=300, cwd=ROOT, capture_output=True)
    (made,) = folder.glob("runtimeimg-*.tar.gz")
    return tarfile.open(made)


@pytest.mark.slow
def test_every_file_of_the_checkout_is_in_it(sdist: tarfile.TarFile) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).exists()}
    held = {name.partition("/")[2] for name in sdist.getnames()}
    assert tracked - held == set()
    assert {name for name in held - tracked if name.startswith((".venv", "demo/", "."))} == set()


@pytest.mark.slow
def test_its_metadata_names_licence_authors_and_places(sdist: tarfile.TarFile) -> None:
    (name,) = [name for name in sdist.getnames() if name.endswith("/PKG-INFO") and name.count("/") == 1]
    member = sdist.extractfile(name)
    assert member is not None
    headers = HeaderParser().parsestr(member.read().decode())
    assert (headers["License-Expression"], headers["License-File"]) == ("Apache-2.0", "LICENSE")
    assert headers["Author"] == "runtimeimg contributors"
    labels = {value.partition(",")[0] for value in headers.get_all("Project-URL") or ()}
    assert labels == {"Homepage", "Documentation", "Issues", "Changelog"}
