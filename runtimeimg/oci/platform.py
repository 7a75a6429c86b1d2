"""Platforms and their matching (OCI image-spec image-index.md, "platform"; containerd's normalisation)."""

from __future__ import annotations

import platform as _host
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """An operating system and processor that an image is for; `variant` is empty where there is none."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the platform spelt `os/architecture[/variant]`; a bare architecture means linux."""
        parts = text.strip().lower().split("/")
        if len(parts) == 1 and parts[0]:
            parts.insert(0, "linux")
        if not 2 <= len(parts) <= 3 or not all(parts):
            raise UsageError(
                f"platform {text!r} is not of the form os/architecture[/variant]",
                hint="for example linux/amd64",
            )
        architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], ""))
        return cls(os=parts[0], architecture=architecture, variant=parts[2] if len(parts) == 3 else variant)

    @classmethod
    def from_json(cls, data: object) -> Self | None:
        """Return the platform of a descriptor or config, or None where it names none."""
        if not isinstance(data, Mapping):
            return None
        fields = {key: data.get(key, "") for key in ("os", "architecture", "variant", "os.version")}
        if not all(isinstance(value, str) for value in fields.values()):
            raise InvalidDocumentError("platform holds a value that is not a string")
        if not fields["os"] or not fields["architecture"]:
            return None
        return cls(
            os=fields["os"],
            architecture=fields["architecture"],
            variant=fields["variant"],
            os_version=fields["os.version"],
        )

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
            "variant": self.variant,
        }
        return {key: value for key, value in fields.items() if value}

    @property
    def normal(self) -> tuple[str, str, str]:
        """OS, architecture and variant with the default variant filled in."""
        return (self.os, self.architecture, self.variant or _DEFAULT_VARIANTS.get(self.architecture, ""))

    def matches(self, wanted: Self) -> bool:
        """Tell whether something of this platform is what `wanted` asks for (default variants are equal)."""
        return self.normal == wanted.normal

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
