"""Measures how long a table's rows are, without decoding them.

Texts are tokenized once more (0.1 ms each), of sounds the header is read, of pictures nothing. In a table of more than
100,000 rows texts are not tokenized: their characters are counted, and multiplied with the tokens per character of 500
of them; batches of a token budget are then of about that size.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping

import numpy as np

from polysense.core.modality import Modality
from polysense.core.random import permutation
from polysense.data.collate import VARIABLE_LENGTH, round_up
from polysense.data.column import NUM_SAMPLED, ColumnProcessor
from polysense.data.lengths import FRAMES_PER_SECOND, PICTURE, RowLengths
from polysense.data.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import DecodeError
from polysense.modalities.audio.decode import audio_info
from polysense.modalities.text.column import TextProcessor

__all__ = ["row_lengths"]

_log = logging.getLogger("polysense.data.measuring")

_TOKENIZED_ROWS = 100_000


def row_lengths(
    table: Table,
    columns: Mapping[str, ColumnProcessor],
    targets: Mapping[str, TargetProcessor],
    *,
    tokenized_rows: int = _TOKENIZED_ROWS,
) -> RowLengths:
    """The length of each row in each column, and in each target that is a text.

    Args:
        table: The rows.
        columns: The fitted preprocessing of the columns.
        targets: Likewise of the targets.
        tokenized_rows: In a longer table the lengths of texts are estimated.
    """
    start = time.perf_counter()
    exact = len(table) <= tokenized_rows
    read = [processor for processor in columns.values() if table.has(processor.source)]
    pairs = [_column(table, processor.source, processor, exact=exact) for processor in read]
    for target in targets.values():
        if target.target.vocabulary_size and all(map(table.has, target.columns)):
            pairs.append(_target(table, target, exact=exact))
    items = np.stack([pair[0] for pair in pairs], axis=1) if pairs else np.zeros((len(table), 0), dtype=np.int64)
    longest = np.stack([pair[1] for pair in pairs], axis=1) if pairs else items
    _log.info(
        "%s: the lengths of %d rows were %s in %.1f s",
        table.name, len(table), "measured" if exact else "estimated", time.perf_counter() - start,
    )  # fmt: skip
    return RowLengths(items, longest)


def _column(table: Table, name: str, processor: ColumnProcessor, *, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    modality = processor.column.modality
    if modality is Modality.TEXT:
        return _texts(table, name, processor, exact=exact)
    items, longest = np.zeros(len(table), dtype=np.int64), np.zeros(len(table), dtype=np.int64)
    for i in range(len(table)):
        cell = table.cell(i, name)
        parts = [part for part in (cell if isinstance(cell, list) else [cell]) if part is not None]
        items[i] = len(parts)
        if modality is Modality.AUDIO:
            longest[i] = max((_frames(part, table) for part in parts), default=0)
        elif parts:
            longest[i] = PICTURE if modality in (Modality.IMAGE, Modality.VIDEO) else 1
    return items, longest


def _frames(cell: object, table: Table) -> int:
    """Units of 1/25 s, as the header says; 0 for what can't be read, which is absent in the batch as well."""
    try:
        rate, frames, _ = audio_info(cell, table.root)
    except DecodeError:
        return 0
    return math.ceil(frames * FRAMES_PER_SECOND / rate)


def _texts(table: Table, name: str, processor: ColumnProcessor, *, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    # A copy: what is cut here is cut once more, told and counted where the row is read for training.
    quiet = copy.copy(processor)
    if isinstance(quiet, TextProcessor):
        quiet.num_truncated = 1

    def tokens(i: int) -> list[int]:
        try:
            return [len(item) for item in quiet.transform(table.cell(i, name), table.source(i, name), table.root)]
        except DecodeError:
            return []

    def characters(i: int) -> list[int]:
        cell = table.cell(i, name)
        return [len(str(part)) for part in (cell if isinstance(cell, list) else [cell]) if part is not None]

    found = _each(len(table), tokens, characters, exact=exact)
    limit = quiet.max_tokens if isinstance(quiet, TextProcessor) else None
    multiple = VARIABLE_LENGTH[Modality.TEXT]
    longest = [max(lengths, default=0) for lengths in found]
    if limit is not None:
        longest = [min(length, limit) for length in longest]
    return (
        np.array([len(lengths) for lengths in found], dtype=np.int64),
        np.array([round_up(length, multiple) if length else 0 for length in longest], dtype=np.int64),
    )


def _target(table: Table, target: TargetProcessor, *, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    """The longest of each row's references: which one is drawn depends on the epoch."""
    quiet = copy.copy(target)

    def tokens(i: int) -> list[int]:
        try:
            value = quiet.transform(table, i)
        except DecodeError:
            return []
        if value is None or value.ndim != 1:
            return []
        starts = np.flatnonzero(value == target.target.begin_id)
        lengths: list[int] = np.diff([*(starts if len(starts) else [0]), len(value)]).tolist()
        return lengths

    def characters(i: int) -> list[int]:
        cells = [table.cell(i, name, literal=True) for name in target.columns]
        parts = [part for cell in cells for part in (cell if isinstance(cell, list) else [cell]) if part is not None]
        return [len(str(part)) for part in parts]

    found = _each(len(table), tokens, characters, exact=exact)
    longest = np.array([max(lengths, default=0) for lengths in found], dtype=np.int64)
    return np.minimum(longest, 1), longest


def _each(
    num_rows: int, tokens: Callable[[int], list[int]], characters: Callable[[int], list[int]], *, exact: bool
) -> list[list[int]]:
    """Per row the tokens of each item: counted, or estimated from characters."""
    if exact:
        return [tokens(i) for i in range(num_rows)]
    sample = np.sort(permutation(num_rows, "length sample")[:NUM_SAMPLED]).tolist()
    known = sum(sum(tokens(i)) for i in sample)
    ratio = known / max(1, sum(sum(characters(i)) for i in sample))
    return [[math.ceil(length * ratio) for length in characters(i)] for i in range(num_rows)]
