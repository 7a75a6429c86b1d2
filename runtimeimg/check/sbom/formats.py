"""The formats of bills of materials; each is written with its project's own library, which is an extra."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

from runtimeimg.check.sbom.contents import Contents
from runtimeimg.errors import UnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format: its name, its media type (also the artifact type of referrers), the library that writes it."""

    name: str
    title: str
    media_type: str
    library: str

    def check(self) -> None:
        """Raise UnavailableError where the library is not installed."""
        if importlib.util.find_spec(self.library) is None:
            raise UnavailableError(
                f"{self.title} documents cannot be written: the library '{self.library}' is not installed",
                hint="pip install 'runtimeimg[sbom]'",
            )


FORMATS = {
    item.name: item
    for item in (
        Format(
            name="cyclonedx",
            title="CycloneDX",
            media_type="application/vnd.cyclonedx+json",
            library="cyclonedx",
        ),
        Format(name="spdx", title="SPDX", media_type="application/spdx+json", library="spdx_tools"),
    )
}


def written(contents: Contents, form: Format) -> bytes:
    """Return a bill of materials as JSON; the same bytes for the same contents.

    UnavailableError where the library for the format is not installed.
    """
    form.check()
    module = importlib.import_module(f"runtimeimg.check.sbom.{form.name}")
    data: bytes = module.document(contents)
    return data
