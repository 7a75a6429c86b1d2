"""Images in a Docker Engine (`docker-daemon:`), read and written through its API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from runtimeimg.errors import NotFoundError, RemoteError, UsageError
from runtimeimg.image import Image, ImageIndex, Layer, choose_platform
from runtimeimg.oci import ImageConfig, Location
from runtimeimg.runtimegraph import VERSION_LABEL
from runtimeimg.stores.base import StoreOptions, Written
from runtimeimg.stores.engine import Engine, quoted
from runtimeimg.stores.engine import config as engineconfig
from runtimeimg.stores.engine.load import Load, load
from runtimeimg.stores.engine.spool import EngineImage, EngineLayer, saved_config

_AT_ONCE = 4


class DaemonSource:
    """An image of the Engine, by name or ID.

    With `exact` the config is the Engine's own to the byte; where only the saved layers hold it, opening takes as
    long as saving the image does. Without, it is what the Engine's inspection tells, which is always quick: the
    history is then left out or in whole seconds where it is not known better.
    """

    def __init__(self, location: Location, options: StoreOptions, *, exact: bool = True) -> None:
        self._location = location
        self._options = options
        self._exact = exact

    @property
    def name(self) -> str:
        """The name with its transport."""
        return f"docker-daemon:{engine_name(self._location)}"

    def open(self) -> Image:
        """Return the image; NotFoundError when the Engine has none of this name."""
        with Engine.connect(self._options) as engine:
            found = inspect(engine, engine_name(self._location))
            if found is None:
                raise NotFoundError(f"image '{engine_name(self._location)}' is not in the Docker Engine")
            self._options.account.saw(str(self._location), unpacked_size(found))
            return read_image(engine, found, self.name, exact=self._exact)


def engine_name(location: Location) -> str:
    """Return what the Engine calls a location: an ID, or a familiar name with `latest` where nothing is said."""
    if location.image_id:
        return location.image_id
    if location.reference is None:
        raise UsageError(f"image '{location}' is no name that an Engine knows")
    return location.reference.tagged.familiar


def inspect(engine: Engine, name: str) -> engineconfig.Inspection | None:
    """Return what the Engine tells of an image, None when there is none."""
    try:
        found: dict[str, Any] = engine.get(f"/images/{quoted(name)}/json")
    except NotFoundError:
        return None
    return found


def unpacked_size(found: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return the bytes of an inspected image, and that they count unpacked; None where the Engine tells none."""
    size = found.get("Size")
    return (size, "unpacked") if isinstance(size, int) and size > 0 else None


def read_image(engine: Engine, found: engineconfig.Inspection, name: str, *, exact: bool = True) -> Image:
    """Return the image that was inspected; see DaemonSource for `exact`."""
    image_id = str(found["Id"])
    steps = engine.get(f"/images/{quoted(image_id)}/history")
    config = engineconfig.rebuild(found, steps, lambda other: inspect(engine, other))
    if config is None and exact:
        config = saved_config(engine, image_id)
    shared = EngineImage(options=engine.options, address=engine.address, image_id=image_id, config=config)
    if config is None:
        config = engineconfig.approximate(found, steps, lambda other: inspect(engine, other))
    layers = tuple(
        EngineLayer(diff_id=diff_id, index=index, image=shared) for index, diff_id in enumerate(config.diff_ids)
    )
    return Image(config=config, layers=layers, name=name, image_id=image_id)


