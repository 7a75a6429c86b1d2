"""The image config of an Engine's image, put together from what the Engine tells about it.

The Engine API never shows the config itself; only the stream of all layers (`docker save`) holds it. But an image's
ID is the sha256 of its config, so a config put together from the inspection and the history is either right to the
byte or known not to be. Field order and escapes are those of moby's `image.Image` as Go writes it to JSON.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from runtimeimg.oci import Digest, ImageConfig
from runtimeimg.oci.documents import dump_json
from runtimeimg.oci.mediatypes import DOCKER_CONFIG

Inspection = Mapping[str, Any]
"""What GET /images/NAME/json answers."""

MISSING = frozenset({"<missing>", "sha256:<missing>"})
"""What Docker and podman call a step whose image they do not have."""
_MAX_GUESSES = 64

# The fields of moby's container.Config in its order, with the values that mean nothing.
_ORDER = (
    *("Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "ExposedPorts", "Tty"),
    *("OpenStdin", "StdinOnce", "Env", "Cmd", "Healthcheck", "ArgsEscaped", "Image", "Volumes", "WorkingDir"),
    *("Entrypoint", "NetworkDisabled", "MacAddress", "OnBuild", "Labels", "StopSignal", "StopTimeout", "Shell"),
)
# BuildKit writes the specification's order, and what is empty not at all.
_BUILDKIT_ORDER = (
    *("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"),
    *("ArgsEscaped", "Healthcheck", "OnBuild", "StopTimeout", "Shell"),
)
_BUILD_FIELDS = ("container", "container_config", "docker_version")


def rebuild(
    inspection: Inspection, steps: Sequence[Mapping[str, Any]], inspect: Callable[[str], Inspection | None]
) -> ImageConfig | None:
    """Return the exact config of the image, None where the Engine does not tell enough to be sure.

    `steps` is what GET /images/NAME/history answers (newest first); `inspect` returns the inspection of an image by
    its ID, None when there is none.
    """
    for history in itertools.islice(_histories(inspection, steps, inspect), _MAX_GUESSES):
        plain = _plain(inspection, history)
        documents = (_moby(inspection, history), *_buildkit(inspection, history), plain)
        for raw in (*map(_go_json, documents), dump_json(plain)):
            if Digest.of(raw) == inspection.get("Id"):
                return ImageConfig(raw, DOCKER_CONFIG)
    return None


def approximate(
    inspection: Inspection, steps: Sequence[Mapping[str, Any]], inspect: Callable[[str], Inspection | None]
) -> ImageConfig:
    """Return a config with all that the Engine tells: the history only where it is clear which steps made a layer.

    Times of the history are in whole seconds where the Engine does not know better.
    """
    histories = list(itertools.islice(_histories(inspection, steps, inspect), 2))
    return ImageConfig.from_json(_plain(inspection, histories[0] if len(histories) == 1 else []), DOCKER_CONFIG)


def without_label(config: ImageConfig, key: str) -> ImageConfig:
    """Return the config without a label."""
    settings = dict(config.config)
    labels = {name: value for name, value in (settings.pop("Labels", None) or {}).items() if name != key}
    return config.evolve(config=settings | ({"Labels": labels} if labels else {}))


def without_noise(config: ImageConfig) -> ImageConfig:
    """Return the config without what only tells of the containers that built it, fields in moby's order."""
    return config.evolve(config=_clean(config.config), **dict.fromkeys(_BUILD_FIELDS))


def layer_ids(inspection: Inspection) -> list[str]:
    """Return the diff ids of an inspected image, base first."""
    return list((inspection.get("RootFS") or {}).get("Layers") or [])


