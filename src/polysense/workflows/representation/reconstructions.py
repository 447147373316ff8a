"""Write reconstructions.html: held-out rows of a model that reconstructs columns, each cell beside its reconstructions.

Two reconstructions stand beside each cell: from all of the row's columns, the cell itself among them, and from the
others alone, as a missing one would be imputed. What is the same in both has been understood from the others; what only
the first one has was copied through the code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.files import write_text
from polysense.core.prediction import as_arrays
from polysense.core.preview import CellPreview, as_jpeg
from polysense.core.random import permutation
from polysense.core.registry import modality, task
from polysense.core.schema import Column, Target
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.data.column import ColumnProcessor
from polysense.data.tables.sources import Table
from polysense.reports.environment import render
from polysense.reports.previews import preview_input

__all__ = ["RECONSTRUCTIONS", "ReconstructedCell", "ReconstructedRow", "write_reconstructions"]

RECONSTRUCTIONS = "reconstructions.html"


@dataclass(frozen=True, eq=False, kw_only=True)
class ReconstructedCell:
    """A cell and its reconstructions.

    Attributes:
        truth: What stands in the table.
        reconstructed: From all of the row's columns; None where there is nothing to show.
        imputed: From the others alone; None where there are no others.
        error: Of `reconstructed`, NaN where the cell is absent.
        imputed_error: Of `imputed`.
        mean_error: Of the training mean.
    """

    truth: CellPreview
    reconstructed: CellPreview | None
    imputed: CellPreview | None
    error: float
    imputed_error: float
    mean_error: float


@dataclass(frozen=True, eq=False, kw_only=True)
class ReconstructedRow:
    """A row of the page.

    Attributes:
        row: Its number in the table.
        cells: The reconstructed columns'.
    """

    row: int
    cells: Sequence[ReconstructedCell]


def write_reconstructions(
    bundle: Bundle, table: Table, path: Path, *, title: str, split: str, num_rows: int, seed: int
) -> bool:
    """Writes the page.

    Args:
        bundle: The trained model.
        table: Rows that it was not trained on.
        path: The page's.
        title: Of the run.
        split: What the rows are of.
        num_rows: How many are shown.
        seed: Of the choice.

    Returns:
        Whether there was anything to show.
    """
    targets = [target for target in bundle.schema.targets if task(target.task).reconstructs_columns]
    chosen = np.sort(permutation(len(table), seed, "reconstructions")[:num_rows])
    if not targets or not len(chosen):
        return False
    dataset = TableDataset(table.select(chosen), bundle.processor, with_targets=False)
    rows: dict[int, list[ReconstructedCell]] = {}
    for batch in bundle.batches(dataset):
        for target in targets:
            for position, cells in _cells(bundle, dataset, batch, target).items():
                rows.setdefault(position, []).extend(cells)
    listed = [
        ReconstructedRow(row=int(dataset.table.rows[position]), cells=rows[position]) for position in sorted(rows)
    ]
    write_text(path, render("reconstructions.html.j2", title=title, rows=listed, split=split))
    return True


def _cells(bundle: Bundle, dataset: TableDataset, batch: Batch, target: Target) -> dict[int, list[ReconstructedCell]]:
    """Per row of the batch its reconstructed cells."""
    model, names = bundle.model.eval(), set(bundle.schema.names)
    moved = batch.to(bundle.device)
    subsets = [frozenset(names), *(frozenset(names - {name}) for name in target.members)]
    reconstructions = task(target.task).reconstructions
    assert not isinstance(reconstructions, Unsupported), f"{target.name}: {reconstructions}"
    whole, *imputed = (as_arrays(results[target.name]) for results in model.predict(moved, subsets))
    cells, alone = reconstructions(target, whole), [reconstructions(target, each) for each in imputed]
    others = [batch.presence(names - {name}).any(dim=1) for name in target.members]
    compared = as_arrays(model.head(target.name).compared(moved.columns))
    results: dict[int, list[ReconstructedCell]] = {}
    for index, position in enumerate(batch.rows.tolist()):
        for member, name in enumerate(target.members if position >= 0 else ()):
            processor = bundle.processor.columns[name]
            truth = _truth(bundle.schema.column(name), dataset, position)
            if name in compared and not truth.is_absent:
                truth = _as_preview(processor, compared[name][index, ...])
            cell = ReconstructedCell(
                truth=truth,
                reconstructed=_as_preview(processor, cells[name][index, ...]),
                imputed=_as_preview(processor, alone[member][name][index, ...]) if len(names) > 1 else None,
                error=float(whole["errors"][index, member]),
                imputed_error=float(imputed[member]["errors"][index, member]) if others[member][index] else math.nan,
                mean_error=float(whole["mean_errors"][index, member]),
            )
            results.setdefault(position, []).append(cell)
    return results


def _truth(column: Column, dataset: TableDataset, position: int) -> CellPreview:
    table = dataset.table
    cell = table.cell(position, column.table_column) if table.has(column.table_column) else None
    return preview_input(column, cell, dataset[position])[0]


def _as_preview(processor: ColumnProcessor, array: np.ndarray) -> CellPreview:
    """What was reconstructed, to be looked at."""
    column = processor.column
    preview = modality(column.modality).preview_reconstruction(column, array)
    if preview is not None:
        return CellPreview(column=column.name, images=list(map(as_jpeg, preview.images)), stretches=preview.stretches)
    if processor.why_unwritten is not None:
        return CellPreview(column=column.name, note=processor.why_unwritten, is_absent=True)
    cell = processor.restore(array)
    return CellPreview(column=column.name, texts=["" if cell is None else str(cell)])
