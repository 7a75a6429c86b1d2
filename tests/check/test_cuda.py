"""DATA-003: NVIDIA's CUDA runtime, without what its builder image requires of the driver, fails when it is used.

No machine with a card is needed for that: there is no driver, or one of our own making that only says its version.
What refuses an image beforehand is NVIDIA's container runtime, which Debian does not have: NVIDIA_CONTAINER_RUNTIME
names the program, and `scripts/test -m nvidia` runs those tests, which are left out unless they are asked for.
"""

import os
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from runtimeimg.account import Account
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.view import View
from runtimeimg.findings import Severity
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_one
from tests.check.conftest import Start
from tests.check.images import Files, Put, found, image
from tests.check.objects import library, program, static
from tests.containerd import containerd
from tests.stores.made import write

PYTHON, BUILDER = "runtimeimg-samples/python-redis:3.11", "runtimeimg-test-check/cuda:1"
DOCKERFILE = """
FROM runtimeimg-samples/python-redis:3.11
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir --no-deps --only-binary :all: --target /opt/cuda nvidia-cuda-runtime-cu12==12.9.79
ENV NVIDIA_REQUIRE_CUDA=cuda>=12.9
"""
CUDART = "/opt/cuda/nvidia/cuda_runtime/lib/libcudart.so.12"
REQUIRED = "NVIDIA_REQUIRE_CUDA=cuda>=12.9"
LOST = ("DATA-003", Severity.WARNING)
KNOWN = ("DATA-003", Severity.INFO)
MAIN = f"""
import ctypes
print("started", flush=True)
cuda = ctypes.CDLL("{CUDART}")
cuda.cudaGetErrorString.restype = ctypes.c_char_p
error = cuda.cudaGetDeviceCount(ctypes.byref(ctypes.c_int()))
raise SystemExit(cuda.cudaGetErrorString(error).decode() if error else 0)
"""


def opened(name: str) -> Image:
    return open_one(Location.parse(f"docker-daemon:{name}"), None, StoreOptions())


def said(made: Image, builder: Image, base: Image | None = None) -> list[tuple[str, Severity]]:
    findings = found(made, builder=builder, base=base, least=Severity.INFO)
    return [(item.rule.id, item.rule.severity) for item in findings]


@pytest.fixture
def builder(samples: Path) -> Image:
    del samples
    words = ["docker", "build", "--network", "host", "-t", BUILDER, "-"]  # kept, so that the next run builds nothing
    built = subprocess.run(words, input=DOCKERFILE.encode(), capture_output=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return opened(BUILDER)


@pytest.mark.engine
def test_cuda_without_its_requirement_fails_after_the_start(builder: Image, start: Start) -> None:
    base = opened(PYTHON)
    base = replace(base, config=base.config.with_config(Cmd=None))
    with Reader(cache=None, account=Account()) as reader:
        view = View(builder, reader)
        file = view.file(CUDART)
        assert file is not None
        files: Files = {CUDART: Put(data=view.read(file, 1 << 20)), "/app/main.py": MAIN.encode()}
    python = ["/usr/bin/python3.11", "/app/main.py"]
    lost = image(files, base=base, Entrypoint=python)
    kept = image(files, base=base, Entrypoint=python, Env=[*base.config.config.get("Env", []), REQUIRED])
    without = image({"/app/main.py": b"print('started')"}, base=base, Entrypoint=python)
    assert [said(made, builder, base) for made in (lost, kept, without)] == [[LOST], [], [KNOWN]]
    code, told = start(lost)
    assert (code, told) == (1, "started\nCUDA driver version is insufficient for CUDA runtime version\n")
    assert start(without) == (0, "started\n")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/opt/lib/libcudart.so.12": library("libcudart.so.12")}, LOST),
        ({"/opt/app": Put(data=program("libcublas.so.12"))}, LOST),
        ({"/opt/app": Put(data=static() + bytes(4 << 20) + b"\0libcuda.so.1\0")}, LOST),
        ({"/opt/app": Put(data=static() + bytes((4 << 20) - len(static()) - 5) + b"libcuda.so.1")}, LOST),
        ({"/opt/app": Put(data=program("libcurl.so.4"))}, KNOWN),
        ({"/opt/app.py": b"open('libcuda.so.1')"}, KNOWN),
        ({"/opt/app": Put(data=b"#!/bin/sh\n# libcuda.so.1\n")}, KNOWN),
    ],
)
def test_what_needs_the_driver(files: Files, expected: tuple[str, Severity]) -> None:
    builder = image({"/x": b""}, Env=[REQUIRED])
    app = {"/app/run": Put(data=static())}
    start = {"Entrypoint": ["/app/run"]}
    assert said(image({**app, **files}, **start), builder) == [expected]
    assert said(image({**app, **files}, **start, Env=[REQUIRED]), builder) == []
    assert said(image({**app, **files}, **start, Env=["NVIDIA_REQUIRE_CUDA=cuda>=11.0"]), builder) == [expected]


DRIVER = library("libcuda.so.1", exports="cuDriverGetVersion", code=bytes.fromhex("c707 202b0000 31c0"))
"""It says 11040, which is 11.4, wherever it is asked for its version."""
SETTINGS = '[nvidia-container-runtime]\nmode = "csv"\nruntimes = ["runc"]\n'


@pytest.mark.nvidia
@pytest.mark.ctr
@pytest.mark.mounts
def test_nvidias_runtime_refuses_what_the_driver_is_too_old_for(tmp_path: Path) -> None:
    """With CUDA 12.9 over a driver of 11.4: the image that lost what it requires is started, the other refused."""
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver/libcuda.so.1").write_bytes(DRIVER)
    (tmp_path / "nvidia-container-runtime").mkdir()
    (tmp_path / "nvidia-container-runtime/config.toml").write_text(SETTINGS)
    before = ("env", f"XDG_CONFIG_HOME={tmp_path}", f"LD_LIBRARY_PATH={tmp_path / 'driver'}")
    builder = image({"/x": b""}, Env=[REQUIRED])
    files: Files = {"/app/run": Put(data=static()), "/opt/lib/libcudart.so.12": library("libcudart.so.12")}
    with containerd(tmp_path, before=before) as ctr:
        for name, env, expected, words in (
            ("lost", [], [LOST], ""),
            ("kept", [REQUIRED], [], "requirements not met: unsatisfied condition: cuda>=12.9 (cuda=11.4)"),
        ):
            made = image(files, Entrypoint=["/app/run"], Env=["NVIDIA_VISIBLE_DEVICES=all", *env])
            assert said(made, builder) == expected
            write(f"oci-archive:{tmp_path}/image.tar:check.test/{name}:1", made)
            imported = ctr("images", "import", "--snapshotter", "native", tmp_path / "image.tar")
            assert imported.returncode == 0, imported.stderr
            options = ["--rm", "--snapshotter", "native", "--runc-root", tmp_path / "runc", "--cgroup", ""]
            options += ["--runc-binary", os.environ["NVIDIA_CONTAINER_RUNTIME"]]
            ran = ctr("run", *options, f"check.test/{name}:1", uuid.uuid4().hex)
            assert (ran.returncode != 0, words in ran.stderr) == (bool(words), True), ran.stderr
