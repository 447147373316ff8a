"""What fills a table's missing cells before anything is learned from them or read of them."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from polysense.data.sources import Table

__all__ = ["Filler"]


@runtime_checkable
class Filler(Protocol):
    """Fills missing cells of a table; each row from what it has itself."""

    def fill(self, table: Table) -> Table:
        """The table with `fills`. A cell that is there is never among them."""
