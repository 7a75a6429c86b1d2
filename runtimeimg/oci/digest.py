"""Digests: what content is called by (OCI image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from typing import Self

from runtimeimg.errors import InvalidDocumentError

_ENCODED = {"sha256": re.compile(r"[a-f0-9]{64}\Z"), "sha512": re.compile(r"[a-f0-9]{128}\Z")}


class Digest(str):
    """`algorithm:encoded`, checked once when made; equal and hashed as its text."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the digest that `text` spells, or raise InvalidDocumentError."""
        if isinstance(text, cls):
            return text
        if isinstance(text, str):
            algorithm, _, encoded = text.partition(":")
            pattern = _ENCODED.get(algorithm)
            if pattern is not None and pattern.match(encoded):
                return cls(text)
        raise InvalidDocumentError(f"digest {str(text)[:100]!r} is not a sha256 or sha512 digest")

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the sha256 digest of `data`."""
        return cls("sha256:" + hashlib.sha256(data).hexdigest())

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        """The hexadecimal part."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first twelve hexadecimal digits, for people."""
        return self.encoded[:12]
