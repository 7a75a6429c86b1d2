"""buildah, driven through its command line, in a storage of its own so that the user's is never touched."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from runtimeimg import locks, process, remains
from runtimeimg.builders import context
from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.commandline import build_arguments, context_file, run_build
from runtimeimg.builders.docker.images import named_images
from runtimeimg.builders.globs import refuse_twice_read
from runtimeimg.builders.shell import require_shell
from runtimeimg.cache import Cache
from runtimeimg.compose.lookup import has_file
from runtimeimg.errors import BuildFailed, NotFoundError, RemoteError, UnavailableError
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.render import render_dockerfile
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.engine import Engine
from runtimeimg.stores.engine.images import engine_name, inspect
from runtimeimg.stores.engine.refusals import pull_refusal
from runtimeimg.stores.layout import LayoutSource
from runtimeimg.stores.missing import named, nowhere
from runtimeimg.stores.registry.http import may_be_plain
from runtimeimg.stores.registry.places import push_place

_TAG = "runtimeimg"


class BuildahBuilder:
    """Builds Dockerfile.runtime with buildah; images are taken from the Engine where it has them, else pulled.

    The storage with the pulled images is kept in the request's cache folder; builds that share it wait for each
    other. `BUILDAH_RUNTIME`, `BUILDAH_ISOLATION` and buildah's other variables are passed on.
    """

    name: ClassVar[str] = "buildah"

    def check(self, request: BuildRequest) -> None:
        """Raise UnavailableError when there is no buildah, UsageError for a plan that a Dockerfile cannot say."""
        if process.find("buildah", request.stores.environ.get("PATH")) is None:
            raise UnavailableError("program 'buildah' is not installed", hint="apt-get install buildah")
        render_dockerfile(request.plan)

    def build(self, request: BuildRequest) -> AbstractContextManager[Image]:
        """Return a context whose value is the built image."""
        return _build(request)


@contextlib.contextmanager
def _build(request: BuildRequest) -> Iterator[Image]:
    with remains.folder(request.stores.environ.get("TMPDIR")) as folder:
        # Other builds, of this process too, wait for the storage no longer than it is at work.
        with _storage(request, folder) as buildah:
            _build_and_push(request, buildah, folder)
        location = Location(transport="oci", path=str(folder / "layout"), tag=_TAG)
        image = LayoutSource(location, request.stores).open()
        if not isinstance(image, Image):
            raise RemoteError("buildah wrote an index where an image was expected")
        require_shell(image, request)
        _refuse_file_to_work_in(image, request)
        yield image


def _build_and_push(request: BuildRequest, buildah: list[str], folder: Path) -> None:
    """Build the image and write it into the layout in `folder`."""
    refuse_twice_read(request)
    for location in named_images(request):
        with named(request.plan.role(location), location):
            _fetch(buildah, location, request)
    argv = [*buildah, "bud", "--format", "oci", "--identity-label=false"]
    argv += ["--pull=false", "--no-cache", "--force-rm"]
    argv += ["--iidfile", str(folder / "id"), *build_arguments(request)]
    with context_file(request) as file:
        run_build(request, [*argv, "--file", context.DOCKERFILE, "-"], file, request.stores.environ)
    image_id = (folder / "id").read_text().strip()
    _checked([*buildah, "push", "--quiet", image_id, f"oci:{folder / 'layout'}:{_TAG}"], request.stores)


def _refuse_file_to_work_in(image: Image, request: BuildRequest) -> None:
    """Raise BuildFailed where `workDir` is a file, as every other builder does: buildah 1.28 takes it."""
    path = request.plan.work_dir
    if path is None:
        return
    cache = None if request.no_cache else Cache.open(request.cache_dir)
    if has_file(image, path, cache=cache, account=request.stores.account):
        raise BuildFailed(f"{request.place('spec.runtime.workDir')}: '{path}' is a file, no folder to work in")


@contextlib.contextmanager
def _storage(request: BuildRequest, scratch: Path) -> Iterator[list[str]]:
    """Yield the buildah command with a storage; the containers and images of this build are gone afterwards."""
    root = request.cache_dir / "buildah" if request.cache_dir else scratch / "storage"
    root.mkdir(parents=True, exist_ok=True)
    buildah = ["buildah", "--root", str(root / "root"), "--runroot", str(root / "run")]
    with locks.locked(root / "lock", None, request.stores.progress.line):
        try:
            yield buildah
        finally:
            process.run([*buildah, "rm", "--all"], env=request.stores.environ)
            process.run([*buildah, "rmi", "--prune", "--force"], env=request.stores.environ)
            if request.cache_dir is None:
                process.run([*buildah, "rmi", "--all", "--force"], env=request.stores.environ)
                shutil.rmtree(root, ignore_errors=True)


def _fetch(buildah: list[str], location: Location, request: BuildRequest) -> None:
    """Bring an image into the storage: from the Engine where that has it, else from its registry."""
    assert location.reference is not None
    if location.transport in (None, "docker-daemon") and _in_engine(location, request.stores):
        source = f"docker-daemon:{location.reference.tagged}"
    elif location.transport == "docker-daemon":
        raise NotFoundError(f"image '{engine_name(location)}' is not in the Docker Engine")
    else:
        source = f"docker://{location.reference.tagged}"
    argv = [*buildah, "pull", "--quiet"]
    # What the Engine calls by this name may have changed; a registry's image is pulled as the policy says.
    local = source.startswith("docker-daemon:")
    argv += ["--policy", "always" if local else request.pull]
    argv += [f"--authfile={request.stores.authfile}"] if request.stores.authfile else []
    if not local and may_be_plain(push_place(location.reference, request.stores)):
        argv.append("--tls-verify=false")
    request.stores.progress.line(f"fetching {source}")
    try:
        _checked([*argv, source], request.stores)
    except RemoteError as error:
        refused = pull_refusal(error.message.removeprefix("buildah: "), location.reference, "buildah")
        if location.transport is None:
            refused = nowhere(refused, location, NotFoundError(""))
        raise refused from error


def _in_engine(location: Location, stores: StoreOptions) -> bool:
    try:
        with Engine.connect(stores) as engine:
            return inspect(engine, engine_name(location)) is not None
    except UnavailableError:
        return False


def _checked(argv: list[str], stores: StoreOptions) -> None:
    code, said = process.run(argv, env=stores.environ)
    if code:
        last = said.strip().splitlines()[-1:] or [f"exit code {code}"]
        raise RemoteError(f"buildah: {last[0].removeprefix('Error: ')}")
