"""`registries.conf` as podman reads it (containers-registries.conf(5)): mirrors, prefixes, short names.

Values only; what follows from them for a name is in `places`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.hostfile import read_file
from runtimeimg.stores.base import StoreOptions

_MAX_FILE = 1024 * 1024
_MAX_DOTS = 1000
_PULLS = ("all", "digest-only", "tag-only")
_MODES = ("enforcing", "permissive", "disabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Another place of what a registry holds; `pull` is one of all, digest-only, tag-only."""

    location: str
    insecure: bool = False
    pull: str = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A `[[registry]]`: what holds for names that begin with `prefix`; an empty `location` leaves them as they are."""

    prefix: str
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[Mirror, ...] = ()

    def matched(self, name: str) -> int:
        """Return how many characters of a whole name the prefix stands for, 0 where it does not fit."""
        if self.prefix.startswith("*."):
            host = name.partition("/")[0]
            domain, slash, path = self.prefix[1:].partition("/")
            end = len(host) if host.endswith(domain) and len(host) > len(domain) else 0
            if end and slash:
                end = end + 1 + len(path) if name.startswith(path, end + 1) else 0
        else:
            end = len(self.prefix) if name.startswith(self.prefix) else 0
        return end if end and (end == len(name) or name[end] in "/:@") else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistriesConf:
    """What all the files say together."""

    rules: tuple[Rule, ...] = ()
    search: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    mode: str = "permissive"

    def rule_for(self, name: str) -> tuple[Rule, int] | None:
        """Return the rule with the longest prefix of a whole name, and the length that it stands for."""
        found = [(rule, rule.matched(name)) for rule in self.rules]
        return max((item for item in found if item[1]), key=lambda item: (item[1], len(item[0].prefix)), default=None)


def config_home(environ: Mapping[str, str]) -> Path | None:
    """Return the folder of the user's settings: XDG_CONFIG_HOME, else ~/.config; None without a home."""
    if folder := environ.get("XDG_CONFIG_HOME"):
        return Path(folder)
    return Path(environ["HOME"]) / ".config" if environ.get("HOME") else None


def registries_conf(options: StoreOptions) -> RegistriesConf:
    """Return what the files say that podman would read here; InvalidDocumentError names a broken one."""
    stamps = []
    for path in _files(options):
        try:
            status = path.stat()
        except OSError:
            continue
        stamps.append((path, status.st_mtime_ns, status.st_size))
    return _read_all(tuple(stamps))


def _files(options: StoreOptions) -> Iterator[Path]:
    """Yield the files in the order in which later ones win: one main file, then the folders beside it."""
    environ, system = options.environ, options.etc / "containers"
    home = config_home(environ)
    user = home / "containers" if home is not None else None
    named = environ.get("CONTAINERS_REGISTRIES_CONF") or environ.get("REGISTRIES_CONFIG_PATH")
    folders = [system, user]
    if named:
        if not Path(named).exists():
            raise UsageError(f"file '{named}' does not exist", hint="CONTAINERS_REGISTRIES_CONF names it")
        yield Path(named)
    elif user is not None and _settings(user, "registries.conf"):
        yield user / "registries.conf"
        folders = [user]
    else:
        yield system / "registries.conf"
    for folder in folders:
        if folder is not None:
            yield from _settings(folder / "registries.conf.d", "*.conf")


