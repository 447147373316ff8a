"""Approximate search: a graph of near neighbours that a search walks along (HNSW, Malkov and Yashunin, 2018).

faiss builds and walks it. Every vector is linked to up to 64 others on the lowest level; a search keeps the `breadth`
best seen so far and stops when none of their links leads closer. Vectors lie in the graph at half precision: half of
the memory (about 0.8 KB a vector of 256, the links among them), and no recall lost, for what it finds is scored again
with the vectors themselves. Building costs minutes for a million vectors, the graph must fit into memory, and what it
finds is measured, never assumed (`measure`).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int

from polysense.errors import DependencyError, SearchError
from polysense.search.durable import FileRecord, record_file, write_file

__all__ = ["BREADTHS", "Graph"]

BREADTHS = (32, 64, 128, 256, 512, 1024)
"""What is tried, from fast to thorough."""

_LINKS = 32
_BUILD_BREADTH = 100


class Graph:
    """A graph over rows, by inner product.

    Args:
        index: faiss's, whose rows are numbered as they were added.
        order: int64 [rows], each one's position in the index that it is of.
    """

    def __init__(self, index: Any, order: Int[np.ndarray, " rows"]) -> None:
        self._index = index
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    @classmethod
    def empty(cls, dim: int) -> Graph:
        """A graph without rows.

        Raises:
            DependencyError: faiss is not installed.
        """
        faiss = _faiss()
        index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, _LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _BUILD_BREADTH
        return cls(index, np.zeros(0, dtype=np.int64))

    @classmethod
    def load(cls, path: Path, order: Path) -> Graph:
        """Reads a graph and its order.

        Raises:
            DependencyError: faiss is not installed.
            SearchError: It can't be read.
        """
        try:
            return cls(_faiss().read_index(str(path)), np.fromfile(order, dtype=np.int64))
        except RuntimeError as error:
            raise SearchError(f"{path}: can't be read as a graph; build it again") from error

    def save(self, path: Path, order: Path) -> tuple[FileRecord, FileRecord]:
        """Writes the graph and its order through to the disk."""
        _faiss().write_index(self._index, str(path))
        return record_file(path), write_file(order, [self.order])

    def add(self, positions: Int[np.ndarray, " rows"], vectors: Float32[np.ndarray, "rows dim"]) -> None:
        """Adds rows."""
        self._index.add(np.ascontiguousarray(vectors))
        self.order = np.concatenate([self.order, positions])

    def search(
        self,
        queries: Float32[np.ndarray, "queries dim"],
        count: int,
        *,
        breadth: int,
        wanted: Bool[np.ndarray, " positions"] | None = None,
    ) -> list[Int[np.ndarray, " _"]]:
        """Per query up to `count` positions of rows that are probably nearest; fewer where the walk ended early.

        Args:
            queries: What is looked for.
            count: How many.
            breadth: Candidates that are kept; at least `count`.
            wanted: By position, the rows that may be found; others are walked over.
        """
        faiss = _faiss()
        # Without a selector faiss leaves out a check for each row that it walks over.
        selector = (
            None if wanted is None else faiss.IDSelectorBitmap(np.packbits(wanted[self.order], bitorder="little"))
        )
        parameters = faiss.SearchParametersHNSW(efSearch=max(breadth, count), sel=selector)
        _, found = self._index.search(np.ascontiguousarray(queries), count, params=parameters)
        return [self.order[row[row >= 0]] for row in found]


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise DependencyError(
            "approximate search needs faiss: pip install 'polysense[search]'; exact search needs nothing"
        ) from error
