"""The native builder: composes the image from layers, with no daemon, no privilege, and nothing executed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.shell import require_shell
from runtimeimg.cache import Cache, work_folder
from runtimeimg.compose import kept, results
from runtimeimg.compose.blobs import downloaded
from runtimeimg.compose.composition import Composed, Inputs, Settings, compose
from runtimeimg.compose.grouping import MODES, Mode
from runtimeimg.compose.history import lines, moment
from runtimeimg.compose.reading import MistrustedError, Reader
from runtimeimg.compose.sources import FolderSource, ImageSource, Source
from runtimeimg.errors import UsageError
from runtimeimg.hostfile import FULL, system_error
from runtimeimg.image import Image
from runtimeimg.image.compress import Compression
from runtimeimg.image.values import stored_size
from runtimeimg.oci import ImageConfig, Location, Platform
from runtimeimg.stamp import configure
from runtimeimg.stores import open_one
from runtimeimg.stores.growing import Making
from runtimeimg.stores.missing import named

SHARE = "share-index"
OPTIONS = ("compression", "level", "layers", "link", SHARE)
_OPENED_AT_ONCE = 4
_FOREIGN = ("id", "parent", "container", "container_config")  # what old Engines say of the container they committed


class NativeBuilder:
    """Composes plans without `run`. Options: compression (gzip, zstd, none), level, layers, link, share-index."""

    name: ClassVar[str] = "native"

    def check(self, request: BuildRequest) -> None:
        """Raise UsageError for a plan that needs something executed, and for unknown options."""
        if request.plan.run:
            raise UsageError(
                f"{request.place(request.plan.run[0].origin)}: the native builder runs nothing",
                hint="pass --builder docker, buildkit or buildah, or drop the command",
            )
        _settings(request)

    @contextlib.contextmanager
    def build(self, request: BuildRequest) -> Iterator[Image]:
        """Return a context whose value is the image; its new layers are files that are gone when it is left."""
        self.check(request)
        cache = None if request.no_cache else Cache.open(request.cache_dir, request.stores.progress.line)
        with contextlib.ExitStack() as stack:
            image = _composed(request, cache, stack) or _composed(request, None, stack)
            assert image is not None
            require_shell(image, request)
            yield image


def _composed(request: BuildRequest, cache: Cache | None, stack: contextlib.ExitStack) -> Image | None:
    """Return the image, its files there until `stack` is left; None where the cache has no room for them."""
    with contextlib.ExitStack() as own:
        folder = own.enter_context(work_folder(cache))
        try:
            image = _compose(request, cache, folder)
        except OSError as error:
            if cache is not None and error.errno in FULL:
                request.stores.progress.line(f"cache '{cache.root}' is not used: no space left")
                _forget(request)
                return None
            raise system_error(error, None if error.filename else f"'{folder}' cannot be written") from error
        stack.push(own.pop_all())
    return image


def _compose(request: BuildRequest, cache: Cache | None, folder: Path) -> Image:
    opened = _opened(request)
    base = opened[str(request.plan.base)] if request.plan.base is not None else None
    if base is not None:
        base.config.check()
        _refuse_triggers(base)
    if cache is not None and shares_index(request):
        composed, inputs = _composed_by_indexes(request, opened, cache, folder)
    else:
        composed, inputs = _layers(request, opened, cache, folder)
    config = base.config if base is not None else _empty_config(request, opened)
    below = base.layers if base is not None else ()
    return Image(
        config=_finished(configure(config, request.plan).with_config(Image=None), base, composed, inputs),
        layers=(*(downloaded(below, cache, folder) if cache else below), *(item.layer for item in composed)),
        name=request.plan.name or "",
    )


def _layers(
    request: BuildRequest, opened: Mapping[str, Image], cache: Cache | None, folder: Path
) -> tuple[tuple[Composed, ...], Inputs]:
    """Return the new layers, and what they were made of."""
    settings = _settings(request)
    with Reader(cache=cache, account=request.stores.account, folder=folder) as reader:
        inputs = _inputs(request, opened, reader)
        key = results.key_of(inputs, settings) if cache else None
        composed = results.restore(cache, key, folder, len(lines(inputs.plan)) - 1) if cache and key else None
        if composed is None:
            composed = compose(inputs, settings, reader, folder, _begin(request, cache))
            if cache and key:
                results.keep(cache, key, composed)
        else:
            request.stores.account.add(cache_hits=1)
    return composed, inputs


def _begin(request: BuildRequest, cache: Cache | None) -> Callable[[Path], Making] | None:
    """Return what sends new layers while they are made.

    A machine that kept the layers that it made would know one that it had made before.
    """
    if request.early is None:
        return None
    return partial(request.early.begin, new=cache is not None and cache.holds(kept.KIND))


def _forget(request: BuildRequest) -> None:
    """Let go of layers that are made once more."""
    if request.early is not None:
        request.early.forget()


def shares_index(request: BuildRequest) -> bool:
    """Tell whether indexes that others made are read, and ours kept where they find them."""
    return _flag(request.options.get(SHARE, "false"), SHARE)


def _composed_by_indexes(
    request: BuildRequest, opened: Mapping[str, Image], cache: Cache, folder: Path
) -> tuple[tuple[Composed, ...], Inputs]:
    """Do as `_layers` by the indexes beside the images that copies read, and keep one where there is none."""
    from runtimeimg.compose import shared

    sources = {str(item): item for item in request.plan.images if str(item) in opened}
    by_index = dict(opened)
    for name, location in sources.items():
        by_index[name] = shared.indexed(opened[name], location, cache, request.stores)
    if request.plan.base is not None:
        for name in sources:
            base = str(request.plan.base)
            by_index[base] = shared.known(by_index[base], opened[name], cache)
    try:
        found = _layers(request, by_index, cache, folder)
    except MistrustedError as error:
        request.stores.progress.line(f"note: {error.message}; all of it is read")
        _forget(request)
        folder = folder / "again"
        folder.mkdir()
        found = _layers(request, opened, cache, folder)
    for name, location in sources.items():
        shared.share(opened[name], location, cache, request.stores)
    return found


def _opened(request: BuildRequest) -> dict[str, Image]:
    """Open the base and what the copies read, by their locations, all at once."""
    plan = request.plan
    named_here = [item for item in (plan.base, *plan.images) if item is not None and item.transport != "dir"]
    locations = {str(item): item for item in named_here}
    with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
        return dict(zip(locations, pool.map(lambda item: _open(item, request), locations.values()), strict=True))


def _inputs(request: BuildRequest, opened: Mapping[str, Image], reader: Reader) -> Inputs:
    """Return what is composed."""
    base = opened[str(request.plan.base)] if request.plan.base is not None else None
    sources: list[Source] = []
    images: list[Image] = []
    numbers: dict[str, int] = {}
    for copy in request.plan.copies:
        name = "" if copy.image is None else str(copy.image)
        if name in numbers:
            continue
        number = numbers[name] = len(sources) + 1
        if copy.image is None:
            sources.append(FolderSource(request.workspace, number, strict=True))
        elif copy.image.transport == "dir":
            sources.append(FolderSource(Path(copy.image.path or ""), number, strict=False))
        else:
            images.append(opened[name])
            sources.append(ImageSource(images[-1], number, reader))
    configs = [image.config for image in ([base] if base is not None else []) + images]
    return Inputs(
        plan=request.plan,
        base=base,
        sources=sources,
        numbers=[numbers["" if copy.image is None else str(copy.image)] for copy in request.plan.copies],
        created=moment(configs, request.epoch),
        place=request.place,
    )


def _open(location: Location, request: BuildRequest) -> Image:
    with named(request.plan.role(location), location):
        image = open_one(location, request.platform, request.stores)
    request.stores.account.saw(str(location), stored_size(image))
    return image


def _settings(request: BuildRequest) -> Settings:
    unknown = sorted(set(request.options) - set(OPTIONS))
    if unknown:
        raise UsageError(
            f"option '{unknown[0]}' of the native builder is not known", hint=f"known: {', '.join(OPTIONS)}"
        )
    options = request.options
    return Settings(
        compression=Compression.parse(options.get("compression", "gzip"), options.get("level")),
        layers=_mode(options.get("layers", "builder")),
        link=_flag(options.get("link", "false"), "link"),
        latest=request.epoch,
        tables=request.looked_at,
    )


def _mode(text: str) -> Mode:
    for mode in MODES:
        if text == mode:
            return mode
    raise UsageError(f"option 'layers' of the native builder is {text!r}", hint=f"known: {', '.join(MODES)}")


def _flag(text: str, name: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise UsageError(f"option '{name}' of the native builder is {text!r}, not true or false")
    return text.lower() in {"true", "1"}


def _refuse_triggers(base: Image) -> None:
    triggers = base.config.strings("OnBuild")
    if triggers:
        raise UsageError(
            f"base image '{base.name}' has ONBUILD instructions, which a build carries out: {triggers[0][:80]!r}",
            hint="pass --builder docker, buildkit or buildah, or take a base image without them",
        )


def _empty_config(request: BuildRequest, opened: Mapping[str, Image]) -> ImageConfig:
    """Return the config of scratch for the platform asked for, else the builder image's, else this machine's."""
    copied = [opened[str(copy.image)] for copy in request.plan.copies if str(copy.image) in opened]
    platform = request.platform or (copied[0].platform if copied else Platform.host())
    return ImageConfig.from_json({**platform.to_json(), "config": {}})


def _finished(config: ImageConfig, base: Image | None, composed: Sequence[Composed], inputs: Inputs) -> ImageConfig:
    """Return the config with the new layers, their history and the date (config.md, "rootfs" and "history")."""
    before = [] if base is None else list(config.history)
    described = sum(1 for entry in before if not entry.get("empty_layer"))
    # History and layers are matched by counting: what a base does not tell is told as nothing known.
    before += [{"comment": "layer of the base image"}] * ((0 if base is None else len(base.layers)) - described)
    told, created = lines(inputs.plan), inputs.created
    history = [
        {"created": created.text, "created_by": " && ".join(told[step] for step in item.steps), "comment": "runtimeimg"}
        for item in composed
    ]
    diff_ids = [*config.diff_ids, *(item.layer.diff_id for item in composed)]
    changes: dict[str, Any] = dict.fromkeys(_FOREIGN)
    return config.evolve(
        **changes,
        created=created.text,
        rootfs={"type": "layers", "diff_ids": diff_ids},
        history=[*before, *history],
    )
