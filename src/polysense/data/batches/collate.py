"""Samples made rectangular.

Padding is the only thing that happens here, and `lengths` says where it begins: a cell that a row lacks is storage of
length 0, never a stand-in value. In training the shape follows the batch (the longest item, rounded up a little so
that few shapes occur); at prediction the shape is given, because a result may not depend on who else is in the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from polysense.core.batch import Batch, ColumnBatch, StoredItems, Truth
from polysense.core.registry import modality, named, task
from polysense.core.sample import Sample, Unreadable
from polysense.core.schema import Column, Schema, Target
from polysense.core.stored import StoredCell

__all__ = ["FILLER", "PROMPT_MULTIPLE", "collate", "round_up", "stored_items"]

#: The row index of a row that only fills the shape.
FILLER = -1

#: What the padded length of prompts is a multiple of.
PROMPT_MULTIPLE = 8


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple that is at least `length`, and at least one."""
    return max(1, -(-length // multiple)) * multiple


def collate(
    samples: Sequence[Sample],
    schema: Schema,
    *,
    with_targets: bool = True,
    shape: Mapping[str, tuple[int, int]] | None = None,
    prompts: Mapping[str, int] | None = None,
    num_rows: int | None = None,
    all_references: bool = False,
) -> Batch:
    """Pads samples into a batch.

    Args:
        samples: Rows; one whose `row` is `FILLER` fills the shape only.
        schema: Which columns and targets the batch has, and in which order.
        with_targets: Whether the batch has targets; a row that lacks one is marked absent in it.
        shape: Per column its exact (items, length); length counts only where items have one. None: as the rows need.
        prompts: Per target whose texts go on from prompts, the exact length of these. None: as the rows need.
        num_rows: Rows of the batch, filled up with rows that have nothing; None: as many as samples.
        all_references: Whether a text target has all of a row's references, [batch, references, length], where some
            row has several; else each row's first one.

    Returns:
        A batch that shares no memory with the samples.
    """
    num_rows = len(samples) if num_rows is None else num_rows
    assert len(samples) <= num_rows, f"{len(samples)} samples do not fit into {num_rows} rows"
    columns: dict[str, ColumnBatch] = {}
    for column in schema:
        cells = [sample.values.get(column.name, ()) for sample in samples]
        # One item even where no row has the column: training then sees few shapes, and compile one graph.
        lengths = [sample.item_lengths(column.name) for sample in samples]
        size = _needed(lengths, column) if shape is None else shape[column.name]
        features_of = {
            row: sample.stored[column.name] for row, sample in enumerate(samples) if column.name in sample.stored
        }
        stored = stored_items(features_of, num_rows, size[0]) if features_of else None
        absent = (shape is not None or stored is not None) and not any(map(len, cells))
        columns[column.name] = (_absent if absent else partial(_pad, cells))(column, num_rows, *size)
        if stored is not None:
            for row, sample in enumerate(samples):
                if column.name in sample.stored:
                    columns[column.name].lengths[row, : len(lengths[row])] = torch.tensor(lengths[row])
            columns[column.name] = replace(columns[column.name], stored=stored)
        if column.num_features and any(sample.features is not None for sample in samples):
            features = _features(samples, column, num_rows)
            columns[column.name] = replace(columns[column.name], features=torch.from_numpy(features))
        if modality(column.modality).is_spatial:
            columns[column.name] = _placed(samples, column.name, columns[column.name])
    rows = np.full(num_rows, FILLER, dtype=np.int64)
    weights = np.zeros(num_rows, dtype=np.float32)
    unreadable: list[Unreadable] = []
    for index, sample in enumerate(samples):
        rows[index] = sample.row
        weights[index] = sample.weight if sample.row != FILLER else 0.0
        unreadable.extend(sample.unreadable)
    given = {
        target.name: _prompts(samples, target, num_rows, None if prompts is None else prompts[target.name])
        for target in schema.targets
        if target.typical_prompt
    }
    return Batch(
        rows=torch.from_numpy(rows),
        columns=columns,
        truths={
            target.name: _truth(
                samples,
                target,
                num_rows,
                all_references,
                given[target.name].values.shape[2] if target.name in given else 0,
            )
            for target in schema.targets
        }
        if with_targets
        else {},
        prompts=given,
        weights=torch.from_numpy(weights),
        unreadable=tuple(unreadable),
    )


def _needed(lengths: Sequence[Sequence[int]], column: Column) -> tuple[int, int]:
    """(items, length) of the largest cell, the length rounded up."""
    items = max(1, *map(len, lengths))
    multiple = modality(column.modality).length_multiple
    if multiple is None:
        return items, 1
    longest = round_up(max((length for cell in lengths for length in cell), default=0), multiple)
    return items, longest if column.longest is None else min(longest, column.longest)


def _absent(column: Column, num_rows: int, items: int, length: int) -> ColumnBatch:
    """A column that no row has, of the shape that it would have; its padding is one element, repeated."""
    spec = modality(column.modality)
    one = torch.from_numpy(np.full((1,), spec.padding(column), spec.dtype))[0]
    return ColumnBatch(
        values=one.expand(num_rows, items, *spec.item_shape(column, length)),
        lengths=torch.zeros(num_rows, items, dtype=torch.int64),
    )


def _pad(cells: Sequence[Sequence[np.ndarray]], column: Column, num_rows: int, items: int, length: int) -> ColumnBatch:
    spec = modality(column.modality)
    has_length = spec.length_multiple is not None
    values = np.full((num_rows, items, *spec.item_shape(column, length)), spec.padding(column), spec.dtype)
    lengths = np.zeros((num_rows, items), dtype=np.int64)
    for row, cell in enumerate(cells):
        for index, item in enumerate(cell):  # numpy raises if an item is larger than the shape: nothing is cut silently
            if has_length:
                values[row, index, : len(item)] = item
                lengths[row, index] = len(item)
            else:
                values[row, index] = item
                lengths[row, index] = 1
    return ColumnBatch(values=torch.from_numpy(values), lengths=torch.from_numpy(lengths))


def stored_items(cells: Mapping[int, StoredCell], num_rows: int, num_items: int) -> StoredItems:
    """What a column's frozen backbone gave for some of a batch's rows before.

    Args:
        cells: By row, at least one.
        num_rows: Of the batch.
        num_items: Of the batch's largest cell.
    """
    shelves = {cell.shelf for cell in cells.values()}
    assert len(shelves) == 1, f"features of {len(shelves)} networks in one batch"
    widths = [layer.shape[1] for layer in next(iter(cells.values())).items[0].layers]
    most = np.max([[len(layer) for layer in item.layers] for cell in cells.values() for item in cell.items], axis=0)
    layers = [
        np.zeros((num_rows, num_items, length, width), dtype=np.float32)
        for length, width in zip(most, widths, strict=True)
    ]
    counts = np.zeros((num_rows, num_items), dtype=np.int64)
    for row, cell in cells.items():
        for index, item in enumerate(cell.items):
            counts[row, index] = len(item.layers[0])
            for layer, values in zip(layers, item.layers, strict=True):
                layer[row, index, : len(values)] = values
    return StoredItems(
        layers=tuple(map(torch.from_numpy, layers)), counts=torch.from_numpy(counts), shelf=shelves.pop()
    )


def _features(samples: Sequence[Sample], column: Column, num_rows: int) -> np.ndarray:
    """The cells' feature vectors, float32 [rows, features]; zeros where a row has none."""
    features = np.zeros((num_rows, column.num_features), dtype=np.float32)
    for row, sample in enumerate(samples):
        vector = (sample.features or {}).get(column.name)
        if vector is not None:
            features[row] = vector
    return features


def _placed(samples: Sequence[Sample], name: str, column: ColumnBatch) -> ColumnBatch:
    """The column with where each row's cell lies."""
    matrices = np.tile(np.eye(3, dtype=np.float32), (len(column.lengths), 1, 1))
    sizes = np.zeros((len(column.lengths), 2), dtype=np.int64)
    for row, sample in enumerate(samples):
        placement = sample.placements.get(name)
        if placement is not None:
            matrices[row], sizes[row] = placement.matrix, placement.size
        elif sample.item_lengths(name):
            matrices[row] = np.nan
    return replace(column, geometry=torch.from_numpy(matrices), sizes=torch.from_numpy(sizes))


def _truth(samples: Sequence[Sample], target: Target, num_rows: int, all_references: bool, prompt_length: int) -> Truth:
    """A target's values, as its task collates them; rows that lack it are not present."""
    spec = task(target.task)
    arrays = spec.collate(target, samples, num_rows, all_references=all_references, prompt_length=prompt_length)
    made = named(spec.truth)(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    assert isinstance(made, Truth), f"{spec.truth} is no truth"
    return made


def _prompts(samples: Sequence[Sample], target: Target, num_rows: int, length: int | None) -> ColumnBatch:
    """Prompts, padded; a row without one has a prompt of length 0."""
    results = [sample.prompts.get(target.name, ()) for sample in samples]
    length = round_up(max(map(len, results), default=0), PROMPT_MULTIPLE) if length is None else length
    values = np.full((num_rows, 1, length), target.padding_id, dtype=np.int32)
    lengths = np.zeros((num_rows, 1), dtype=np.int64)
    for row, prompt in enumerate(results):
        values[row, 0, : len(prompt)] = prompt  # numpy raises if it is longer: nothing is cut silently
        lengths[row, 0] = len(prompt)
    return ColumnBatch(values=torch.from_numpy(values), lengths=torch.from_numpy(lengths))
