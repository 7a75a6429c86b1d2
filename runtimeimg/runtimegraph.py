"""The runtime graph: how an image is run, and its codec to and from labels.

Two label families are known: the `runtimeGraph` labels (msgpack in base64, one label a field) that are written by
default, and the JSON label of released envd versions. Labels are untrusted input.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtimeimg.errors import InvalidDocumentError

_PREFIX = "ai.tensorchord.envd.runtimeGraph."
VERSION_LABEL = _PREFIX + "version"
DAEMON_LABEL = _PREFIX + "Daemon"
EXPOSE_LABEL = _PREFIX + "Expose"
ENVD_LABEL = "ai.tensorchord.envd.graph.runtime"
GRAPH_LABELS = (VERSION_LABEL, DAEMON_LABEL, EXPOSE_LABEL)
GRAPH_FORMATS = ("runtimegraph", "envd", "both")

VERSION = "v1"
MAX_LABEL = 64 * 1024
"""Characters; a longer label is refused."""

_GO_KEYS = ("EnvdPort", "HostPort", "ServiceName", "ListeningAddr")
_JSON_KEYS = ("port", "hostPort", "serviceName", "listeningAddr")

_ADDRESS = re.compile(r"[0-9A-Za-z.:_%\[\]-]{0,255}\Z")
_SERVICE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,255}\Z")
_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposeItem:
    """A port of the image; `host_port` 0, empty `service_name` and empty `listening_addr` mean "none given"."""

    port: int
    host_port: int = 0
    service_name: str = ""
    listening_addr: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeGraph:
    """Daemons (argument lists, started beside the main command) and exposed ports."""

    daemons: tuple[tuple[str, ...], ...] = ()
    expose: tuple[ExposeItem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the graph as `inspect --format json` and `stamp --graph` spell it."""
        return {
            "daemons": _plain_daemons(self),
            "expose": _plain_expose(self, _JSON_KEYS),
        }

    @classmethod
    def from_json(cls, data: object) -> RuntimeGraph:
        """Return the graph that `to_json` spelt, or raise InvalidDocumentError."""
        if not isinstance(data, Mapping):
            raise InvalidDocumentError("runtime graph is not an object with the keys daemons and expose")
        unknown = sorted(str(key) for key in set(data) - {"daemons", "expose"})
        if unknown:
            raise InvalidDocumentError(
                f"runtime graph has an unknown key {unknown[0]!r}", hint="known are daemons and expose"
            )
        return cls(
            daemons=_daemons(data.get("daemons"), "daemons"),
            expose=_expose(data.get("expose"), _JSON_KEYS, "expose"),
        )


def encode(graph: RuntimeGraph, graph_format: str = "runtimegraph") -> dict[str, str]:
    """Return the labels of `graph`, in the order version, Daemon, Expose; `graph_format` is one of GRAPH_FORMATS."""
    labels: dict[str, str] = {}
    if graph_format in {"runtimegraph", "both"}:
        import msgpack

        labels[VERSION_LABEL] = VERSION
        labels[DAEMON_LABEL] = base64.b64encode(msgpack.packb(_plain_daemons(graph))).decode("ascii")
        labels[EXPOSE_LABEL] = base64.b64encode(msgpack.packb(_plain_expose(graph))).decode("ascii")
    if graph_format in {"envd", "both"}:
        labels[ENVD_LABEL] = _encode_envd(graph)
    for key, value in labels.items():
        if len(value) > MAX_LABEL:
            raise InvalidDocumentError(f"label '{key}' would hold {len(value)} characters; {MAX_LABEL} are allowed")
    return labels


def decode(labels: Mapping[str, str]) -> RuntimeGraph | None:
    """Return the graph that `labels` carry, None when they carry none; raise InvalidDocumentError for a broken one.

    The runtimeGraph family wins over envd's JSON where both are there.
    """
    if any(key in labels for key in GRAPH_LABELS):
        version = labels.get(VERSION_LABEL)
        if version != VERSION:
            raise InvalidDocumentError(f"label '{VERSION_LABEL}' is {_shown(version)}, only '{VERSION}' is known")
        daemons = _daemons(_unpack(labels, DAEMON_LABEL), DAEMON_LABEL)
        return RuntimeGraph(daemons=daemons, expose=_expose(_unpack(labels, EXPOSE_LABEL), _GO_KEYS, EXPOSE_LABEL))
    if ENVD_LABEL in labels:
        return _decode_envd(labels[ENVD_LABEL])
    return None


