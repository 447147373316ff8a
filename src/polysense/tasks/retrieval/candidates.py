"""What a search over a split looks among: the different cells of one column, and which of them are right for a row."""

from __future__ import annotations

import numpy as np

__all__ = ["Candidates", "there_of"]


def there_of(embeddings: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Which cells take part: those that the table has and the model could place; bool [rows, columns]."""
    result: np.ndarray = np.isfinite(embeddings).all(axis=2) & (keys[:, : embeddings.shape[1]] != 0)
    return result


class Candidates:
    """One column's different cells: a caption that stands under several images is one candidate.

    Attributes:
        rows: int64 [candidates], a row that holds each.
    """

    def __init__(self, embeddings: np.ndarray, keys: np.ndarray, column: int) -> None:
        """Finds them.

        Args:
            embeddings: float [rows, columns, size], NaN where a column is absent.
            keys: int64 [rows, columns or one more], what a cell holds, 0 where it is missing.
            column: Which column is looked among.
        """
        self._embeddings, self._keys, self._column = embeddings, keys, column
        self._holders = np.flatnonzero(there_of(embeddings, keys)[:, column])
        _, first, candidate = np.unique(keys[self._holders, column], return_index=True, return_inverse=True)
        self._by_candidate = np.argsort(candidate, kind="stable")
        self._starts = np.searchsorted(candidate[self._by_candidate], np.arange(len(first)))
        self.rows = self._holders[first]
        self._pool = embeddings[self.rows, column].astype(np.float32)

    @property
    def num_holders(self) -> int:
        """Rows that have the column."""
        return len(self._holders)

    def scores(self, rows: np.ndarray, column: int) -> np.ndarray:
        """Similarities of some rows' cells of another column to every candidate; float32 [rows, candidates]."""
        result: np.ndarray = self._embeddings[rows, column].astype(np.float32) @ self._pool.T
        return result

    def right(self, rows: np.ndarray, column: int) -> np.ndarray:
        """Which candidates belong to some rows: any that a row holds with an equal key; bool [rows, candidates]."""
        same = rows[:, None] == self._holders
        shared = [column, self._column, *range(self._embeddings.shape[1], self._keys.shape[1])]
        for key in shared:
            mine = self._keys[rows, key][:, None]
            same |= (mine == self._keys[self._holders, key]) & (mine != 0)
        result: np.ndarray = np.logical_or.reduceat(same[:, self._by_candidate], self._starts, axis=1)
        return result
