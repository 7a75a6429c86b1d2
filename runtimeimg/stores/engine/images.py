"""Images in a Docker Engine (`docker-daemon:`), read and written through its API."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from runtimeimg import remains
from runtimeimg.errors import NotFoundError, RemoteError, UsageError
from runtimeimg.image import Image, ImageIndex, Layer, Origin, choose_platform
from runtimeimg.image.values import image_entries
from runtimeimg.oci import Digest, ImageConfig, Location, Platform
from runtimeimg.oci.mediatypes import DOCKER_CONFIG
from runtimeimg.stores.base import StoreOptions, Written, unasked
from runtimeimg.stores.contents import require_whole
from runtimeimg.stores.engine import Engine, quoted
from runtimeimg.stores.engine import config as engineconfig
from runtimeimg.stores.engine.kind import EngineKind, kind_of
from runtimeimg.stores.engine.load import Load, load
from runtimeimg.stores.engine.loadstored import load_stored
from runtimeimg.stores.engine.saved import Documents
from runtimeimg.stores.engine.spool import EngineImage, EngineLayer, saved
from runtimeimg.stores.engine.stored import platforms_held, read_stored
from runtimeimg.stores.engine.unfinished import new_note, sweep_quietly

_AT_ONCE = 4
_TURN = 300.0  # seconds that others who write to the same name are waited for
_TELLS_ALL = "1.44"
"""The last Engine API whose inspection tells all of a config: what is empty, and the container of the last step."""


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

    def open(self) -> Image | ImageIndex:
        """Return the image; NotFoundError when the Engine has none of this name.

        An index comes from the containerd image store alone, for a name that has images of several platforms there.
        """
        with Engine.connect(self._options) as engine:
            found = inspect(engine, engine_name(self._location))
            if found is None:
                raise NotFoundError(f"image '{engine_name(self._location)}' is not in the Docker Engine")
            self._options.account.saw(str(self._location), unpacked_size(found))
            return read(engine, found, self.name, exact=self._exact)


def engine_name(location: Location) -> str:
    """Return what the Engine calls a location: an ID, or a familiar name with `latest` where nothing is said."""
    if location.image_id:
        return location.image_id
    if location.reference is None:
        raise UsageError(f"image '{location}' is no name that an Engine knows")
    return location.reference.tagged.familiar


def inspect(engine: Engine, name: str) -> engineconfig.Inspection | None:
    """Return what the Engine tells of an image, None when there is none; its manifests too where they are kept."""
    try:
        found: dict[str, Any] = engine.get(f"/images/{quoted(name)}/json", manifests=True)
    except NotFoundError:
        return None
    return found


def unpacked_size(found: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return the bytes of an inspected image, and that they count unpacked; None where the Engine tells none."""
    size = found.get("Size")
    return (size, "unpacked") if isinstance(size, int) and size > 0 else None


def read(engine: Engine, found: engineconfig.Inspection, name: str, *, exact: bool = True) -> Image | ImageIndex:
    """Return what was inspected; see DaemonSource."""
    image_id = str(found["Id"])
    if platforms_held(found) > 1:
        return read_stored(engine, image_id, name)
    steps = _history(engine, image_id)
    told = engine.get(f"/images/{quoted(image_id)}/json", api=_TELLS_ALL)
    config = engineconfig.rebuild(told, steps, lambda other: inspect(engine, other))
    if config is None and exact:
        if kind_of(engine).containerd:
            return read_stored(engine, image_id, name)
        config = ImageConfig(Documents.of(saved(engine, image_id)).config(), DOCKER_CONFIG)
    shared = EngineImage(options=engine.options, address=engine.address, image_id=image_id, config=config)
    if config is None:
        config = engineconfig.approximate(found, steps, lambda other: inspect(engine, other))
    layers = tuple(
        EngineLayer(diff_id=diff_id, index=index, image=shared) for index, diff_id in enumerate(config.diff_ids)
    )
    return Image(config=config, layers=layers, name=name, image_id=image_id)


def _history(engine: Engine, image_id: str) -> list[dict[str, Any]]:
    """Return the steps that made an image, newest first; none where podman stumbles over a step without a time."""
    try:
        steps: list[dict[str, Any]] = engine.get(f"/images/{quoted(image_id)}/history")
    except RemoteError:
        return []
    return steps


