"""The samples' base and builder images, made once a session."""

import subprocess
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of the samples, with their base and builder images on the Engine."""
    built = subprocess.run([SAMPLES / "build-images"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return SAMPLES
