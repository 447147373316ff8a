"""Predictions of a `ValueTaskSpec` for people: as columns of a table, and in words beside what is correct."""

from __future__ import annotations

from collections.abc import Mapping

from polysense.core.geometry import Geometry
from polysense.core.registry import task
from polysense.core.sample_output import SampleOutput
from polysense.core.schema import Target
from polysense.core.task_spec import Arrays
from polysense.core.value_task import ValueTaskSpec
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.evaluation.evaluator import Evaluation

__all__ = ["predicted_columns", "sample_outputs"]


def predicted_columns(
    target: Target, outputs: Arrays, processor: TargetProcessor, table: Table, geometry: Mapping[str, Geometry]
) -> dict[str, object]:
    """One column, of values as the training table would hold them; see `TaskSpec.decode`."""
    return {target.name: [processor.render(value) for value in outputs["values"]]}


def sample_outputs(target: Target, evaluation: Evaluation, position: int, dataset: TableDataset) -> list[SampleOutput]:
    """A row's value and the predicted one, neither right nor wrong; see `TaskSpec.sample_outputs`."""
    statistics = evaluation.statistics[target.name]
    if not statistics["present"][position]:
        return []
    spec = task(target.task)
    assert isinstance(spec, ValueTaskSpec), f"{target.task}: its samples are those of a ValueTaskSpec, and it is none"
    truth, predicted = (spec.spelled(target, statistics[name][position]) for name in ("truth", "predicted"))
    return [SampleOutput(references=[truth], value=predicted)]
