"""Read a model's predictions of a validation row for samples.html: one per target, or per direction of a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polysense.core.modality import Modality, Task
from polysense.core.report_section import ReportSection
from polysense.core.schema import Column, Target
from polysense.data.dataset import TableDataset
from polysense.data.processor import Processor
from polysense.data.sources import Table
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.neighbours import Nearest, can_look, nearest
from polysense.reports.neighbors import Tile, neighbor_tiles
from polysense.reports.numerals import number
from polysense.reports.samples import Output
from polysense.tasks.retrieval.metrics import directions
from polysense.tasks.tagging.tagged import Marked, marked_section, spelled
from polysense.tasks.tagging.target import TaggingTarget

__all__ = ["SampleOutput", "output_of", "outputs_of"]

_NUM_NEIGHBORS = 3
_SHORT = 60  # characters of a neighbor's text


@dataclass(frozen=True, eq=False, kw_only=True)
class SampleOutput:
    """One output of one row.

    Attributes:
        references: What is correct; several texts may be.
        output: The prediction.
        direction: Of a joint embedding space, from which column to which; else "".
        section: How the task shows target and prediction, where it does.
        neighbors: Of a search.
    """

    references: list[str]
    output: Output
    direction: str = ""
    section: ReportSection | None = None
    neighbors: Sequence[Tile] = ()


def outputs_of(
    target: Target, evaluation: Evaluation, position: int, epoch: int, dataset: TableDataset
) -> list[SampleOutput]:
    """Each prediction of a row's target; empty where there is nothing to compare or no words for it.

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
    if target.task is Task.RETRIEVAL:
        return _searches(target, evaluation, position, epoch, dataset)
    if isinstance(own, TaggingTarget):
        return _segments(target, own, evaluation, position, epoch, dataset.table)
    found = output_of(target, evaluation, position, epoch, own.render)
    return [] if found is None else [SampleOutput(references=found[0], output=found[1])]


def _segments(
    target: Target, processor: TaggingTarget, evaluation: Evaluation, position: int, epoch: int, table: Table
) -> list[SampleOutput]:
    statistics = evaluation.statistics[target.name]
    if not statistics["present"][position]:
        return []
    length = float(statistics["length"][position])
    whole = np.array([(0.0, length, -1.0, 0.0)])
    # A truth has no probability; every segment's is 1.
    truth = np.pad(statistics["truth"][position], ((0, 0), (0, 1)), constant_values=1.0)
    wanted = processor.located(np.concatenate([whole, truth]), table, position)
    found = processor.located(np.concatenate([whole, statistics["predicted"][position]]), table, position)
    if wanted is None or found is None:
        return []
    content, segments = wanted
    extent = length / target.units_per_second if target.units_per_second else float(len(content or ""))
    marked = Marked(content=content, extent=extent, truth=segments, predicted=found[1], classes=target.classes)
    output = Output(epoch=epoch, value=spelled(content, found[1]), is_right=found[1] == segments)
    return [SampleOutput(references=[spelled(content, segments)], output=output, section=marked_section(marked))]


def _searches(
    target: Target, evaluation: Evaluation, position: int, epoch: int, dataset: TableDataset
) -> list[SampleOutput]:
    statistics = evaluation.statistics[target.name]
    places, keys, present = (statistics[name] for name in ("embeddings", "keys", "present"))
    told = []
    for one, other in directions(target.members, target.anchor):
        if position not in can_look(places, keys, present, one, other):
            continue
        (found,) = nearest(places, keys, one, other, [position], _NUM_NEIGHBORS)
        column = dataset.schema.column(target.members[other])
        value = f"rank {found.rank:g} of {found.num_candidates:,}: {_listed(found, column, dataset.table)}"
        told.append(
            SampleOutput(
                direction=f"{target.members[one]} to {target.members[other]}",
                references=[_named(column, dataset.table, position)],
                output=Output(epoch=epoch, value=value, is_right=found.right[0]),
                neighbors=neighbor_tiles(dataset, column, found, most=_NUM_NEIGHBORS),
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


def output_of(
    target: Target, evaluation: Evaluation, i: int, epoch: int, render: Callable[[Any], Any]
) -> tuple[list[str], Output] | None:
    """A row's truth and what was predicted, in words; None where there is nothing to compare or no words for it.

    Args:
        target: Which.
        evaluation: Of the rows.
        i: The row's position in it.
        epoch: From 1.
        render: One predicted value in the table's own terms.
    """
    statistics = evaluation.statistics[target.name]
    if not statistics["present"][i]:
        return None
    if target.task is Task.GENERATION:
        if "predicted" not in statistics:
            return None
        references, written = list(statistics["references"][i]), str(statistics["predicted"][i])
        return references, Output(epoch=epoch, value=written, is_right=written in references)
    if "truth" not in statistics:
        return None
    truth, value = statistics["truth"][i], statistics["predicted"][i]
    if target.task is Task.CLASSIFICATION:
        found = Output(
            epoch=epoch,
            value=target.classes[int(value)],
            probability=float(statistics["probabilities"][i, int(value)]),
            is_right=bool(value == truth),
        )
        return [str(target.classes[int(truth)])], found
    if target.task is Task.MULTILABEL:
        wanted = [name for name, there in zip(target.classes, truth, strict=True) if there]
        labels = ", ".join(map(str, render(value)))
        return [", ".join(wanted) or "none"], Output(
            epoch=epoch, value=labels or "none", is_right=bool((value == truth).all())
        )
    if target.task is Task.REGRESSION:
        return [_numbers(target, truth)], Output(epoch=epoch, value=_numbers(target, value))
    return None


def _numbers(target: Target, values: Any) -> str:
    if len(target.columns) == 1:
        return number(float(values[0]))
    return ", ".join(f"{name} {number(float(value))}" for name, value in zip(target.columns, values, strict=True))
