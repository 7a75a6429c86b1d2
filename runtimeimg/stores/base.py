"""What every store offers: a Source gives an image, a Destination takes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from runtimeimg.account import Account
from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Descriptor, Location, Platform
from runtimeimg.progress import Progress, Silent


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How stores are reached. The command line fills it; nothing below reads the environment.

    `environ` is the process's environment (DOCKER_HOST, REGISTRY_AUTH_FILE, DOCKER_CONFIG, XDG_*, HOME, proxies).
    `etc` is the folder of the system's settings, `containers` and `docker` in it.
    `plain_http` holds `host[:port]` of registries spoken to without TLS besides loopback ones, `insecure` those whose
    TLS is not verified, and that are spoken to without where they have none.
    `attempts` are the tries of one request, more of them until `retry_time` seconds have passed; `timeout` is seconds
    without a byte moving. `max_top` are the bytes that the manifest or index may have that a name stands for.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    authfile: Path | None = None
    plain_http: frozenset[str] = frozenset()
    insecure: frozenset[str] = frozenset()
    tls_verify: bool = True
    ca_file: Path | None = None
    etc: Path = Path("/etc")
    attempts: int = 5
    retry_time: float = 0.0
    timeout: float = 60.0
    max_top: int = MAX_DOCUMENT
    choose: Callable[[Image | ImageIndex, Platform | None], Image] | None = None
    """What chooses the image of an index where more than a platform is asked for, and refuses one that does not do."""
    progress: Progress = field(default_factory=Silent)
    account: Account = field(default_factory=Account)
    opened: dict[tuple[Location, str | None], Image | ImageIndex] = field(
        default_factory=dict, repr=False, compare=False
    )
    """What was opened with these options, by location and platform; see `open_once`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a destination holds now.

    `descriptor` is that of the manifest or index, None in an Engine, which keeps none; `image_id` is set there.
    """

    name: str
    descriptor: Descriptor | None = None
    image_id: str | None = None


def unasked() -> None:
    """Let a name move."""


class Source(Protocol):
    """A place an image is read from."""

    @property
    def name(self) -> str:
        """What messages call it, transport included."""

    def open(self) -> Image | ImageIndex:
        """Return what is there, documents read and verified, layers not yet; NotFoundError when there is nothing."""


class Destination(Protocol):
    """A place an image is written to."""

    @property
    def name(self) -> str:
        """What messages call it, transport included."""

    def check(self) -> None:
        """Raise now what `write` would raise for want of a place or a permission; nothing is left behind."""

    def write(self, image: Image | ImageIndex, confirm: Callable[[], None] = unasked) -> Written:
        """Write all blobs, then the manifests, and last the name: an error on the way leaves the old name as it was.

        `confirm` is called right before the name moves, with the lock held where there is one; it may raise.
        """
