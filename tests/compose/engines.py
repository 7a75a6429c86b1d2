"""The real builders as oracles: the same copies by a Docker Engine, classic and BuildKit, and trees to compare."""

import contextlib
import hashlib
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from docker.errors import APIError

from .images import TIME

# A docker client with BuildKit built in; a newer one without its plugin may come first on PATH.
DOCKER = next((path for path in ("/usr/bin/docker", "docker") if Path(path).exists()), "docker")


class FailedError(Exception):
    pass


@dataclass(frozen=True)
class Found:
    """A file as it is in a container. `time` is None where it is not one of the test's own."""

    kind: str
    mode: int
    uid: int
    gid: int
    content: str
    link: str
    xattrs: tuple[str, ...]
    time: int | None


def build(dockerfile: str, tag: str, *, buildkit: bool) -> None:
    """Build a Dockerfile without context; raise FailedError with the output.

    BuildKit of Docker 20.10 sometimes gives up on many copies out of one image at once, with a message of its own that
    tells nothing of the copies; it is asked again then.
    """
    for _ in range(5):
        done = subprocess.run(
            [DOCKER, "build", "-q", "--no-cache", "-t", tag, "-"],
            input=dockerfile.encode(),
            env={**os.environ, "DOCKER_BUILDKIT": "1" if buildkit else "0"},
            capture_output=True,
            check=False,
        )
        output = (done.stderr or done.stdout).decode(errors="replace")
        if done.returncode == 0 or "flightcontrol: exceeded retry timeout" not in output:
            break
    if done.returncode:
        raise FailedError(output)


def build_by_buildah(dockerfile: str, tag: str, layout: Path, images: dict[str, str], folder: Path) -> None:
    """Build a Dockerfile with a storage of its own in `folder`, bring the image into the Engine, remove the storage.

    `images` are the names that the Dockerfile uses, by their tags in `layout`.
    """
    store = f"overlay@{folder / 'root'}+{folder / 'run'}"
    buildah = ["buildah", "--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "overlay"]
    try:
        for name, image in images.items():
            target = f"containers-storage:[{store}]{image}"
            subprocess.run(["skopeo", "copy", "-q", f"oci:{layout}:{name}", target], check=True, capture_output=True)
        build = [*buildah, "bud", "-q", "--pull-never", "--layers=false", "-t", "made", "-f", "-", layout]
        done = subprocess.run(build, input=dockerfile.encode(), capture_output=True, check=False)
        if done.returncode:
            raise FailedError(done.stderr.decode(errors="replace"))
        subprocess.run([*buildah, "push", "-q", "made", f"docker-daemon:{tag}"], check=True, capture_output=True)
    finally:
        subprocess.run([*buildah, "rmi", "--all", "--force"], check=True, capture_output=True)


def remove(engine, prefix: str) -> None:
    """Remove the images whose names begin with `prefix`, and what builds that failed left on top of them."""
    images = {image["Id"]: image for image in engine.images(all=True)}
    mine = [key for key, image in images.items() if any(tag.startswith(prefix) for tag in image["RepoTags"] or [])]
    for key in mine:
        mine += [other for other, image in images.items() if image["ParentId"] == key and other not in mine]
    for tag in [tag for key in mine for tag in images[key]["RepoTags"] or [] if tag.startswith(prefix)]:
        with contextlib.suppress(APIError):
            engine.remove_image(tag)
    for key in reversed(mine):
        with contextlib.suppress(APIError):  # it went with the one before
            engine.remove_image(key)


def import_layout(layout: Path, name: str, tag: str) -> None:
    """Bring an image of an OCI layout into the Engine."""
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{layout}:{name}", f"docker-daemon:{tag}"], check=True, capture_output=True
    )


def tree(engine, tag: str, top: Collection[str] | None = None) -> dict[str, Found]:
    """Return the files of an image, those below the folders `top` if they are given, as a container of it has them."""
    links: dict[str, list[str]] = {}
    found: dict[str, tarfile.TarInfo] = {}
    digests: dict[str, str] = {}
    with _exported(engine, tag) as data, tarfile.open(fileobj=data, errors="surrogateescape") as archive:
        for info in archive:
            if top is not None and info.name.split("/")[0] not in top:
                continue
            found[info.name] = info
            links.setdefault(info.linkname if info.islnk() else info.name, []).append(info.name)
            if info.isreg():
                digests[info.name] = hashlib.sha256(archive.extractfile(info).read()).hexdigest()
    groups = {name: min(names) for names in links.values() for name in names}
    firsts = {name: first for first, names in links.items() for name in names}
    return {name: _found(info, found[firsts[name]], groups[name], digests) for name, info in found.items()}


@contextlib.contextmanager
def _exported(engine, tag: str) -> Iterator[IO[bytes]]:
    """Yield the tar archive of a container's files."""
    container = engine.create_container(tag, ["x"])["Id"]
    try:
        with tempfile.TemporaryFile() as file:
            for piece in engine.export(container):
                file.write(piece)
            file.seek(0)
            yield file
    finally:
        engine.remove_container(container)


def _found(info: tarfile.TarInfo, first: tarfile.TarInfo, group: str, digests: dict[str, str]) -> Found:
    mtime = int(info.mtime)
    return Found(
        kind="f" if first.isreg() else info.type.decode(),
        mode=info.mode & 0o7777,
        uid=info.uid,
        gid=info.gid,
        content=digests.get(first.name, ""),
        link=info.linkname if info.issym() else group if first.isreg() else "",
        xattrs=tuple(sorted(key for key in first.pax_headers if key.startswith("SCHILY.xattr."))),
        time=mtime if mtime == TIME else None,
    )


Normal = Callable[[str, Found, Found], tuple[Found, Found]]


def differences(ours: dict[str, Found], theirs: dict[str, Found], normal: Normal = lambda _, *both: both) -> list[str]:
    """Return what differs, a line a path; `normal` leaves out what need not be the same.

    An engine gives folders that it changed the time of the build; ours keep the time that they had.
    """
    lines = []
    for name in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(name), theirs.get(name)
        if one is not None and other is not None:
            if other.kind == "5" and other.time is None:
                one = replace(one, time=None)
            one, other = normal(name, one, other)
        if one != other:
            lines.append(f"{name!r}: {one} / {other}")
    return lines


def copy_lines(copies: Iterable[tuple[str, str, str | None]], source: str) -> str:
    """Return COPY instructions in the JSON form, which takes any name."""
    import json

    return "".join(
        f"COPY --from={source} {f'--chown={chown} ' if chown else ''}{json.dumps([path, destination])}\n"
        for path, destination, chown in copies
    )
