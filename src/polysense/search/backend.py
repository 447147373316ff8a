"""What a search needs of whatever holds the vectors: one interface, two engines.

`VectorIndex` is a folder on one machine. `LanceIndex` is a LanceDB table, on object storage too, for what one machine
does not hold; an extra. Several modalities in one query are above both: a query is a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from polysense.search.manifest import Measured
from polysense.search.neighbours import Neighbours
from polysense.search.rows import Ids, Metadata

__all__ = ["Backend", "Metric"]

Metric = Literal["cosine", "inner_product"]


@runtime_checkable
class Backend(Protocol):
    """Vectors with ids and metadata.

    A reader sees what was there when it was opened, or last refreshed; a writer sees what it wrote. Wherever a
    `SearchError` is raised, nothing was changed.
    """

    def __len__(self) -> int:
        """Rows that are there."""

    def __enter__(self) -> Backend:
        """For `with`, which closes it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes it."""

    def close(self) -> None:
        """Ends writing; what was read stays readable."""

    def refresh(self) -> bool:
        """Takes up what was written since; returns whether there was anything."""

    @property
    def place(self) -> str:
        """Where it is: a folder, or an address on object storage."""

    @property
    def dim(self) -> int:
        """Of the vectors."""

    @property
    def metric(self) -> str:
        """What scores are: "cosine" or "inner_product"."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What is remembered for the user, such as the bundle that made the vectors."""

    @property
    def id_type(self) -> str | None:
        """Whether row ids are "int" or "str"; None while there never was a row."""

    @property
    def columns(self) -> list[str]:
        """The metadata's columns."""

    @property
    def graph(self) -> Measured | None:
        """What was measured of approximate search; None where there is nothing to search with but every row."""

    @property
    def ids(self) -> pl.Series:
        """The ids of all rows that are there."""

    def contains(self, ids: Ids) -> Bool[np.ndarray, " ids"]:
        """Which of some ids are there."""

    def get(self, ids: Ids) -> tuple[Float32[np.ndarray, "ids dim"], pl.DataFrame]:
        """Stored vectors and metadata by id, in that order."""

    def add(self, ids: Ids, vectors: np.ndarray, metadata: Metadata = None) -> None:
        """Adds rows, all or none; they are stored when this returns."""

    def update(self, ids: Ids, vectors: np.ndarray, metadata: Metadata = None) -> int:
        """Adds rows, or replaces those that are there, all or none; returns how many were."""

    def delete(self, ids: Ids) -> int:
        """Deletes rows; returns how many were there."""

    def remember(self, **info: Any) -> None:
        """Adds to `info`."""

    def compact(self) -> None:
        """Gives back the space of deleted rows."""

    def build_graph(self, *, queries: Float32[np.ndarray, "queries dim"] | None = None, seed: int = 0) -> Measured:
        """Prepares approximate search, and measures it against exact search."""

    def search(
        self,
        queries: np.ndarray,
        k: int = 10,
        *,
        filter: str | None = None,
        exact: bool | None = None,
        with_metadata: bool = True,
    ) -> Sequence[Neighbours]:
        """The k nearest rows that meet the filter, per query."""

    def duplicates(self, threshold: float, *, filter: str | None = None, limit: int = 1_000_000) -> pl.DataFrame:
        """All pairs of rows whose vectors' cosine is at least a threshold."""

    def verify(self) -> int:
        """Reads every byte and compares checksums; returns how many files were read."""
