"""Predicted classes as columns of a table: the class as the training table spells it, and probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["predicted_columns"]

_MOST_CLASS_COLUMNS = 100


def predicted_columns(
    target: ClassificationTarget,
    outputs: Arrays,
    processor: TargetProcessor,
    table: Table,
    geometry: Mapping[str, Geometry],
) -> dict[str, object]:
    """The class, its probability, and the probability of each class where there are few; see `TaskSpec.decode`."""
    values, probabilities = outputs["values"], outputs["probabilities"]
    columns: dict[str, object] = {
        target.name: [processor.render(value) for value in values],
        f"{target.name}_probability": probabilities[np.arange(len(values)), values],
    }
    if len(target.classes) <= _MOST_CLASS_COLUMNS:
        for index, name in enumerate(target.classes):
            columns[f"{target.name}_probability[{name}]"] = probabilities[:, index]
    return columns
