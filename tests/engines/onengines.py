"""What the tests of this folder share: which engine it is, and images made and looked into by its own API."""

import contextlib
import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable

import docker

KIND = os.environ.get("RUNTIMEIMG_ENGINE", "docker")
"""The engine as scripts/engines calls it; `docker` is this machine's own."""

BASE, APP = "runtimeimg-engines/base:1", "runtimeimg-engines/app:1"

Cli = Callable[..., subprocess.CompletedProcess[str]]


def archive(files: dict[str, bytes | str | None]) -> bytes:
    """A tar archive of files (bytes), symlinks (str) and folders (None)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as made:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            if content is None:
                entry.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
            else:
                entry.size = len(content)
            made.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    return data.getvalue()


def remove(engine: docker.APIClient, name: str) -> None:
    """Remove an image by name, if it is there."""
    with contextlib.suppress(docker.errors.NotFound):
        engine.remove_image(name, force=True)


def files_of(engine: docker.APIClient, image: str, platform: str | None = None) -> dict[str, tuple[object, ...]]:
    """What is in an image, by path: kind, mode, owner, link, contents' hash; as the Engine itself lays it out."""
    container = engine.create_container(image, command=["/none"], platform=platform)["Id"]
    try:
        found = {}
        with tarfile.open(fileobj=io.BytesIO(b"".join(engine.export(container))), mode="r:") as exported:
            for member in exported:
                reader = exported.extractfile(member) if member.isreg() else None
                content = hashlib.sha256(reader.read()).hexdigest() if reader else ""
                found[member.name] = (member.type, member.mode, member.uid, member.gid, member.linkname, content)
        return found
    finally:
        engine.remove_container(container, force=True)