def _settings(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder, sorted; one that this user may not enter, as a home in a pod, holds none."""
    try:
        return sorted(folder.glob(pattern))
    except PermissionError:
        return []


@lru_cache(maxsize=8)
def _read_all(stamps: tuple[tuple[Path, int, int], ...]) -> RegistriesConf:
    rules: dict[str, Rule] = {}
    aliases: dict[str, str] = {}
    search: tuple[str, ...] = ()
    mode = "permissive"
    for path, _, _ in stamps:
        data = _load(path)
        if not data:
            continue
        one = _Reader(path)
        rules |= {rule.prefix: rule for rule in one.rules(data)}
        aliases |= one.aliases(data)
        search = one.search(data) or search
        mode = one.mode(data) or mode
    return RegistriesConf(
        rules=tuple(rules.values()),
        search=search,
        aliases={name: meaning for name, meaning in aliases.items() if meaning},
        mode=mode,
    )


def _load(path: Path) -> Mapping[str, Any]:
    import tomllib

    raw = read_file(path, _MAX_FILE, "file")
    if len(raw) > _MAX_FILE:
        raise InvalidDocumentError(f"file '{path}' is larger than {_MAX_FILE} bytes")
    for number, line in enumerate(raw.splitlines(), 1):
        # Keys with dots in them take time with the square of their parts.
        if line.count(b".") > _MAX_DOTS and not line.lstrip().startswith(b"#"):
            raise InvalidDocumentError(f"file '{path}': line {number} holds more than {_MAX_DOTS} dots")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError(f"file '{path}' is not valid TOML: {error}") from None


class _Reader:
    """Takes one file apart; errors name it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rules(self, data: Mapping[str, Any]) -> Iterator[Rule]:
        """Yield the rules; those of the first version of the format are taken over."""
        for table in self._tables(data, "registry"):
            location, prefix = self._location(table, "location"), self._location(table, "prefix")
            if not prefix and not location:
                raise self._bad("a [[registry]] has neither prefix nor location")
            wild = prefix.startswith("*.")
            yield Rule(
                prefix=prefix or location,
                location=location or ("" if wild else prefix),
                insecure=self._flag(table, "insecure"),
                blocked=self._flag(table, "blocked"),
                mirrors=tuple(self._mirrors(table)),
            )
        old = self._table(data, "registries")
        insecure = set(self._strings(self._table(old, "insecure"), "registries"))
        blocked = set(self._strings(self._table(old, "block"), "registries"))
        for name in sorted(insecure | blocked):
            yield Rule(prefix=name, location=name, insecure=name in insecure, blocked=name in blocked)

    def search(self, data: Mapping[str, Any]) -> tuple[str, ...]:
        old = self._table(self._table(data, "registries"), "search")
        return self._strings(data, "unqualified-search-registries") or self._strings(old, "registries")

    def aliases(self, data: Mapping[str, Any]) -> dict[str, str]:
        found = self._table(data, "aliases")
        if not all(isinstance(value, str) for value in found.values()):
            raise self._bad("an alias is not a string")
        return dict(found)

    def mode(self, data: Mapping[str, Any]) -> str:
        mode = self._text(data, "short-name-mode")
        if mode and mode not in _MODES:
            raise self._bad(f"'short-name-mode' is none of {', '.join(_MODES)}")
        return mode

    def _mirrors(self, table: Mapping[str, Any]) -> Iterator[Mirror]:
        digests = self._flag(table, "mirror-by-digest-only")
        for entry in self._tables(table, "mirror"):
            pull = self._text(entry, "pull-from-mirror") or ("digest-only" if digests else "all")
            if pull not in _PULLS:
                raise self._bad(f"'pull-from-mirror' is none of {', '.join(_PULLS)}")
            location = self._location(entry, "location")
            if not location:
                raise self._bad("a mirror has no location")
            yield Mirror(location=location, insecure=self._flag(entry, "insecure"), pull=pull)

    def _location(self, table: Mapping[str, Any], key: str) -> str:
        text = self._text(table, key).rstrip("/")
        if "://" in text or (text and not re.fullmatch(r"[!-~]+", text)):
            raise self._bad(f"'{key}' holds more than a host and a path: {text[:100]!r}")
        return text

    def _text(self, table: Mapping[str, Any], key: str) -> str:
        value = table.get(key, "")
        if not isinstance(value, str):
            raise self._bad(f"'{key}' is not a string")
        return value

    def _flag(self, table: Mapping[str, Any], key: str) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            raise self._bad(f"'{key}' is neither true nor false")
        return value

    def _strings(self, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._bad(f"'{key}' is not a list of strings")
        return tuple(item.rstrip("/") for item in value)

    def _table(self, table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = table.get(key, {})
        if not isinstance(value, Mapping):
            raise self._bad(f"'{key}' is not a table")
        return value

    def _tables(self, table: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            raise self._bad(f"'{key}' is not a list of tables")
        return value

    def _bad(self, message: str) -> InvalidDocumentError:
        return InvalidDocumentError(f"file '{self._path}': {message}")
