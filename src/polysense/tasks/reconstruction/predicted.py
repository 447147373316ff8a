"""Reconstruction errors as columns of a table; what is reconstructed itself is `polysense impute`'s."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.reconstruction.record import ReconstructionTarget

__all__ = ["predicted_columns"]


def predicted_columns(
    target: ReconstructionTarget,
    outputs: Arrays,
    processor: TargetProcessor,
    table: Table,
    geometry: Mapping[str, Geometry],
) -> dict[str, object]:
    """The mean error over a row's columns, and each column's; null without a true cell. See `TaskSpec.decode`."""
    errors = outputs["errors"].astype(np.float64)
    known = ~np.isnan(errors)
    total = np.where(known, errors, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    columns = {f"{target.name}.error": np.where(known.any(axis=1), total, np.nan)}
    columns |= {f"{target.name}.{name}.error": errors[:, index] for index, name in enumerate(target.members)}
    return {name: polars.Series(values).fill_nan(None) for name, values in columns.items()}
