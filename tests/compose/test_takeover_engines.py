"""Layers that engines packed are taken over as they are, and engines take the result."""

import hashlib
import json
import os
import subprocess
import sys
import uuid

import pytest

from tests.stores.made import write

from . import engines
from .images import MemoryLayer, file, image, tar
from .test_sparse import prose
from .test_splice import Text

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.skopeo, pytest.mark.slow]

DOCKERFILE = """FROM {registry}/debian:bookworm-slim
RUN cp -a /usr /app && chown -R games:games /app/share/doc
"""
SPEC = """apiVersion: runtimeimg.dev/v1
kind: Build
metadata: {{name: taken}}
spec:
  builder: {{image: "docker://{registry}/{name}/builder:1"}}
  runtime:
    base: {{image: "docker://{registry}/debian:bookworm-slim"}}
    directories: [/app]
    entrypoint: [/app/bin/diff, -r, --no-dereference, /usr, /app]
"""


def by_buildah(tag: str, registry: str, folder) -> None:
    buildah = ["buildah", "--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "vfs"]
    try:
        for command in (
            ["bud", "-q", "--isolation", "chroot", "--tls-verify=false", "-t", tag, "-f", "-", folder],
            ["push", "-q", "--tls-verify=false", tag],
        ):
            dockerfile = DOCKERFILE.format(registry=registry).encode()
            subprocess.run([*buildah, *command], input=dockerfile, check=True, capture_output=True)
    finally:
        subprocess.run([*buildah, "rmi", "--all", "--force"], check=True, capture_output=True)


def test_engines_unpack_blocks_from_any_bit_to_any_bit(engine, registry, tmp_path):
    """A layer for each bit: gzip as it is read by Go."""
    tag = f"{registry}/taken-{uuid.uuid4().hex[:8]}/bits:1"
    texts = [prose(bit, 3_000_000) for bit in range(8)]
    layers = []
    for bit, text in enumerate(texts):
        made, blob = Text(tar([file(f"text{bit}", text)])).spliced(bit)
        layers.append(MemoryLayer(blob, diff_id=made.diff_id))
    try:
        write(f"docker://{tag}", image("bits", *layers))
        subprocess.run([engines.DOCKER, "pull", "-q", tag], check=True, capture_output=True)
        found = engines.tree(engine, tag)
        assert [found[f"text{bit}"].content for bit in range(8)] == [hashlib.sha256(text).hexdigest() for text in texts]
        layout = f"oci:{tmp_path / 'layout'}:1"
        copied = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{tag}", layout, "--dest-decompress"]
        subprocess.run(copied, check=True, capture_output=True)  # by another library, which checks each digest
    finally:
        engines.remove(engine, tag)


@pytest.mark.parametrize("builder", ["docker", "buildkit", pytest.param("buildah", marks=pytest.mark.buildah)])
def test_what_an_engine_packed_is_taken_over_and_starts(engine, registry, tmp_path, builder):
    name = f"{registry}/taken-{uuid.uuid4().hex[:8]}"
    tag = f"{name}/builder:1"
    try:
        if builder == "buildah":
            by_buildah(tag, registry, tmp_path)
            subprocess.run([engines.DOCKER, "pull", "-q", tag], check=True, capture_output=True)
        else:
            engines.build(DOCKERFILE.format(registry=registry), tag, buildkit=builder == "buildkit")
            subprocess.run([engines.DOCKER, "push", "-q", tag], check=True, capture_output=True)
        spec, metadata = tmp_path / "build.yaml", tmp_path / "metadata.json"
        spec.write_text(SPEC.format(registry=registry, name=name.removeprefix(f"{registry}/")))
        command = [sys.executable, "-m", "runtimeimg", "build", spec, "-t", f"{name}/made:1", "--push"]
        command += ["--builder", "native", "--metadata-file", metadata]
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        moved = json.loads(metadata.read_text())["moved"]
        # Those of buildah are in another order wherever a folder has a file beside it whose name goes on with a dot.
        assert builder == "buildah" or moved["takenBytes"] > moved["uploadedBytes"] / 3
        subprocess.run([engines.DOCKER, "pull", "-q", f"{name}/made:1"], check=True, capture_output=True)
        ours, theirs = (engines.tree(engine, image, ["app"]) for image in (f"{name}/made:1", tag))
        assert len(ours) > 2000
        assert engines.differences(ours, theirs) == []
        started = subprocess.run([engines.DOCKER, "run", "--rm", f"{name}/made:1"], capture_output=True, check=False)
        assert (started.returncode, started.stdout) == (0, b"")
    finally:
        engines.remove(engine, name)
