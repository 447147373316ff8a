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
from polysense.imputer import as_array
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
    """Per row of the batch its reconstructed cells."""
    model, names = bundle.model.eval(), set(bundle.schema.names)
    moved = batch.to(bundle.device)
    subsets = [frozenset(names), *(frozenset(names - {name}) for name in target.members)]
    whole, *imputed = (results[target.name].cpu() for results in model.predict(moved, subsets))
    others = [batch.presence(names - {name}).any(dim=1) for name in target.members]
    spectrograms = _spectrograms(model.head(target.name), moved)
    results: dict[int, list[ReconstructedCell]] = {}
    for index, position in enumerate(batch.rows.tolist()):
        for member, name in enumerate(target.members if position >= 0 else ()):
            processor, alone = bundle.processor.columns[name], imputed[member]
            truth = _truth(bundle.schema.column(name), dataset, position)
            if name in spectrograms and not truth.is_absent:
                truth = _as_preview(processor, spectrograms[name][index])
            cell = ReconstructedCell(
                truth=truth,
                reconstructed=_as_preview(processor, whole.columns[name][index]),
                imputed=_as_preview(processor, alone.columns[name][index]) if len(names) > 1 else None,
                error=float(whole.measures["errors"][index, member]),
                imputed_error=float(alone.measures["errors"][index, member]) if others[member][index] else math.nan,
                mean_error=float(whole.measures["mean_errors"][index, member]),
            )
            results.setdefault(position, []).append(cell)
    return results


def _truth(column: Column, dataset: TableDataset, position: int) -> CellPreview:
    table = dataset.table
    cell = table.cell(position, column.table_column) if table.has(column.table_column) else None
    return preview_input(column, cell, dataset[position])[0]


def _spectrograms(head: Any, batch: Batch) -> Mapping[str, torch.Tensor]:
    """Of each sound the true spectrogram: what is compared, so what is shown."""
    results = {}
    for decoder in head.mean.decoders:
        name = decoder.column.name
        if (truth := decoder.compared(batch.columns[name])) is not None:
            results[name] = truth.cpu()
    return results


def _as_preview(processor: ColumnProcessor, value: torch.Tensor) -> CellPreview:
    """What was reconstructed, to be looked at."""
    column, array = processor.column, as_array(value)
    preview = modality(column.modality).preview_reconstruction(column, array)
    if preview is not None:
        return CellPreview(column=column.name, images=list(map(as_jpeg, preview.images)), stretches=preview.stretches)
    if processor.why_unwritten is not None:
        return CellPreview(column=column.name, note=processor.why_unwritten, is_absent=True)
    cell = processor.restore(array)
    return CellPreview(column=column.name, texts=["" if cell is None else str(cell)])
