"""Ask a target's task for its predictions of one row, and put previews in the place of cells that were retrieved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from polysense.core.registry import task
from polysense.core.sample_output import SampleOutput
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.data.dataset import TableDataset
from polysense.evaluation.evaluator import Evaluation
from polysense.reports.previews import preview_cell
from polysense.reports.task_sections import named

__all__ = ["outputs_of"]

_SHORT = 60  # characters of a cell in a line


def outputs_of(target: Target, evaluation: Evaluation, position: int, dataset: TableDataset) -> list[SampleOutput]:
    """Each prediction of a row's target; none where there is nothing to compare or no words for it.

    Args:
        target: Which.
        evaluation: Of all rows of the data set.
        position: The row's.
        dataset: The rows.
    """
    where = task(target.task).sample_outputs
    if isinstance(where, Unsupported):
        return []
    read: Callable[[Target, Evaluation, int, TableDataset], list[SampleOutput]] = named(where)
    return [_in_words(output, dataset) for output in read(target, evaluation, position, dataset)]


def _in_words(output: SampleOutput, dataset: TableDataset) -> SampleOutput:
    """A search with the cells in words, as far as they have any."""
    if output.nearest is None:
        return output
    nearest = output.nearest
    cells = "; ".join(_words(dataset, nearest.column, row) for row in nearest.rows)
    reference = _words(dataset, nearest.column, nearest.position)
    return replace(output, references=[reference], value=f"{output.value}: {cells}")


def _words(dataset: TableDataset, name: str, position: int) -> str:
    """A cell's text, or the number of its row."""
    preview = preview_cell(dataset.schema.column(name), dataset.table, position, dataset[position])
    if not preview.texts:
        return f"row {dataset.table.rows[position]}"
    text = " ".join(preview.texts[0].split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"
