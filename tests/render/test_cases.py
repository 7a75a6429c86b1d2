"""Every good case of tests/cases beside the Dockerfile.runtime that it gives; UPDATE_CASES=1 writes them anew."""

import os
import subprocess
import sys
from pathlib import Path

import dockerfile
import pytest

from runtimeimg.errors import UsageError
from runtimeimg.plan import Facts, StampInstructions, resolve
from runtimeimg.render import render_dockerfile, trace
from runtimeimg.spec import load_spec

CASES = Path(__file__).parent.parent / "cases"
GOOD = sorted(path.parent for path in CASES.glob("*/build.yaml") if not (path.parent / "error.txt").exists())
RENDERED = [case for case in GOOD if (case / "Dockerfile.runtime").exists()]
HADOLINT = Path(sys.executable).with_name("hadolint")

# What these rules find fault with was chosen by the spec, not by the renderer: an image without a tag, `latest`, a
# root user, unpinned packages of `run`, label keys with spaces.
OF_THE_SPEC = ("DL3002", "DL3006", "DL3007", "DL3008")


def name(case: Path) -> str:
    return case.name


def outcome(case: Path) -> tuple[str, str]:
    """The file that records a case, and what belongs in it."""
    try:
        return "Dockerfile.runtime", render_dockerfile(resolve(load_spec(case / "build.yaml").spec))
    except UsageError as error:
        return "render-error.txt", f"{error.message}\n{error.hint}\n"


@pytest.mark.parametrize("case", GOOD, ids=name)
def test_a_case_gives_its_dockerfile(case: Path) -> None:
    file, text = outcome(case)
    if os.environ.get("UPDATE_CASES"):
        for other in ("Dockerfile.runtime", "render-error.txt"):
            (case / other).unlink(missing_ok=True)
        (case / file).write_bytes(text.encode())
    recorded = case / file
    assert recorded.exists(), f"{recorded} is not recorded; look at the outcome with UPDATE_CASES=1:\n{text}"
    assert text.encode() == recorded.read_bytes()


def test_there_are_cases() -> None:
    assert len(RENDERED) >= 15


@pytest.mark.parametrize("case", RENDERED, ids=name)
def test_the_trace_agrees_with_the_text_and_its_origins_are_in_the_file(case: Path) -> None:
    loaded = load_spec(case / "build.yaml")
    plan, stamp = resolve(loaded.spec), StampInstructions(labels={"a": "b"}, entrypoint=("/x",), cmd=())
    commands = dockerfile.parse_string(render_dockerfile(plan, stamp=stamp))
    steps = trace(plan, stamp=stamp)
    assert [step.keyword for step in steps] == [command.cmd for command in commands]
    start = loaded.position("")
    assert all(loaded.position(step.origin) > start for step in steps if step.origin)
    copies = [step.origin for step in steps if step.keyword == "COPY"]
    assert len({loaded.position(origin) for origin in copies}) == len(copies)


@pytest.mark.parametrize("case", RENDERED, ids=name)
def test_hadolint_finds_nothing_above_info(case: Path) -> None:
    ignored = [option for rule in OF_THE_SPEC for option in ("--ignore", rule)]
    argv = [HADOLINT, "--no-color", "--failure-threshold", "warning", *ignored, case / "Dockerfile.runtime"]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_proposal_gives_the_instructions_it_shows() -> None:
    """The example of the proposal that the format comes from, with the values of its Dockerfile."""
    spec = load_spec(CASES / "proposal" / "build.yaml").spec
    commands = dockerfile.parse_string(render_dockerfile(resolve(spec, Facts(builder_image="output-image:tag"))))
    found = [(command.cmd, command.flags, command.value) for command in commands]
    assert found == [
        ("FROM", (), ("output-image:tag", "AS", "builder")),
        ("FROM", (), ("runtime-base-image:latest",)),
        ("ENV", (), ("JAVA_HOME", "/path/to/java-home")),
        ("LABEL", (), ("custom-image-label", "value")),
        ("COPY", ("--from=builder",), ("/path/to/directory", "/path/to/directory")),
        ("COPY", ("--from=builder",), ("/path/to/another/directory", "/target/location")),
        ("WORKDIR", (), ("/workspace/source",)),
        ("ENTRYPOINT", (), ("java", "-jar", "...")),
    ]