def _clean(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return execution parameters without those that are empty, and without the image that a build step ran on."""
    return {key: value for key, value in _ordered(config).items() if key != "Image" and value not in (None, "", False)}


def _ordered(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return execution parameters in moby's order; the Engine API since 1.45 tells them by name."""
    ranks = {key: rank for rank, key in enumerate(_ORDER)}
    return {key: config[key] for key in sorted(config, key=lambda key: ranks.get(key, len(ranks)))}


def _fields(inspection: Inspection, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "architecture": inspection.get("Architecture"),
        "author": inspection.get("Author"),
        "comment": inspection.get("Comment"),
        "created": inspection.get("Created"),
        "history": list(history),
        "os": inspection.get("Os"),
        "os.version": inspection.get("OsVersion"),
        "rootfs": {"type": "layers", "diff_ids": layer_ids(inspection)},
        "variant": inspection.get("Variant"),
    }


def _moby(inspection: Inspection, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document as moby writes it for what its classic builder, an import or a commit made."""
    fields = _fields(inspection, history) | {
        "config": _ordered(inspection.get("Config") or {}),
        "container": inspection.get("Container"),
        "container_config": _ordered(inspection.get("ContainerConfig") or {}),
        "docker_version": inspection.get("DockerVersion"),
    }
    return {key: value for key, value in sorted(fields.items()) if value}


def _buildkit(inspection: Inspection, history: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the document as BuildKit writes it: OnBuild was always there until 2023."""
    given = inspection.get("Config") or {}
    for always in ("OnBuild", None):
        config = {key: given.get(key) for key in _BUILDKIT_ORDER if given.get(key) or key == always}
        fields = _fields(inspection, history) | {"config": config}
        yield {key: value for key, value in sorted(fields.items()) if value}


def _plain(inspection: Inspection, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document with nothing in it that an image does not need."""
    fields = _fields(inspection, history) | {"config": _clean(inspection.get("Config") or {})}
    return {key: value for key, value in sorted(fields.items()) if value or key in {"architecture", "config", "os"}}


def _histories(
    inspection: Inspection, steps: Sequence[Mapping[str, Any]], inspect: Callable[[str], Inspection | None]
) -> Iterator[list[dict[str, Any]]]:
    """Yield the histories that fit what is known; one only when it is clear which steps made a layer."""
    oldest_first = list(reversed(steps))
    known: list[Inspection | None] = [
        inspection if index == len(oldest_first) - 1 else inspect(step["Id"]) if step["Id"] not in MISSING else None
        for index, step in enumerate(oldest_first)
    ]
    for empty in _empties(oldest_first, known):
        yield [_entry(*each) for each in zip(oldest_first, known, empty, strict=True)]


def _entry(step: Mapping[str, Any], known: Inspection | None, empty: bool) -> dict[str, Any]:
    entry = {
        "created": known.get("Created") if known is not None else _whole_second(step.get("Created")),
        "created_by": step.get("CreatedBy"),
        "comment": step.get("Comment"),
        "empty_layer": empty,
    }
    return {key: value for key, value in entry.items() if value}


def _whole_second(seconds: object) -> str:
    if not isinstance(seconds, int) or not 0 <= seconds < 1 << 37:
        return "0001-01-01T00:00:00Z"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _empties(steps: Sequence[Mapping[str, Any]], known: Sequence[Inspection | None]) -> Iterator[list[bool]]:
    """Yield which steps made no layer: those with bytes did, and between two known images the count is known."""
    segments: list[list[list[bool]]] = []
    start, layers = 0, 0
    for index, image in enumerate(known):
        if image is None:
            continue
        count = len(layer_ids(image))
        segment = steps[start : index + 1]
        segments.append(list(itertools.islice(_segment(segment, count - layers), _MAX_GUESSES)))
        start, layers = index + 1, count
    for combination in itertools.product(*segments):
        yield list(itertools.chain.from_iterable(combination))


def _segment(steps: Sequence[Mapping[str, Any]], layers: int) -> Iterator[list[bool]]:
    doubtful = [index for index, step in enumerate(steps) if not step.get("Size")]
    missing = layers - (len(steps) - len(doubtful))
    if missing < 0:
        return
    for chosen in itertools.combinations(doubtful, missing):
        yield [index in doubtful and index not in chosen for index in range(len(steps))]


def _go_json(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "surrogatepass")
