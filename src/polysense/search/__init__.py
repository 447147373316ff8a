"""Search by similarity: indexes of vectors with ids and metadata, in a folder or on object storage."""

from __future__ import annotations

from polysense.search.ann import RecallReport
from polysense.search.index import Metric, Neighbors, VectorIndex

__all__ = ["Metric", "Neighbors", "RecallReport", "VectorIndex"]
