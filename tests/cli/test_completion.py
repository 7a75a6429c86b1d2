"""Completion, as bash does it; and the scripts of the other shells."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> dict[str, str]:
    """An environment in which `runtimeimg` is this interpreter's."""
    program = tmp_path / "bin" / "runtimeimg"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m runtimeimg "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "DOCKER_HOST": "unix:///nowhere"}


# What bash itself does on Tab: find the function of the command, call it with the words, read COMPREPLY.
TAB = """
source <(runtimeimg completion bash) || exit 9
function=$(complete -p runtimeimg | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
"$function" runtimeimg "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def tab(words: list[str], environ: dict[str, str]) -> list[str]:
    argv = ["bash", "-c", TAB, "bash", "runtimeimg", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ren"], ["render"]),
        (["build", "--builder", ""], ["auto", "buildah", "buildkit", "docker", "native"]),
        (["build", "--builder", "build"], ["buildah", "buildkit"]),
        (["run", "--runtime", ""], ["crun", "docker", "podman", "runc"]),
        (["inspect", "oci"], ["oci-archive:", "oci:"]),
        (["build", "--compr"], ["--compression"]),
    ],
)
def test_bash_completes(words: list[str], offered: list[str], path: dict[str, str]) -> None:
    assert sorted(tab(words, path)) == offered


@pytest.mark.engine
def test_images_of_the_engine_are_offered(path: dict[str, str]) -> None:
    path.pop("DOCKER_HOST")
    assert "debian:bookworm-slim" in tab(["inspect", "debian"], path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_the_command(shell: str, path: dict[str, str]) -> None:
    said = subprocess.run(["runtimeimg", "completion", shell], capture_output=True, text=True, check=True, env=path)
    assert "_RUNTIMEIMG_COMPLETE" in said.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=said.stdout, text=True, check=True, timeout=60)
