"""A ranking as columns of a table: the first items of each row's user, their scores, and why."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.ranking.record import RankingTarget

__all__ = ["predicted_columns"]

_MOST = 20


def predicted_columns(
    target: RankingTarget, outputs: Arrays, processor: TargetProcessor, table: Table, geometry: Mapping[str, Geometry]
) -> dict[str, object]:
    """See `TaskSpec.decode`. Items are spelled as their keys; lists end where every other item was chosen before."""
    numbers, scores = outputs["values"][:, :_MOST], outputs["scores"][:, :_MOST]
    outputs = {**outputs, "because": outputs["because"][:, :_MOST]}
    there = numbers > 0
    items = [[processor.render(n) for n in row[own]] for row, own in zip(numbers, there, strict=True)]
    values = [row[own].astype(np.float64).tolist() for row, own in zip(scores, there, strict=True)]
    because = [[processor.render(n) for n in row[own]] for row, own in zip(outputs["because"], there, strict=True)]
    known = ["history" if count else "description or popularity" for count in outputs["history"].tolist()]
    return {
        target.name: polars.Series(items, dtype=polars.List(polars.String)),
        f"{target.name}_scores": polars.Series(values, dtype=polars.List(polars.Float32)),
        f"{target.name}_because": polars.Series(because, dtype=polars.List(polars.String)),
        f"{target.name}_user_known_by": known,
    }