class DaemonDestination:
    """A name in the Engine. Only layers that the Engine lacks are sent, and the name moves last.

    An image that loses its name by this is removed when it carries this program's stamp and nothing uses it, so that
    repeated builds pile up nothing; any other stays, as after `docker build`.
    """

    def __init__(self, location: Location, options: StoreOptions) -> None:
        if location.image_id or location.reference is None or location.reference.digest:
            raise UsageError(
                f"image '{location}' cannot be written to: the Engine needs a name with a tag",
                hint="for example docker-daemon:web:1",
            )
        self._tag = location.reference.tagged.familiar
        self._options = options

    @property
    def name(self) -> str:
        """The name with its transport."""
        return f"docker-daemon:{self._tag}"

    def check(self) -> None:
        """Ask whether the Engine answers."""
        Engine.connect(self._options).close()

    def write(self, image: Image | ImageIndex) -> Written:
        """Put the image into the Engine under the name; of an index, the image for this machine's platform."""
        chosen = image if isinstance(image, Image) else choose_platform(image, None)
        with Engine.connect(self._options) as engine:
            before = inspect(engine, self._tag)
            if chosen.image_id is not None and inspect(engine, chosen.image_id) is not None:
                image_id = self._tag_only(engine, chosen.image_id)
            else:
                image_id = self._load(engine, chosen)
            self._options.account.saw(self.name, unpacked_size(inspect(engine, image_id) or {}))
            if before is not None and before["Id"] != image_id:
                _remove_replaced(engine, str(before["Id"]))
        return Written(name=self.name, image_id=image_id)

    def _tag_only(self, engine: Engine, image_id: str) -> str:
        repository, _, tag = self._tag.rpartition(":")
        path = f"/images/{quoted(image_id)}/tag"
        engine.call("POST", path, params={"repo": repository, "tag": tag}).close()
        return image_id

    def _load(self, engine: Engine, image: Image) -> str:
        if len(image.layers) != len(image.config.diff_ids):
            raise UsageError(
                f"image '{image.name}' has {len(image.layers)} layers, its config names {len(image.config.diff_ids)}"
            )
        parent = _parent(engine, image)
        present = _present(engine, image.layers)
        try:
            load(engine, Load(image=image, tag=self._tag, present=present, parent=parent))
        except RemoteError:
            if not present and parent is None:
                raise
            # Another Engine (or another image store) may want every layer, whether it has it or not.
            load(engine, Load(image=image, tag=self._tag))
        loaded = inspect(engine, self._tag)
        if loaded is None:
            raise RemoteError(f"engine took image '{self._tag}' but does not show it")
        image_id = str(loaded["Id"])
        if image_id != image.config.digest and engineconfig.layer_ids(loaded) != list(image.config.diff_ids):
            raise RemoteError(f"engine shows another image than was sent under '{self._tag}'")
        return image_id


def _parent(engine: Engine, image: Image) -> ImageConfig | None:
    """Return the config of the Engine's image that `image` continues by one step of history without a layer.

    Named as the parent, that image stays as long as this one does, and so do the steps that the next build takes
    from the cache.
    """
    shared = {id(layer.image): layer.image for layer in image.layers if isinstance(layer, EngineLayer)}
    if len(shared) != 1:
        return None
    source = next(iter(shared.values()))
    if source.config is None or source.address != engine.address or source.config.digest != source.image_id:
        return None
    continues = image.config.history[:-1] == source.config.history and bool(image.config.history)
    same = image.config.diff_ids == source.config.diff_ids
    return source.config if continues and same and inspect(engine, source.image_id) is not None else None


def _present(engine: Engine, layers: tuple[Layer, ...]) -> int:
    """Return how many layers, counted from the base, the Engine has already: the longest chain of any of its images."""
    wanted = [str(layer.diff_id) for layer in layers]
    sources = {layer.image.image_id for layer in layers if isinstance(layer, EngineLayer)}
    best = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for batch in _batches(engine, sources):
            for found in pool.map(lambda image_id: inspect(engine, image_id), batch):
                best = max(best, _common(wanted, engineconfig.layer_ids(found or {})))
            if best == len(wanted):
                break
    engine.options.account.add(existing_blobs=best)
    return best


def _batches(engine: Engine, first: Iterable[str]) -> Iterator[Sequence[str]]:
    """Yield IDs of images to look at: those that layers came from, then all others, a few at a time."""
    yield sorted(first)
    ids = [str(entry["Id"]) for entry in engine.get("/images/json")]
    for start in range(0, len(ids), 4 * _AT_ONCE):
        yield ids[start : start + 4 * _AT_ONCE]


def _common(first: Iterable[str], second: Iterable[str]) -> int:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def _remove_replaced(engine: Engine, image_id: str) -> None:
    """Remove an image that lost its last name, if this program made it; one that a container uses stays."""
    found = inspect(engine, image_id)
    if found is None or found.get("RepoTags") or VERSION_LABEL not in ((found.get("Config") or {}).get("Labels") or {}):
        return
    with contextlib.suppress(RemoteError, NotFoundError):
        engine.call("DELETE", f"/images/{quoted(image_id)}").close()
