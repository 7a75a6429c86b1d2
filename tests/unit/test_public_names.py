"""The public names: pinned, so that none comes or goes unnoticed."""

import subprocess
import sys

import pytest

import runtimeimg

NAMES = [
    "BuildPlan",
    "BuildSpec",
    "Facts",
    "RunOptions",
    "RunPlan",
    "RuntimeGraph",
    "RuntimeimgError",
    "load_spec",
    "read_graph",
    "render_dockerfile",
    "resolve",
]


def test_the_names_are_these() -> None:
    assert runtimeimg.__all__ == ["__version__", *NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name: str) -> None:
    assert getattr(runtimeimg, name).__module__.startswith("runtimeimg.")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = runtimeimg.nothing


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import runtimeimg, sys; print(sorted(m for m in sys.modules if m.startswith('runtimeimg.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