def _unpack(labels: Mapping[str, str], key: str) -> object:
    text = labels.get(key)
    if text is None:
        return None
    if len(text) > MAX_LABEL:
        raise InvalidDocumentError(f"label '{key}' holds {len(text)} characters; {MAX_LABEL} are allowed")
    import msgpack

    try:
        return msgpack.unpackb(
            base64.b64decode(text, validate=True),
            strict_map_key=True,
            max_ext_len=0,
            raw=False,
            unicode_errors="strict",
        )
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidDocumentError(f"label '{key}' is not base64") from None
    except msgpack.ExtraData:
        raise InvalidDocumentError(f"label '{key}' has bytes after its msgpack value") from None
    except Exception as error:  # noqa: BLE001 - msgpack raises ValueError, its own errors, StackError, UnicodeError
        raise InvalidDocumentError(f"label '{key}' is not msgpack: {type(error).__name__}") from None


def _plain_daemons(graph: RuntimeGraph) -> list[list[str]]:
    return [list(argv) for argv in graph.daemons]


def _plain_expose(graph: RuntimeGraph, keys: tuple[str, ...] = _GO_KEYS) -> list[dict[str, int | str]]:
    return [
        dict(zip(keys, (item.port, item.host_port, item.service_name, item.listening_addr), strict=True))
        for item in graph.expose
    ]


def _encode_envd(graph: RuntimeGraph) -> str:
    data = {"daemon": _plain_daemons(graph), "expose": _plain_expose(graph)}
    return json.dumps(data, separators=(",", ":"))


def _decode_envd(text: str) -> RuntimeGraph:
    if len(text) > MAX_LABEL:
        raise InvalidDocumentError(f"label '{ENVD_LABEL}' holds {len(text)} characters; {MAX_LABEL} are allowed")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidDocumentError(f"label '{ENVD_LABEL}' is not JSON") from None
    if not isinstance(data, Mapping):
        raise InvalidDocumentError(f"label '{ENVD_LABEL}' is not a JSON object")
    daemons = _daemons(data.get("daemon"), f"{ENVD_LABEL} daemon")
    return RuntimeGraph(daemons=daemons, expose=_expose(data.get("expose"), _GO_KEYS, f"{ENVD_LABEL} expose"))


def _daemons(value: object, where: str) -> tuple[tuple[str, ...], ...]:
    daemons = tuple(tuple(argv) if isinstance(argv, list) else () for argv in _list(value, where))
    for index, argv in enumerate(daemons):
        if not argv or not argv[0] or not all(isinstance(item, str) and not _UNSPEAKABLE.search(item) for item in argv):
            raise InvalidDocumentError(
                f"{where}[{index}] is not a command: a list of strings, the first not empty, is wanted"
            )
    return daemons


def _expose(value: object, keys: tuple[str, str, str, str], where: str) -> tuple[ExposeItem, ...]:
    items = []
    for index, entry in enumerate(_list(value, where)):
        if not isinstance(entry, Mapping) or keys[0] not in entry:
            raise InvalidDocumentError(f"{where}[{index}] is not a map with the key {keys[0]}")
        place = f"{where}[{index}]"
        items.append(
            ExposeItem(
                port=_port(entry[keys[0]], 1, f"{place}.{keys[0]}"),
                host_port=_port(entry.get(keys[1]) or 0, 0, f"{place}.{keys[1]}"),
                service_name=_text(entry.get(keys[2]), _SERVICE, f"{place}.{keys[2]}"),
                listening_addr=_text(entry.get(keys[3]), _ADDRESS, f"{place}.{keys[3]}"),
            )
        )
    return tuple(items)


def _list(value: object, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidDocumentError(f"{where} is not a list")
    return value


def _port(value: object, least: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 65535:
        raise InvalidDocumentError(f"{where} is {_shown(value)}, not a port from {least} to 65535")
    return value


def _text(value: object, pattern: re.Pattern[str], where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not pattern.match(value):
        raise InvalidDocumentError(f"{where} is {_shown(value)}, not a text of this kind")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
