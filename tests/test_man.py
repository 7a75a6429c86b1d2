"""Man pages, made from what `--help` says."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, ROOT / "scripts" / "man.py", folder], check=True, timeout=120)
    return folder


@pytest.mark.groff
def test_every_page_is_read_without_a_warning(pages: Path) -> None:
    found = sorted(pages.glob("*.1"))
    assert len(found) > 20
    for page in found:
        argv = ["groff", "-man", "-Tascii", "-ww", "-wall", "-z", page]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, ""), page.name


@pytest.mark.groff
def test_a_page_says_what_help_says(pages: Path) -> None:
    argv = ["groff", "-man", "-Tascii", "-P-cbou", "-rLL=200n", pages / "runtimeimg-build.1"]
    shown = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "runtimeimg-build - build the runtime image" in " ".join(shown.split())
    assert "--builder-image REF" in shown
    assert "in place of spec.builder.image" in shown
    assert "runtimeimg(1)" in shown


def test_every_command_and_subcommand_has_a_page(pages: Path) -> None:
    from runtimeimg.cli.main import COMMANDS

    names = {page.stem for page in pages.glob("*.1")}
    assert {f"runtimeimg-{name}" for name in COMMANDS} < names
    assert {"runtimeimg", "runtimeimg-strategy-amend", "runtimeimg-cache-prune"} < names
