"""Predicted numbers as columns of a table, named as the training table's."""

from __future__ import annotations

from collections.abc import Mapping

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.regression.record import RegressionTarget

__all__ = ["predicted_columns"]


def predicted_columns(
    target: RegressionTarget,
    outputs: Arrays,
    processor: TargetProcessor,
    table: Table,
    geometry: Mapping[str, Geometry],
) -> dict[str, object]:
    """A column for each of the target's, and where its margin is known its interval; see `TaskSpec.decode`."""
    columns: dict[str, object] = {}
    for index, column in enumerate(target.columns):
        columns[column] = outputs["values"][:, index]
        if "low" in outputs:
            columns[f"{column}_low"], columns[f"{column}_high"] = outputs["low"][:, index], outputs["high"][:, index]
    return columns
