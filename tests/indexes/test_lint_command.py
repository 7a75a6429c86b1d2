"""`index lint` on indexes of a real registry: what is fetched, what is printed in each form, the exit codes."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Descriptor, Index, Platform
from tests.indexes.command import done, run
from tests.selection.elves import image_of, isa, program
from tests.stores import made


def listed(*entries: tuple[Image, Platform, Mapping[str, str]]) -> ImageIndex:
    """Return an index of images, each with the platform and annotations that its entry is to have."""
    descriptors = []
    for image, platform, annotations in entries:
        whole = image.to_manifest().descriptor
        descriptors.append(
            Descriptor(
                media_type=whole.media_type,
                digest=whole.digest,
                size=whole.size,
                platform=platform,
                annotations=annotations,
            )
        )
    children = {image.to_manifest().digest: image for image, _, _ in entries}
    return ImageIndex(index=Index.of(descriptors), open_manifest=lambda entry: children[entry.digest], name="listed")


AMD64, ARM64, V3 = map(Platform.parse, ("linux/amd64", "linux/arm64", "linux/amd64/v3"))
V3_LIBRARY = program(properties=isa(3))


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    """An index with mistakes that its document shows, and some that only its images show."""
    where = f"oci:{tmp_path / 'layout'}:1"
    needs_v3 = image_of({"lib/libc.so.6": V3_LIBRARY, "opt/glibc-hwcaps/x86-64-v4/a.so": program(properties=isa(4))})
    other = image_of({"bin/app": program("amd64")}, arch="amd64")
    index = listed((needs_v3, AMD64, {}), (needs_v3, V3, {"gpu": "x"}), (other, ARM64, {}))
    made.write(where, index)
    return where


def test_layers_are_only_read_when_asked_for(wrong: str) -> None:
    def rules(*options: str) -> list[str]:
        said = run("index", "lint", wrong, "--format", "json", *options)
        assert said.code == 10, said.err
        return [item["rule"] for item in json.loads(said.out)["findings"]]

    assert rules("--index-only") == ["INDEX-001"]
    assert rules() == ["INDEX-001", "INDEX-018"]
    assert rules("--look-inside") == ["INDEX-001", "INDEX-018", "INDEX-020", "INDEX-021"]
    assert rules("--look-inside", "--severity", "error") == ["INDEX-018", "INDEX-020", "INDEX-021"]
    assert rules("--look-inside", "--ignore", "INDEX-001", "--ignore", "INDEX-018") == ["INDEX-020", "INDEX-021"]


def test_the_table_says_where_what_and_what_to_do(wrong: str) -> None:
    said = run("index", "lint", wrong, "--look-inside")
    lines = said.out.splitlines()
    assert said.code == 10
    assert lines[-1] == "3 error, 1 warning"
    at = next(number for number, line in enumerate(lines) if "INDEX-020" in line)
    assert lines[at].split() == ["error", "INDEX-020", "manifests[0].platform.variant"]
    assert "v3 is needed by '/lib/libc.so.6'" in lines[at + 1]
    assert "give the entry the variant v3" in lines[at + 2]


def test_sarif_and_markdown_are_written(wrong: str) -> None:
    log = json.loads(run("index", "lint", wrong, "--format", "sarif").out)
    assert [item["ruleId"] for item in log["runs"][0]["results"]] == ["INDEX-001", "INDEX-018"]
    markdown = run("index", "lint", wrong, "--format", "markdown")
    assert markdown.code == 10
    assert markdown.out.startswith("1 error, 1 warning\n\n| severity |")


@pytest.mark.registry
def test_a_good_index_of_a_registry_has_nothing_to_be_said_of(registry: str) -> None:
    where = f"docker://{registry}/lint/good:1"
    generic, special = image_of({"bin/a": program(properties=isa(1))}), image_of({"bin/a": V3_LIBRARY})
    arm = image_of({"bin/a": program("arm64")}, arch="arm64")
    made.write(where, listed((generic, AMD64, {}), (special, V3, {}), (arm, ARM64, {})))
    assert done("index", "lint", where, "--look-inside", "--severity", "info") == "nothing found"
    assert done("index", "lint", f"{registry}/lint/good:1", "--format", "json", "--index-only") == json.dumps(
        {"findings": [], "counts": {"error": 0, "warning": 0, "info": 0}}, indent=2
    )


def test_wrong_options_are_refused(wrong: str) -> None:
    both = run("index", "lint", wrong, "--index-only", "--look-inside")
    assert (both.code, both.err.count("contradict")) == (2, 1)
    unknown = run("index", "lint", wrong, "--ignore", "INDEX-5")
    assert unknown.code == 2
    assert "rule 'INDEX-5' is not known; did you mean 'INDEX-0" in unknown.err
    small = run("index", "lint", wrong, "--index-only", "--budget", "100", "--format", "json")
    assert "INDEX-010" in small.out


def test_a_missing_index_is_named(tmp_path: Path) -> None:
    assert run("index", "lint", f"oci:{tmp_path}:1").code == 3
