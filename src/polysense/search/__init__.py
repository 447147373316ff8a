"""Search by similarity: an embedded index of vectors with ids and metadata."""

from __future__ import annotations

from polysense.search.backend import Backend
from polysense.search.index import Metric, VectorIndex
from polysense.search.neighbours import Neighbours
from polysense.search.snapshot import check_free

__all__ = ["Backend", "Metric", "Neighbours", "VectorIndex", "check_free"]
