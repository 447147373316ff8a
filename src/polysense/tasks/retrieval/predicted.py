"""Embeddings as columns of a table: one for each input column of the joint space."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.retrieval.record import RetrievalTarget

__all__ = ["predicted_columns"]


def predicted_columns(
    target: RetrievalTarget, outputs: Arrays, processor: TargetProcessor, table: Table, geometry: Mapping[str, Geometry]
) -> dict[str, object]:
    """Lists of numbers, null where the column is absent; see `TaskSpec.decode`."""
    return {
        f"{target.name}[{name}]": _embeddings(outputs["values"][:, index]) for index, name in enumerate(target.members)
    }


def _embeddings(values: np.ndarray) -> polars.Series:
    cells = [None if np.isnan(embedding).any() else embedding.tolist() for embedding in values]
    return polars.Series(cells, dtype=polars.List(polars.Float32))
