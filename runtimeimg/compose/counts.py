"""What the layers of an image come to together, held to the budgets."""

from __future__ import annotations

from runtimeimg import budgets
from runtimeimg.errors import InvalidDocumentError


class Counts:
    """What the layers of an image come to together: entries, those that are wanted, folders that none describes."""

    __slots__ = ("folders", "nodes", "rows")

    def __init__(self) -> None:
        self.rows = self.nodes = self.folders = 0

    def check(self) -> None:
        """Refuse what is too much."""
        if self.rows > budgets.MAX_ROWS:
            raise InvalidDocumentError(f"the layers of an image hold more than {budgets.MAX_ROWS} entries together")
        if self.nodes > budgets.MAX_NODES:
            raise InvalidDocumentError(
                f"more than {budgets.MAX_NODES} files are wanted of an image", hint="copy less of it"
            )
        if self.folders > budgets.FREE_FOLDERS + budgets.FOLDERS_OF_ENTRY * self.nodes:
            raise InvalidDocumentError(f"{self.folders} folders are in the paths of layers that do not describe them")
