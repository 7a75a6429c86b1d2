"""Addresses that a registry gives: read once, by the parser that also connects, so that no two readers can differ.

Redirects, upload locations, token servers and links all come through here. What is refused: backslashes, control
characters and spaces, anything beyond ASCII, user names, ports that are none, schemes other than HTTP's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode, urljoin

_MAX_LENGTH = 16 * 1024
_PORTS = {"http": 80, "https": 443}
_CLEAN = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without the space and the backslash, which readers of addresses take in different ways."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_AUTHORITY = re.compile(r"\A[^/?#]*(?://([^/?#]*))?.*\Z", re.DOTALL)


class BadAddressError(ValueError):
    """What was given is no address that is gone to; the message says why and holds nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An absolute HTTP address: `url` is what is connected to, the rest is what the connecting parser found in it."""

    scheme: str
    host: str
    port: int
    url: str

    @classmethod
    def parse(cls, text: str, base: Address | None = None) -> Self:
        """Return the address that `text` names, relative to `base` where it is a path; BadAddressError otherwise."""
        from urllib3.exceptions import LocationParseError
        from urllib3.util import parse_url

        if len(text) > _MAX_LENGTH:
            raise BadAddressError(f"is longer than {_MAX_LENGTH} characters")
        if not _CLEAN.fullmatch(text):
            raise BadAddressError("holds characters that no address holds")
        try:
            # What names a scheme stands alone, which joining would not always let it.
            whole = text if base is None or _SCHEME.match(text) else urljoin(base.url, text)
            found = parse_url(whole)
        except (LocationParseError, ValueError):
            raise BadAddressError("cannot be read") from None
        scheme, host = found.scheme or "", found.host or ""
        if scheme not in _PORTS or not host:
            raise BadAddressError("is not one of HTTP")
        if "@" in _AUTHORITY.sub(r"\1", whole):
            raise BadAddressError("holds a user name")
        if found.port == 0:
            raise BadAddressError("has the port 0")
        bare = found._replace(fragment=None)
        return cls(scheme=scheme, host=host, port=found.port or _PORTS[scheme], url=bare.url)

    @property
    def authority(self) -> tuple[str, str, int]:
        """Scheme, host and port: two addresses that share it are served by the same side."""
        return self.scheme, self.host, self.port

    @property
    def host_port(self) -> str:
        """Host, and the port where it is not the scheme's own."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """The address without path and query, which may hold secrets: for messages."""
        return f"{self.scheme}://{self.host_port}"

    def with_query(self, pairs: list[tuple[str, str]]) -> Address:
        """Return the address with more parameters in its query."""
        if not pairs:
            return self
        return Address.parse(f"{self.url}{'&' if '?' in self.url else '?'}{urlencode(pairs)}")

    def as_secure(self, authority: Address) -> Address:
        """Return the same path at the scheme, host and port of another address."""
        _, _, rest = self.url.partition("://")
        mark = min((at for at in map(rest.find, "/?") if at >= 0), default=len(rest))
        return Address.parse(authority.origin + rest[mark:])
