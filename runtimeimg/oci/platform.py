"""Platforms and their matching (OCI image-spec image-index.md, "platform"; containerd's normalisation)."""

from __future__ import annotations

import platform as _host
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Self

from runtimeimg.errors import InvalidDocumentError, UsageError

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}
_DEFAULT_VARIANTS = {"arm": "v7", "arm64": "v8", "amd64": "v1"}
_OS = re.compile(r"([^()+]+)(?:\(([^()+]*)((?:\+[^()+]+)*)\))?\Z")
_PLAIN = frozenset({"os", "architecture", "variant", "os.version"})
_KNOWN = _PLAIN | {"os.features"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """An operating system and processor that an image is for; `variant` is empty where there is none.

    `os_features` are sorted, each once; `extra` keeps the fields not named here.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the platform spelt `os[(version+feature...)]/architecture[/variant]`; a bare architecture means linux.

        The parentheses are as containerd writes them: `windows(10.0.20348)/amd64`, `linux(+erofs)/amd64`.
        """
        parts = text.strip().lower().split("/")
        if len(parts) == 1 and parts[0]:
            parts.insert(0, "linux")
        system = _OS.match(parts[0])
        if not 2 <= len(parts) <= 3 or not all(parts) or system is None:
            raise UsageError(
                f"platform {text!r} is not of the form os/architecture[/variant]",
                hint="for example linux/amd64",
            )
        architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], ""))
        return cls(
            os=system[1],
            architecture=architecture,
            variant=parts[2] if len(parts) == 3 else variant,
            os_version=system[2] or "",
            os_features=tuple(sorted({item for item in (system[3] or "").split("+") if item})),
        )

    @classmethod
    def from_json(cls, data: object) -> Self | None:
        """Return the platform of a descriptor or config, or None where it names none."""
        if not isinstance(data, Mapping):
            return None
        fields = {key: data.get(key, "") for key in ("os", "architecture", "variant", "os.version")}
        if not all(isinstance(value, str) for value in fields.values()):
            raise InvalidDocumentError("platform holds a value that is not a string")
        features = data.get("os.features") or ()
        if not isinstance(features, (list, tuple)) or not all(isinstance(item, str) for item in features):
            raise InvalidDocumentError("os.features of a platform is not a list of strings")
        if not fields["os"] or not fields["architecture"]:
            return None
        return cls(
            os=fields["os"],
            architecture=fields["architecture"],
            variant=fields["variant"],
            os_version=fields["os.version"],
            os_features=tuple(sorted(set(features))) if features else (),
        )

    @classmethod
    def of_entry(cls, data: object) -> Self | None:
        """Return the platform that an index gives one of its entries, fields that are not known kept in `extra`."""
        if type(data) is dict and data.keys() <= _PLAIN and {*map(type, data.values())} == {str}:
            return cls._plain(*map(data.get, ("os", "architecture", "variant", "os.version")))
        found = cls.from_json(data)
        if found is None or not isinstance(data, Mapping) or data.keys() <= _KNOWN:
            return found
        return replace(found, extra=MappingProxyType({key: data[key] for key in data if key not in _KNOWN}))

    @classmethod
    @lru_cache(1024)  # an index of thousands of entries is for a few platforms
    def _plain(
        cls, system: str | None, architecture: str | None, variant: str | None, version: str | None
    ) -> Self | None:
        if not system or not architecture:
            return None
        return cls(os=system, architecture=architecture, variant=variant or "", os_version=version or "")

    @classmethod
    def host(cls) -> Self:
        """Return the platform that containers on this machine are of: linux on this processor."""
        architecture, variant = _ARCHITECTURES.get(_host.machine().lower(), (_host.machine().lower(), ""))
        return cls(os="linux", architecture=architecture, variant=variant)

    def to_json(self) -> dict[str, Any]:
        """Return the platform object of a descriptor, empty fields left out."""
        fields = {
            "architecture": self.architecture,
            "os": self.os,
            "os.version": self.os_version,
            "os.features": list(self.os_features),
            "variant": self.variant,
        }
        return {key: value for key, value in fields.items() if value} | dict(self.extra)

    @property
    def normal(self) -> tuple[str, str, str]:
        """OS, architecture and variant with the default variant filled in."""
        return (self.os, self.architecture, self.variant or _DEFAULT_VARIANTS.get(self.architecture, ""))

    def matches(self, wanted: Self) -> bool:
        """Tell whether something of this platform is what `wanted` asks for (default variants are equal)."""
        return self.normal == wanted.normal

    @property
    def downward(self) -> tuple[Self, ...]:
        """The platform itself and those whose programs surely run on it: amd64 levels hold all below them."""
        level = self.variant.removeprefix("v")
        if self.architecture != "amd64" or level not in {"2", "3", "4"}:
            return (self,)
        return tuple(replace(self, variant=f"v{number}") for number in range(int(level), 0, -1))

    def closer(self, said: Self) -> Self:
        """Return the platform with what `said` tells beyond OS and architecture in place of its own."""
        return replace(
            self,
            variant=said.variant or self.variant,
            os_version=said.os_version or self.os_version,
            os_features=said.os_features or self.os_features,
        )

    @property
    def full(self) -> str:
        """The platform with the version and features of its OS, as `parse` reads it."""
        inside = "+".join((self.os_version, *self.os_features))
        return "/".join(filter(None, (f"{self.os}({inside})" if inside else self.os, self.architecture, self.variant)))

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
