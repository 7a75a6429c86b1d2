"""A short run of the fuzzer, other inputs for each reader each time that they are counted up."""

import sys
from pathlib import Path

import pytest

from runtimeimg.strategy.amend import Amendment, amend
from runtimeimg.strategy.convert import convert

from . import bounded, fuzz

FUZZ = Path(__file__).parent / "fuzz.py"


@pytest.mark.parametrize(
    "name", ["spec", "layer", "gzip", "zstd", "config", "manifest", "index", "entries", "label", "auths"]
)
def test_mutated_inputs_give_errors_of_ours_alone(name, tmp_path):
    done = bounded.run([sys.executable, FUZZ, "--count", 1000, "--only", name, "--seed", 7], cwd=tmp_path)
    assert done.code == 0, done.said
    assert "1000 inputs" in done.out
    assert " 0 refused" not in done.out  # else nothing was tried that is wrong


@pytest.mark.parametrize("name", ["archive", "layout", "amend", "convert", "names", "conf", "daemon", "graph", "bill"])
def test_mutated_documents_give_errors_of_ours_alone(name, tmp_path):
    done = bounded.run([sys.executable, FUZZ, "--count", 1000, "--only", name, "--seed", 7], cwd=tmp_path)
    assert done.code == 0, done.said
    assert " 0 faults" in done.out


@pytest.mark.parametrize("after", ["---\n", "---\n---\n", "--- ~\n", "---\n# nothing\n", "...\n---\n"])
def test_empty_documents_in_a_file_are_passed_over(after):
    task, build = fuzz.TASK.decode(), fuzz.BUILD.decode().removesuffix("---\n")
    assert amend(task + after, Amendment()).text.startswith("apiVersion: tekton.dev/v1")
    assert convert(build + after, strategy="x").text == convert(build, strategy="x").text
