"""Predicted labels as columns of a table: a list in each row, and probabilities."""

from __future__ import annotations

from collections.abc import Mapping

from polysense.core.geometry import Geometry
from polysense.core.task_spec import Arrays
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.multilabel.record import MultilabelTarget
from polysense.tasks.multilabel.target import MultilabelProcessor

__all__ = ["predicted_columns"]

_MOST_CLASS_COLUMNS = 100


def predicted_columns(
    target: MultilabelTarget,
    outputs: Arrays,
    processor: TargetProcessor,
    table: Table,
    geometry: Mapping[str, Geometry],
) -> dict[str, object]:
    """The labels, and the probability of each where there are few; see `TaskSpec.decode`."""
    assert isinstance(processor, MultilabelProcessor), f"{target.name}: {type(processor).__name__} spells no labels"
    columns: dict[str, object] = {target.name: processor.column(outputs["values"])}
    if len(target.classes) <= _MOST_CLASS_COLUMNS:
        for index, name in enumerate(target.classes):
            columns[f"{target.name}_probability[{name}]"] = outputs["probabilities"][:, index]
    return columns
