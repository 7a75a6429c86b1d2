"""The images that a Docker build starts from: there or pulled, and looked into before the build begins."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.shell import SHELL, no_shell
from runtimeimg.errors import NotFoundError, RemoteError, TransientError
from runtimeimg.oci import Location, Platform
from runtimeimg.progress import Progress
from runtimeimg.spec import patterns
from runtimeimg.stores.engine import Engine
from runtimeimg.stores.engine.images import engine_name, inspect, unpacked_size
from runtimeimg.stores.engine.refusals import pull_refusal
from runtimeimg.stores.engine.unfinished import new_label, noted
from runtimeimg.stores.missing import named, nowhere

_MOVING = frozenset({"Downloading", "Extracting"})
_LAYER_DONE = frozenset({"Pull complete", "Already exists"})


def named_images(request: BuildRequest) -> tuple[Location, ...]:
    """Return the images that the Engine must have: the base and those that copies read."""
    plan = request.plan
    found = [plan.base] if plan.base is not None else []
    return tuple(dict.fromkeys([*found, *(image for image in plan.images if image.transport != "dir")]))


def fetch(engine: Engine, request: BuildRequest) -> None:
    """Pull the images that the request's policy wants pulled; NotFoundError for one that is not to be had."""
    for image in named_images(request):
        with named(request.plan.role(image), image):
            _fetch(engine, image, request)


def _fetch(engine: Engine, image: Location, request: BuildRequest) -> None:
    name = engine_name(image)
    found = inspect(engine, name)
    fits = found is not None and _fits(found, request.engine_platform)
    if found is not None:
        request.stores.account.saw(str(image), unpacked_size(found))
    local_only = image.transport == "docker-daemon" or image.image_id is not None
    if fits and (request.pull != "always" or local_only):
        return
    absent = NotFoundError(
        f"image '{name}' for {request.engine_platform} is not in the Docker Engine"
        if found is not None
        else f"image '{name}' is not in the Docker Engine",
        hint=None if local_only else "pulling is turned off",
    )
    if local_only or request.pull == "never":
        raise absent
    try:
        _pull(engine, image, request)
    except (NotFoundError, RemoteError, TransientError) as refused:
        raise nowhere(refused, image, absent) if image.transport is None and found is None else refused from refused


def preflight(engine: Engine, request: BuildRequest) -> None:
    """Refuse a plan that copies from an image what is not in it; NotFoundError names all that is missing.

    Only literal paths are looked up; what a pattern finds is left to the build.
    """
    missing: list[str] = []
    for image in request.plan.images:
        copies = [copy for copy in request.plan.copies if copy.image == image]
        wanted = {copy.origin: patterns.literal_path(copy.source) for copy in copies}
        if image.transport == "dir" or not any(wanted.values()):
            continue
        name = engine_name(image)
        with _opened(engine, name) as container:
            missing += [
                f"{request.place(origin)}: '{path}' is not in image '{name}'"
                for origin, path in wanted.items()
                if path is not None and not _has(engine, container, path)
            ]
    if missing:
        raise NotFoundError("\n".join(missing))


def require_shell(engine: Engine, image_id: str, request: BuildRequest) -> None:
    """Refuse a result without `/bin/sh` when the plan has daemons: a small script starts them."""
    with _opened(engine, image_id) as container:
        if not _has(engine, container, SHELL):
            raise no_shell(request)


def _fits(found: Mapping[str, Any], platform: Platform | None) -> bool:
    if platform is None:
        return True
    is_for = Platform.from_json(
        {"os": found.get("Os"), "architecture": found.get("Architecture"), "variant": found.get("Variant") or ""}
    )
    return is_for is not None and is_for.matches(platform)


def _pull(engine: Engine, image: Location, request: BuildRequest) -> None:
    assert image.reference is not None
    reference = image.reference.tagged
    headers = engine.login_header(reference)
    try:
        response = engine.call(
            "POST",
            "/images/create",
            params={
                "fromImage": f"{reference.familiar.partition('@')[0].removesuffix(f':{reference.tag}')}",
                "tag": str(reference.digest) if reference.digest else reference.tag,
                "platform": str(request.engine_platform) if request.engine_platform else None,
            },
            headers=headers,
            patient=True,
        )
    except (NotFoundError, RemoteError, TransientError) as error:
        raise pull_refusal(error.message.removeprefix("engine: "), reference, "the Engine") from error
    request.stores.progress.line(f"pulling {reference.familiar}")
    for message in engine.messages(response):
        request.stores.progress.event(message)
        if said := message.get("error"):
            raise pull_refusal(str(said), reference, "the Engine")
        _show(request.stores.progress, message, reference.familiar)


def _show(progress: Progress, message: Mapping[str, Any], name: str) -> None:
    """Pass a message of a pull on: bytes of a layer as a transfer, everything else as a line."""
    status, layer, detail = message.get("status"), message.get("id"), message.get("progressDetail")
    if status in _LAYER_DONE:
        progress.line(f"{layer}: {status}")
    elif status not in _MOVING or not isinstance(detail, Mapping):
        progress.line(f"{name}: {status}" if layer is None else f"{layer}: {status}")


@contextlib.contextmanager
def _opened(engine: Engine, image: str) -> Iterator[str]:
    """Create a container of `image` to look into, and remove it; it is never started."""
    # Named by us, it can be removed even when the answer to its creation never came.
    name = f"runtimeimg-{uuid.uuid4().hex}"
    with noted(engine) as note:
        body = {
            "Image": image,
            "Cmd": ["/"],
            "Entrypoint": ["/"],
            "Labels": dict([new_label(note)]),
            "NetworkDisabled": True,
            "HostConfig": {"NetworkMode": "none"},
        }
        try:
            engine.call("POST", "/containers/create", params={"name": name}, body=body).close()
            note.add(settled=True)
            yield name
        finally:
            with contextlib.suppress(NotFoundError):
                engine.call("DELETE", f"/containers/{name}", params={"force": True, "v": True}).close()
            note.close(done=True)


def _has(engine: Engine, container: str, path: str) -> bool:
    try:
        engine.call("HEAD", f"/containers/{container}/archive", params={"path": path}).close()
    except NotFoundError:
        return False
    return True
