"""The result of a search for one query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32

__all__ = ["Neighbors"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Neighbors:
    """Rows of an index, nearest first; equal scores by row id.

    Attributes:
        ids: The rows' ids.
        scores: Their cosines or inner products with the query.
        metadata: Their columns, in the same order.
        approximate: Whether the ANN index was used; then a nearer row may be missing.
    """

    ids: list[int] | list[str]
    scores: Float32[np.ndarray, " k"]
    metadata: pl.DataFrame
    approximate: bool

    def __len__(self) -> int:
        return len(self.ids)

    def as_json(self) -> list[dict[str, object]]:
        """A dictionary for each row."""
        cells = self.metadata.to_dicts() if self.metadata.width else [{} for _ in self.ids]
        return [
            {"row_id": row_id, "score": float(score), "metadata": row}
            for row_id, score, row in zip(self.ids, self.scores, cells, strict=True)
        ]
