"""The wheel carries all it needs: built, installed outside the checkout, and used there."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec: {output: {image: "web:1"}, runtime: {base: {image: scratch}, directories: [/app], entrypoint: [/app/run]}}
"""


@pytest.mark.slow
def test_a_spec_renders_from_an_installed_wheel(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("runtimeimg-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "runtimeimg/templates/Dockerfile.runtime.j2" in names
    assert "runtimeimg/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "samples/"))]
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=120)
    python = home / "bin" / "python"
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", str(wheel)]
    subprocess.run(install, check=True, timeout=300)
    done = subprocess.run(
        [home / "bin" / "runtimeimg", "render", "-"],
        input=SPEC,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert 'COPY --from=builder ["/app", "/app"]' in done.stdout
    where = subprocess.run(
        [python, "-c", "import runtimeimg; print(runtimeimg.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    assert where.stdout.startswith(str(home))
