"""Samples made rectangular.

Padding is the only thing that happens here, and `lengths` says where it begins: a cell that a row lacks is storage of
length 0, never a stand-in value. In training the shape follows the batch (the longest item, rounded up a little so
that few shapes occur); at prediction the shape is given, because a result may not depend on who else is in the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from polysense.core.batch import Batch, ColumnBatch, TargetBatch
from polysense.core.modality import Modality, Task
from polysense.core.sample import Sample, Unreadable
from polysense.core.schema import Column, Schema, Target

__all__ = ["FILLER", "PROMPT_MULTIPLE", "VARIABLE_LENGTH", "collate", "round_up"]

#: The row index of a row that only fills the shape.
FILLER = -1

#: The modalities whose items differ in length, and what their padded length is a multiple of: 8 tokens keep matrix
#: units aligned, 400 samples are 25 ms at 16 kHz, so that few distinct shapes occur.
VARIABLE_LENGTH = {Modality.TEXT: 8, Modality.AUDIO: 400}

#: What the padded length of prompts is a multiple of.
PROMPT_MULTIPLE = 8

_DTYPES = {
    Modality.TEXT: np.int32,
    Modality.IMAGE: np.uint8,
    Modality.AUDIO: np.int16,
    Modality.NUMBER: np.float32,
    Modality.CATEGORY: np.int64,
    Modality.DATE: np.float32,
}


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
        shape: Per column its exact (items, length); length counts only for text and audio. A column that is not named
            has no items: it is known to be absent, and costs nothing. None: as the rows need.
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
        lacks = shape is not None and column.name not in shape
        cells = [() if lacks else sample.values.get(column.name, ()) for sample in samples]
        # One item even where no row has the column: training then sees few shapes, and compile one graph.
        size = _needed(cells, column) if shape is None else shape.get(column.name, (0, 1))
        columns[column.name] = _pad(cells, column, num_rows, *size)
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
        targets={
            target.name: _targets(
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


def _needed(cells: Sequence[Sequence[np.ndarray]], column: Column) -> tuple[int, int]:
    """(items, length) of the largest cell, the length rounded up."""
    items = max(1, *map(len, cells))
    multiple = VARIABLE_LENGTH.get(column.modality)
    if multiple is None:
        return items, 1
    return items, round_up(max((len(item) for cell in cells for item in cell), default=0), multiple)


def _pad(cells: Sequence[Sequence[np.ndarray]], column: Column, num_rows: int, items: int, length: int) -> ColumnBatch:
    dtype = _DTYPES[column.modality]
    has_length = column.modality in VARIABLE_LENGTH
    if column.modality is Modality.IMAGE:
        assert column.num_channels is not None
        assert column.image_size is not None
        item_shape: tuple[int, ...] = (column.num_channels, *column.image_size)
    else:
        item_shape = (length,) if has_length else (column.num_features,)
    padding = column.padding_id if column.modality is Modality.TEXT else 0
    values = np.full((num_rows, items, *item_shape), padding, dtype)
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


def _targets(
    samples: Sequence[Sample], target: Target, num_rows: int, all_references: bool, prompt_length: int
) -> TargetBatch:
    """A target's values; in rows that lack it 0 (classification, multilabel) or NaN (regression: unknown)."""
    if target.task is Task.GENERATION:
        texts = _texts([sample.targets.get(target.name) for sample in samples], target, num_rows, all_references)
        return replace(texts, earlier=_earlier(samples, target, num_rows, prompt_length))
    if target.task is Task.TAGGING:
        return _segments([sample.targets.get(target.name) for sample in samples], num_rows)
    if target.task is Task.CLASSIFICATION:
        values = np.zeros(num_rows, dtype=np.int64)
    elif target.task is Task.CONTRASTIVE:
        values = np.zeros((num_rows, target.num_outputs), dtype=np.int64)
    else:
        absent = np.nan if target.task is Task.REGRESSION else 0.0
        values = np.full((num_rows, target.num_outputs), absent, dtype=np.float32)
    present = np.zeros(num_rows, dtype=bool)
    for row, sample in enumerate(samples):
        value = sample.targets.get(target.name)
        if value is not None:
            values[row] = value
            # A row with one column alone belongs to nothing, and is still told apart from the others.
            present[row] = target.task is not Task.CONTRASTIVE or np.count_nonzero(value[: len(target.members)]) >= 2
    return TargetBatch(values=torch.from_numpy(values), present=torch.from_numpy(present))


def _segments(cells: Sequence[np.ndarray | None], num_rows: int) -> TargetBatch:
    """Segments, padded; a row that lacks the target is padding alone."""
    longest = max([1, *(len(cell) for cell in cells if cell is not None)])
    values = np.zeros((num_rows, longest, 3), dtype=np.float32)
    values[:, :, 2] = -1.0
    present = np.zeros(num_rows, dtype=bool)
    for row, cell in enumerate(cells):
        if cell is not None:
            values[row, : len(cell)] = cell
            present[row] = True
    return TargetBatch(values=torch.from_numpy(values), present=torch.from_numpy(present))


def _texts(cells: Sequence[np.ndarray | None], target: Target, num_rows: int, all_references: bool) -> TargetBatch:
    """Texts, padded; a row that lacks the target is padding alone."""
    found = [[] if cell is None else _references(cell, target.begin_id) for cell in cells]
    if not all_references:
        found = [references[:1] for references in found]
    several = max([1, *map(len, found)])
    longest = max([2, *(len(text) for references in found for text in references)])
    values = np.full((num_rows, several, longest), target.padding_id, dtype=np.int64)
    lengths = np.zeros((num_rows, several), dtype=np.int64)
    for row, references in enumerate(found):
        for index, text in enumerate(references):
            values[row, index, : len(text)] = text
            lengths[row, index] = len(text)
    present = torch.from_numpy((lengths > 0).any(axis=1))
    if several == 1:
        values, lengths = values[:, 0], lengths[:, 0]
    return TargetBatch(values=torch.from_numpy(values), present=present, lengths=torch.from_numpy(lengths))


def _prompts(samples: Sequence[Sample], target: Target, num_rows: int, length: int | None) -> ColumnBatch:
    """Prompts, padded; a row without one has a prompt of length 0."""
    found = [sample.prompts.get(target.name, ()) for sample in samples]
    length = round_up(max(map(len, found), default=0), PROMPT_MULTIPLE) if length is None else length
    values = np.full((num_rows, 1, length), target.padding_id, dtype=np.int32)
    lengths = np.zeros((num_rows, 1), dtype=np.int64)
    for row, prompt in enumerate(found):
        values[row, 0, : len(prompt)] = prompt  # numpy raises if it is longer: nothing is cut silently
        lengths[row, 0] = len(prompt)
    return ColumnBatch(values=torch.from_numpy(values), lengths=torch.from_numpy(lengths))


def _earlier(samples: Sequence[Sample], target: Target, num_rows: int, length: int) -> Tensor | None:
    """Which tokens of the prompts are trained on too, see `TargetBatch.earlier`."""
    if not any(target.name in sample.trained for sample in samples):
        return None
    values = np.full((num_rows, length), target.padding_id, dtype=np.int64)
    for row, sample in enumerate(samples):
        trained = sample.trained.get(target.name)
        if trained is not None and target.name in sample.targets:
            chosen = np.flatnonzero(trained)
            values[row, chosen] = sample.prompts[target.name][chosen]
    return torch.from_numpy(values)


def _references(tokens: np.ndarray, begin_id: int) -> list[np.ndarray]:
    """References that stand one after another, each with its begin token first."""
    return np.split(tokens, np.flatnonzero(tokens == begin_id)[1:])
