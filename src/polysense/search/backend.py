"""What a search needs of whatever holds the vectors: the seam for engines that span several machines.

`VectorIndex` is the only backend there is. An engine on object storage (LanceDB, for one) would stand beside it in this
folder, behind an extra, and pass the same tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from polysense.search.neighbours import Neighbours
from polysense.search.rows import Ids, Metadata

__all__ = ["Backend"]


@runtime_checkable
class Backend(Protocol):
    """Vectors with ids and metadata."""

    @property
    def dim(self) -> int:
        """Of the vectors."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What is remembered for the user, such as the bundle that made the vectors."""

    def __len__(self) -> int:
        """Rows that are there."""

    def add(self, ids: Ids, vectors: np.ndarray, metadata: Metadata = None) -> None:
        """Adds rows, durably, all or none."""

    def update(self, ids: Ids, vectors: np.ndarray, metadata: Metadata = None) -> int:
        """Adds rows, or replaces those that are there; returns how many were."""

    def delete(self, ids: Ids) -> int:
        """Deletes rows; returns how many were there."""

    def search(
        self, queries: np.ndarray, k: int = 10, *, filter: str | None = None, exact: bool | None = None
    ) -> Sequence[Neighbours]:
        """The k nearest rows that meet the filter, per query."""
