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

from polysense.core.random import permutation
from polysense.core.registry import modality
from polysense.core.unsupported import Unsupported
from polysense.data.collate import round_up
from polysense.data.column import NUM_SAMPLED, ColumnProcessor
from polysense.data.lengths import RowLengths
from polysense.data.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import DecodeError

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
        if target.has_length and all(map(table.has, target.columns)):
            pairs.append(_target(table, target, exact=exact))
    items = np.stack([pair[0] for pair in pairs], axis=1) if pairs else np.zeros((len(table), 0), dtype=np.int64)
    longest = np.stack([pair[1] for pair in pairs], axis=1) if pairs else items
    _log.info(
        "%s: the lengths of %d rows were %s in %.1f s",
        table.name, len(table), "measured" if exact else "estimated", time.perf_counter() - start,
    )  # fmt: skip
    return RowLengths(items, longest)


def _column(table: Table, name: str, processor: ColumnProcessor, *, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    column = processor.column
    spec = modality(column.modality)

    def lengths(i: int) -> list[int]:
        cell = table.cell(i, name)
        if cell is None:
            return []
        try:
            return spec.measure(processor, cell, table.source(i, name), table.root)
        except DecodeError:
            return []  # absent in the batch as well

    sizes: Callable[[int], list[int]] | None = None
    if not isinstance(spec.estimate, Unsupported):
        estimate = spec.estimate

        def sizes(i: int) -> list[int]:
            return estimate(table.cell(i, name))

    rows = _each(len(table), lengths, sizes, exact=exact)
    limit, multiple = spec.longest(processor), spec.length_multiple
    longest = [max(row, default=0) if limit is None else min(max(row, default=0), limit) for row in rows]
    if multiple is not None:
        longest = [round_up(length, multiple) if length else 0 for length in longest]
    return (
        np.array([len(row) for row in rows], dtype=np.int64),
        np.array([math.ceil(spec.cost(column, length)) for length in longest], dtype=np.int64),
    )


def _target(table: Table, target: TargetProcessor, *, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    """The longest of each row's references: which one is drawn depends on the epoch."""
    quiet = copy.copy(target)

    def tokens(i: int) -> list[int]:
        try:
            value = quiet.transform(table, i)
        except DecodeError:
            return []
        return [] if value is None else list(map(len, target.sequences(value)))

    def characters(i: int) -> list[int]:
        cells = [table.cell(i, name, literal=True) for name in target.columns]
        parts = [part for cell in cells for part in (cell if isinstance(cell, list) else [cell]) if part is not None]
        return [len(str(part)) for part in parts]

    result = _each(len(table), tokens, characters, exact=exact)
    longest = np.array([max(lengths, default=0) for lengths in result], dtype=np.int64)
    return np.minimum(longest, 1), longest


def _each(
    num_rows: int, tokens: Callable[[int], list[int]], characters: Callable[[int], list[int]] | None, *, exact: bool
) -> list[list[int]]:
    """Per row the length of each item: measured, or estimated from characters where there are any."""
    if exact or characters is None:
        return [tokens(i) for i in range(num_rows)]
    sample = np.sort(permutation(num_rows, "length sample")[:NUM_SAMPLED]).tolist()
    known = sum(sum(tokens(i)) for i in sample)
    ratio = known / max(1, sum(sum(characters(i)) for i in sample))
    return [[math.ceil(length * ratio) for length in characters(i)] for i in range(num_rows)]
