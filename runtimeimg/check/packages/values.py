"""Packages as values."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Package:
    """A package: `kind` is that of its package URL (deb, apk, rpm, pypi, npm), `namespace` a distribution or scope.

    `origin` is the source package where that is another one, `license` what the record says of it, `epoch` what rpm
    counts before the version.
    """

    kind: str
    name: str
    version: str
    namespace: str = ""
    architecture: str = ""
    origin: str = ""
    license: str = ""
    epoch: str = ""

    @property
    def purl(self) -> str:
        """The package URL (purl-spec, "Package URL")."""
        parts = [quote(part, safe="") for part in self.namespace.split("/") if part]
        version = f"@{quote(self.version, safe='.+-~:')}" if self.version else ""
        told = [("arch", self.architecture), ("epoch", self.epoch)]
        where = "&".join(f"{key}={quote(value, safe='')}" for key, value in told if value)
        where = f"?{where}" if where else ""
        return f"pkg:{self.kind}/{'/'.join([*parts, quote(self.name, safe='.+-~_')])}{version}{where}"

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.kind == "npm" and self.namespace else self.name
        return f"{name} {self.version} ({self.kind})" if self.version else f"{name} ({self.kind})"