def read_image(engine: Engine, found: engineconfig.Inspection, name: str, *, platform: Platform | None = None) -> Image:
    """Return the one image for `platform` (this machine's when None) of what was inspected, exact to the byte."""
    opened = read(engine, found, name)
    return choose_platform(opened, platform) if isinstance(opened, ImageIndex) else opened


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

    def write(self, image: Image | ImageIndex, confirm: Callable[[], None] = unasked) -> Written:
        """Put the image into the Engine under the name.

        The containerd image store takes an index whole; of one, any other gets the image for this machine's platform.
        """
        with Engine.connect(self._options) as engine, contextlib.ExitStack() as stack:
            if not stack.enter_context(remains.lock(self._lock(engine), seconds=_TURN)):
                engine.options.progress.line(f"another process has been writing '{self._tag}' for {_TURN:.0f} seconds")
            confirm()
            note = new_note(engine, f"writing of '{self._tag}'")
            # What lost its name is swept: at once, or where a build may be at work with it, by the last of these.
            stack.callback(sweep_quietly, engine)
            stack.callback(note.close, done=False)
            kind = kind_of(engine)
            chosen = image if isinstance(image, Image) or kind.containerd else choose_platform(image, None)
            before = inspect(engine, self._tag)
            if before is not None:
                note.add(replaced=before["Id"])
            known = chosen.image_id if isinstance(chosen, Image) else None
            if known is not None and inspect(engine, known) is not None:
                image_id = self._tag_only(engine, known)
            elif kind.containerd:
                image_id = load_stored(engine, chosen, self._tag, _stored(engine, chosen, kind), note)
            else:
                assert isinstance(chosen, Image)
                image_id = self._load(engine, chosen, kind)
            # The image at hand has no name any more where another machine has written to the same one meanwhile.
            note.add(replaced=image_id)
            note.add(settled=True)
            self._options.account.saw(self.name, unpacked_size(inspect(engine, image_id) or {}))
        return Written(name=self.name, image_id=image_id)

    def _lock(self, engine: Engine) -> str:
        """Return the name of the lock that those who write to this tag take turns with."""
        return f"tag-{hashlib.sha256(f'{engine.address} {self._tag}'.encode()).hexdigest()[:16]}"

    def _tag_only(self, engine: Engine, image_id: str) -> str:
        repository, _, tag = self._tag.rpartition(":")
        path = f"/images/{quoted(image_id)}/tag"
        engine.call("POST", path, params={"repo": repository, "tag": tag}).close()
        return image_id

    def _load(self, engine: Engine, image: Image, kind: EngineKind) -> str:
        require_whole(image)
        everything = Load(image=image, tag=self._tag)
        if kind.podman:
            # podman wants every layer in the archive, whether it has it or not.
            engine.options.progress.line(f"podman takes no image without its layers: all {len(image.layers)} are sent")
            load(engine, everything)
        else:
            present, parent = _present(engine, image.layers), _parent(engine, image)
            try:
                load(engine, replace(everything, present=present, parent=parent))
            except RemoteError:
                if not present and parent is None:
                    raise
                load(engine, everything)
        # Asked for by its ID: the name may already be another image's, which was written at the same time.
        loaded = inspect(engine, image.config.digest)
        if loaded is None:
            raise RemoteError(f"engine took image '{self._tag}' but does not show it")
        if engineconfig.layer_ids(loaded) != list(image.config.diff_ids):
            raise RemoteError(f"engine shows another image than was sent under '{self._tag}'")
        return str(loaded["Id"])


def _stored(engine: Engine, image: Image | ImageIndex, kind: EngineKind) -> frozenset[Digest]:
    """Return the blobs of layers that the containerd image store seems to have.

    Those that came from this very Engine are there; those of a chain that another image has are there unless that
    image has them compressed otherwise.
    """
    if not kind.tells_available:
        return frozenset()
    images = (
        [image]
        if isinstance(image, Image)
        else [child for entry in image_entries(image) if isinstance(child := image.open_manifest(entry), Image)]
    )
    found: set[Digest] = set()
    for one in images:
        here = [layer for layer in one.layers if layer.origin == Origin(store="engine", place=engine.address)]
        there = one.layers[: _present(engine, one.layers)] if len(here) < len(one.layers) else ()
        found |= {layer.descriptor.digest for layer in (*here, *there)}
    return frozenset(found)


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
    ids = [str(entry["Id"]) for entry in engine.images()]
    for start in range(0, len(ids), 4 * _AT_ONCE):
        yield ids[start : start + 4 * _AT_ONCE]


def _common(first: Iterable[str], second: Iterable[str]) -> int:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
