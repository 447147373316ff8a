"""A few held-out rows of a model that restores columns: reconstructions.html in the run's folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.files import write_text
from polysense.core.preview import CellPreview, as_jpeg
from polysense.core.random import permutation
from polysense.core.registry import modality, task
from polysense.core.schema import Column, Target
from polysense.data.column import ColumnProcessor
from polysense.data.dataset import TableDataset
from polysense.data.loader import PredictLoader
from polysense.data.sources import Table
from polysense.reports.environment import render
from polysense.reports.previews import preview_input
from polysense.tasks.reconstruction.reconstructed_rows import PAGE, ReconstructedCell, ReconstructedRow

__all__ = ["RECONSTRUCTIONS", "write_reconstructions"]

RECONSTRUCTIONS = "reconstructions.html"


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
    for batch in PredictLoader(dataset, bundle.schema):
        for target in targets:
            for position, cells in _cells(bundle, dataset, batch, target).items():
                rows.setdefault(position, []).extend(cells)
    shown = [ReconstructedRow(row=int(dataset.table.rows[position]), cells=rows[position]) for position in sorted(rows)]
    write_text(path, render(PAGE, title=title, rows=shown, split=split))
    return True


def _cells(bundle: Bundle, dataset: TableDataset, batch: Batch, target: Target) -> dict[int, list[ReconstructedCell]]:
    """Per row of the batch its restored cells."""
    model, names = bundle.model.eval(), set(bundle.schema.names)
    moved = batch.to(next(model.parameters()).device)
    subsets = [frozenset(names), *(frozenset(names - {name}) for name in target.members)]
    whole, *filled = (results[target.name].cpu() for results in model.predict(moved, subsets))
    others = [
        torch.stack([column.present for other, column in batch.columns.items() if other != name]).any(dim=0)
        if len(names) > 1
        else torch.zeros(len(batch), dtype=torch.bool)
        for name in target.members
    ]
    truths = _spectrograms(model.head(target.name), moved, target)
    results: dict[int, list[ReconstructedCell]] = {}
    for index, position in enumerate(batch.rows.tolist()):
        if position < 0:
            continue
        results[position] = [
            _cell(
                bundle.processor.columns[name],
                (truths.get(name), whole.columns[name], filled[member].columns[name] if len(names) > 1 else None),
                index,
                (
                    float(whole.measures["errors"][index, member]),
                    float(filled[member].measures["errors"][index, member]) if others[member][index] else math.nan,
                    float(whole.measures["mean_errors"][index, member]),
                ),
                _truth(bundle.schema.column(name), dataset, position),
            )
            for member, name in enumerate(target.members)
        ]
    return results


def _truth(column: Column, dataset: TableDataset, position: int) -> CellPreview:
    table = dataset.table
    cell = table.cell(position, column.table_column) if table.has(column.table_column) else None
    return preview_input(column, cell, dataset[position])[0]


def _cell(
    processor: ColumnProcessor,
    values: tuple[torch.Tensor | None, torch.Tensor, torch.Tensor | None],
    index: int,
    errors: tuple[float, float, float],
    truth: CellPreview,
) -> ReconstructedCell:
    spectrogram, restored, filled = values
    column = processor.column
    if spectrogram is not None and not truth.is_absent:
        truth = _as_preview(processor, column, spectrogram[index])
    return ReconstructedCell(
        truth=truth,
        reconstructed=_as_preview(processor, column, restored[index]),
        imputed=None if filled is None else _as_preview(processor, column, filled[index]),
        error=errors[0],
        imputed_error=errors[1],
        mean_error=errors[2],
    )


def _spectrograms(head: Any, batch: Batch, target: Target) -> Mapping[str, torch.Tensor]:
    """Of each sound the true spectrogram: what is compared, so what is shown."""
    results = {}
    for decoder in head.mean.decoders:
        name = decoder.column.name
        if name in batch.columns:
            truth = decoder.compared(batch.columns[name])
            if truth is not None:
                results[name] = truth.cpu()
    return results


def _as_preview(processor: ColumnProcessor, column: Column, value: torch.Tensor) -> CellPreview:
    """What is restored, to be looked at."""
    array: np.ndarray = value.float().numpy() if value.dtype is torch.bfloat16 else value.numpy()
    preview = modality(column.modality).preview_reconstruction(column, array)
    if preview is not None:
        return CellPreview(column=column.name, images=list(map(as_jpeg, preview.images)), stretches=preview.stretches)
    if processor.why_unwritten is not None:
        return CellPreview(column=column.name, note=processor.why_unwritten, is_absent=True)
    cell = processor.restore(array)
    return CellPreview(column=column.name, texts=["" if cell is None else str(cell)])
