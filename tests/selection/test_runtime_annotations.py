"""docs/runtime-annotations.md: each line names a test that there is; and what no other test shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.indexes.command import done
from tests.selection.test_choice import GPU
from tests.selection.test_select import digests, variants
from tests.stores import made

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "runtime-annotations.md").read_text("utf-8")
ROWS = re.findall(r"^\| (?!requirement \||rule \||---)(.+?) \| (.+?) \| `(\S+?)::(\S+)` \|$", PAGE, re.MULTILINE)
RULES = re.findall(r"^\| .*::.*$", PAGE.partition("## Image authors")[0], re.MULTILINE)
PROPOSED = 43
"""Requirements of the proposal, of all roles, with those within others."""


def test_each_requirement_has_a_line_with_a_test_that_there_is() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    heads = [line for line in lines if line.endswith("| met by | test |")]
    assert len(ROWS) == len(lines) - len(heads)
    assert len(ROWS) - len(RULES) == PROPOSED
    for _, _, file, name in ROWS:
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), name


def picked(tmp_path: Path, key: str, fact: str, values: tuple[str, str], host: str) -> int:
    """Which of three entries a host gets: one for each value, and one for all."""
    index = variants(("linux/amd64", {key: values[0]}), ("linux/amd64", {key: values[1]}), ("linux/amd64", {}))
    made.write(f"oci:{tmp_path}/layout:1", index)
    (tmp_path / "host.yaml").write_text(f"platform: linux/amd64\nfacts: {{{fact}: {host}}}")
    (tmp_path / "mapping.yaml").write_text(f"rules: [{{annotation: {key}, fact: {fact}, weight: 1}}]")
    options = ("--host", tmp_path / "host.yaml", "--mapping", tmp_path / "mapping.yaml")
    return digests(index).index(done("index", "select", f"oci:{tmp_path}/layout:1", *options))


def test_entries_for_processors_of_different_makers(tmp_path: Path) -> None:
    values = ("GenuineIntel", "AuthenticAMD")
    for host, place in (("GenuineIntel", 0), ("AuthenticAMD", 1), ("HygonGenuine", 2)):
        assert picked(tmp_path, "com.example.maker", "cpu.vendor", values, host) == place


def test_entries_for_runtimes(tmp_path: Path) -> None:
    values = ("nvidia", "wasmtime")
    for host, place in (("[runc, nvidia]", 0), ("[runc, wasmtime]", 1), ("[runc, crun]", 2)):
        assert picked(tmp_path, "com.example.runtime", "runtime.names", values, host) == place


def test_the_example_in_python(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "choosing.md").read_text("utf-8"), re.DOTALL)
    raw = GPU.raw.replace(b'"com.example.gpu":"b"', b'"com.example.gpu":"example-gpu-model"')
    (tmp_path / "index.json").write_bytes(raw)
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.stdout.splitlines(), found.stderr) == (["0 0 False", "1 0 False", "2 10 True"], "")


@pytest.mark.registry
def test_annotations_never_reach_how_an_image_is_run(registry: str) -> None:
    hostile = {
        "com.example.gpu": "a",
        "privileged": "true",
        "run.oci.keep_original_groups": "1",
        "io.kubernetes.cri-o.userns-mode": "host",
        "dev.runtimeimg.gpu.vendor": "nvidia",
    }
    index = variants(("linux/amd64", {}), ("linux/amd64", hostile))
    where = f"docker://{registry}/selection/hostile:1"
    made.write(where, index)
    platform = ("--platform", "linux/amd64")
    asked, plain = (
        yaml.safe_load(done("export", where, "--to", "pod", "--no-context", *platform, *options))
        for options in (("--prefer", "com.example.gpu"), ())
    )
    assert asked["spec"]["containers"][0].pop("image").endswith(f"@{digests(index)[1]}")
    assert plain["spec"]["containers"][0].pop("image").endswith("/selection/hostile:1")
    assert asked == plain
