"""What long work reports while it goes on; the command line draws it, the library only calls it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives lines of output and the movement of bytes; may be called from several threads."""

    def line(self, text: str) -> None:
        """Show a line of a builder's output or a step that begins."""

    def event(self, data: dict[str, object]) -> None:
        """Pass on a machine-readable message of a builder as it came."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """Begin to show a transfer; `total` is its bytes, None when not known.

        `label` says what is done with which image, and last with which part of it: transfers whose labels differ in
        their last word alone may be shown as one.
        """

    def advance(self, key: str, count: int) -> None:
        """Note that `count` further bytes of a transfer have moved."""

    def done(self, key: str, note: str = "") -> None:
        """End a transfer; `note` says how when not by moving bytes (mounted, exists, cached)."""


class Silent:
    """A Progress that shows nothing."""

    def line(self, text: str) -> None:
        """Show nothing."""

    def event(self, data: dict[str, object]) -> None:
        """Show nothing."""

    def start(self, key: str, label: str, total: int | None) -> None:
        """Show nothing."""

    def advance(self, key: str, count: int) -> None:
        """Show nothing."""

    def done(self, key: str, note: str = "") -> None:
        """Show nothing."""
