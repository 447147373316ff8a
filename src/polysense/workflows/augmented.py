"""What training sees of some rows: their cells as they are, and as the first epochs vary them.

Augmentation is a function of seed, epoch and row, so nothing has to be trained to look at it, and what is shown is to
the last bit what a training of the same recipe is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from polysense.core.batch import ColumnBatch
from polysense.core.files import named_path, write_text
from polysense.core.random import permutation
from polysense.core.registry import modality
from polysense.core.sample import Sample
from polysense.data.augmentation.augment import augment
from polysense.data.batches.collate import collate
from polysense.data.batches.dataset import TableDataset
from polysense.data.column import ColumnProcessor
from polysense.errors import ConfigError
from polysense.reports.augmented import AugmentedCell, AugmentedColumn, render_augmented
from polysense.reports.previews import preview_input
from polysense.workflows.fitted_data import fit_processor
from polysense.workflows.folds.plan import first_tables
from polysense.workflows.prepare import prepare

__all__ = ["show_augmented"]

_TRIED = 200  # rows that are read for cells that are there
_FOR_FEATURES = 8  # cells that feature vectors are learned from, which nothing here shows
_MOST_ITEMS = 4  # of a cell


def show_augmented(
    source: Any,
    path: str | Path,
    *,
    target: str | Sequence[str] | None = None,
    task: str | None = None,
    overrides: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    rows: int = 6,
    epochs: int = 5,
) -> Path:
    """Writes a page of training cells and of what the first epochs make of them.

    Args:
        source: A table's path, a table in memory, or a recipe's path.
        path: Of the page.
        target: The column or columns to predict, where the source is a table.
        task: A task without a target column, as for `fit`.
        overrides: `a.b.c=value` changes of the recipe.
        columns: Per column what it is, where the guess is wrong, as for `fit`.
        rows: Cells of each column, at most.
        epochs: Versions of each.

    Returns:
        The page.

    Raises:
        ConfigError: The recipe varies no column.
        UserError: The table or the recipe can't be read, or the page can't be written.
    """
    path = named_path(path)
    prepared = prepare(source, target=target, task=task, overrides=overrides, columns=columns, logs=False)
    recipe = prepared.recipe
    if not recipe.data.transforms:
        raise ConfigError(
            f"{prepared.source}: no column is varied in training (data.transforms is empty; columns of frozen encoders "
            "are not varied unasked), so there is nothing to show"
        )
    tables = first_tables(recipe, prepared.table)
    processor, _, _ = fit_processor(recipe, tables, most_for_features=_FOR_FEATURES)
    dataset = TableDataset(tables["train"], processor, with_targets=False, with_features=False)
    shown: list[AugmentedColumn] = []
    read: dict[int, Sample] = {}
    for name, transform in recipe.data.transforms.items():
        column = processor.schema.column(name)
        chosen: list[Sample] = []
        for position in permutation(len(dataset), "augmented")[:_TRIED].tolist():
            sample = read.setdefault(position, dataset[position])
            chosen += [sample] if sample.values.get(name) else []
            if len(chosen) == rows:
                break
        if not chosen:
            shown.append(AugmentedColumn(name=name, modality=column.modality, config=transform, cells=()))
            continue
        batch = collate(chosen, processor.schema, with_targets=False).only([name])
        each = {name: transform.create(processor.columns[name])}
        seed, views = recipe.training.seed, recipe.data.views
        versions = [
            augment(batch, processor.schema, each, seed=seed, epoch=epoch, views=views) for epoch in range(epochs)
        ]
        cells = []
        for row, sample in enumerate(chosen):
            original = dataset.table.cell(sample.row, column.table_column)
            previews = [preview_input(column, original, sample, most=_MOST_ITEMS)[0]]
            for version in versions:
                items = _items(
                    version.columns[name], row, has_length=modality(column.modality).length_multiple is not None
                )
                varied = replace(sample, values={name: items}, unreadable=())
                cell = _spelled(processor.columns[name], items)
                previews.append(preview_input(column, cell, varied, most=_MOST_ITEMS)[0])
            cells.append(AugmentedCell(row=int(dataset.table.rows[sample.row]), previews=tuple(previews)))
        shown.append(AugmentedColumn(name=name, modality=column.modality, config=transform, cells=tuple(cells)))
    write_text(path, render_augmented(f"What training sees of {prepared.table.name}", shown, epochs))
    return path


def _items(column: ColumnBatch, row: int, *, has_length: bool) -> list[np.ndarray]:
    """The items of a row of a batch."""
    lengths = column.lengths[row].tolist()
    values = [value.numpy() for value in column.values[row]]
    return [
        value[:length] if has_length else value for value, length in zip(values, lengths, strict=True) if length > 0
    ]


def _spelled(processor: ColumnProcessor, items: Sequence[np.ndarray]) -> object:
    """What is left of a cell of words, in words; None of others, which are shown by their items."""
    if not modality(processor.config.modality).is_textual:
        return None
    if processor.why_unwritten is not None or not items:
        return f"({processor.why_unwritten or 'nothing is left'})"
    return processor.restore(items[0])
