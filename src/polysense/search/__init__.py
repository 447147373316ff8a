"""Search by similarity: indexes of vectors with ids and metadata, in a folder or on object storage."""

from __future__ import annotations

from polysense.search.backend import Backend, Metric
from polysense.search.index import VectorIndex
from polysense.search.lance import LanceIndex
from polysense.search.neighbours import Neighbours
from polysense.search.places import check_place, create_index, open_index
from polysense.search.snapshot import check_free

__all__ = [
    "Backend",
    "LanceIndex",
    "Metric",
    "Neighbours",
    "VectorIndex",
    "check_free",
    "check_place",
    "create_index",
    "open_index",
]
