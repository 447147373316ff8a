"""What a model made of a validation row, ready for samples.html: an output per target, or per direction of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polysense.core.modality import Modality, Task
from polysense.core.schema import Column, Target
from polysense.data.dataset import TableDataset
from polysense.data.processor import Processor
from polysense.data.sources import Table
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.neighbours import Nearest, can_look, nearest
from polysense.evaluation.samples import Output, output_of
from polysense.evaluation.tiles import Tile
from polysense.tasks.retrieval.metrics import directions
from polysense.tasks.tagging.tagged import Marked, spelled
from polysense.tasks.tagging.target import TaggingTarget
from polysense.workflows.representation.neighbors import found_tiles

__all__ = ["Told", "outputs_of"]

_FOUND = 3
_SHORT = 60  # characters of a text that was found


@dataclass(frozen=True, eq=False, kw_only=True)
class Told:
    """One output of one row.

    Attributes:
        wanted: What should come out; several texts may do.
        output: What came out.
        direction: Of a shared space, which column looks for which; else "".
        marked: Of segments.
        found: Of a search.
    """

    wanted: list[str]
    output: Output
    direction: str = ""
    marked: Marked | None = None
    found: Sequence[Tile] = ()


def outputs_of(target: Target, evaluation: Evaluation, position: int, epoch: int, dataset: TableDataset) -> list[Told]:
    """What a row's target came to; empty where there is nothing to compare or no words for it.

    Args:
        target: Which.
        evaluation: Of all rows of the data set.
        position: The row's.
        epoch: From 1.
        dataset: The rows.
    """
    processor = dataset.processor
    assert isinstance(processor, Processor)
    own = processor.targets[target.name]
    if target.task is Task.CONTRASTIVE:
        return _searches(target, evaluation, position, epoch, dataset)
    if isinstance(own, TaggingTarget):
        return _segments(target, own, evaluation, position, epoch, dataset.table)
    found = output_of(target, evaluation, position, epoch, own.render)
    return [] if found is None else [Told(wanted=found[0], output=found[1])]


def _segments(
    target: Target, processor: TaggingTarget, evaluation: Evaluation, position: int, epoch: int, table: Table
) -> list[Told]:
    truth = evaluation.truths[target.name]
    if not truth.present[position]:
        return []
    records = truth.values[position]
    # A truth has no probability; every segment's is 1.
    wanted = processor.located(np.pad(records, ((0, 0), (0, 1)), constant_values=1.0), table, position)
    found = processor.located(evaluation.predictions[target.name].values[position].float().numpy(), table, position)
    if wanted is None or found is None:
        return []
    content, segments = wanted
    extent = float(records[0, 1]) / target.units_per_second if target.units_per_second else float(len(content or ""))
    marked = Marked(content=content, extent=extent, truth=segments, predicted=found[1], classes=target.classes)
    output = Output(epoch=epoch, value=spelled(content, found[1]), is_right=found[1] == segments)
    return [Told(wanted=[spelled(content, segments)], output=output, marked=marked)]


def _searches(target: Target, evaluation: Evaluation, position: int, epoch: int, dataset: TableDataset) -> list[Told]:
    truth = evaluation.truths[target.name]
    places = evaluation.predictions[target.name].values.float().numpy()
    told = []
    for one, other in directions(target.members, target.anchor):
        if position not in can_look(places, truth.values, truth.present, one, other):
            continue
        (found,) = nearest(places, truth.values, one, other, [position], _FOUND)
        column = dataset.schema.column(target.members[other])
        value = f"rank {found.rank:g} of {found.num_candidates:,}: {_listed(found, column, dataset.table)}"
        told.append(
            Told(
                direction=f"{target.members[one]} to {target.members[other]}",
                wanted=[_named(column, dataset.table, position)],
                output=Output(epoch=epoch, value=value, is_right=found.right[0]),
                found=found_tiles(dataset, column, found),
            )
        )
    return told


def _listed(found: Nearest, column: Column, table: Table) -> str:
    return "; ".join(_named(column, table, row) for row in found.found)


def _named(column: Column, table: Table, position: int) -> str:
    """A cell in words: its text, or its row."""
    cell = table.cell(position, column.table_column) if table.has(column.table_column) else None
    if column.modality not in (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO) and isinstance(cell, (str, int, float)):
        said = " ".join(str(cell).split())
        return said if len(said) <= _SHORT else said[: _SHORT - 1] + "…"
    return f"row {table.rows[position]}"
