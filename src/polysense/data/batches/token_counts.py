"""Token counts of rows: what batches are grouped by, measured without decoding, and what is counted for the log.

What an item counts as, its modality says (`ModalitySpec.cost`): a text its tokens, sound 25 a second, which is what
strided encoders make of it, an image 64, a number 1. So a budget of padded tokens stands for memory and time only up to
a factor that the model decides; within one run it is the same for all batches, which is what it is for.

Texts are tokenized once more (0.1 ms each), of audio clips the header is read, of images nothing. In a table of more
than 100,000 rows texts are not tokenized: their characters are counted, and multiplied with the tokens per character of
500 of them; batches of a token budget are then of about that size.
"""

from __future__ import annotations

import copy
import math
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from polysense.core.batch import Batch
from polysense.core.item_groups import groups_of_items
from polysense.core.logs import get_logger
from polysense.core.random import permutation
from polysense.core.registry import modality
from polysense.core.schema import Schema
from polysense.core.unsupported import Unsupported
from polysense.data.batches.collate import round_up
from polysense.data.column import NUM_SAMPLED, ColumnProcessor
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import DecodeError

__all__ = ["RowLengths", "TokenCount", "count_tokens", "row_lengths"]

_log = get_logger("polysense.data.batches.token_counts")

_TOKENIZED_ROWS = 100_000


@dataclass(frozen=True, eq=False)
class RowLengths:
    """How long each row is.

    Attributes:
        items: Integers [rows, columns], the items of each cell; 0 = absent. Of a type no larger than it must be, since
            a table may have many rows; to calculate with them, make them int64.
        longest: Likewise the tokens of its longest item; 0 = absent.
    """

    items: np.ndarray
    longest: np.ndarray

    def __post_init__(self) -> None:
        assert self.items.shape == self.longest.shape, "items and longest are of the same cells"
        assert self.items.ndim == 2, "one row for each row, one column for each column"

    def __len__(self) -> int:
        return len(self.items)

    @property
    def total(self) -> np.ndarray:
        """Each row's tokens where it stands alone; int64 [rows], at least 1."""
        total = np.zeros(len(self), dtype=np.int64)
        for items, longest in zip(self.items.T, self.longest.T, strict=True):
            total += items.astype(np.int64) * longest
        return np.maximum(1, total)

    def padded(self, rows: np.ndarray) -> int:
        """The tokens of a batch of these rows, padding counted: rows times, per column, most items times longest."""
        if not len(rows):
            return 0
        per_row = int((self.items[rows].max(axis=0).astype(np.int64) * self.longest[rows].max(axis=0)).sum())
        return len(rows) * max(1, per_row)


@dataclass(frozen=True)
class TokenCount:
    """A batch's tokens.

    Attributes:
        inputs: Of the columns whose items have a length.
        targets: Of texts to be written, each but the first, as the loss counts them.
        padded: Both of them with their padding, the first tokens of texts too.
        valid: The same without the padding.
    """

    inputs: float = 0.0
    targets: float = 0.0
    padded: float = 0.0
    valid: float = 0.0


def count_tokens(batch: Batch, schema: Schema) -> TokenCount:
    """Counts a batch in main memory; a few microseconds for each column.

    Columns whose items have one shape have no padding and are not counted.
    """
    inputs = targets = padded = valid = 0.0
    for column in schema:
        result = batch.columns.get(column.name)
        spec = modality(column.modality)
        if result is not None and spec.length_multiple is not None:
            inputs += spec.cost(column, result.lengths.sum().item())
            longest = result.values.shape[2]
            cost = spec.cost(column, longest) / longest
            groups = groups_of_items(result.lengths.flatten(), longest, spec.length_multiple, cost=cost)
            padded += cost * sum(len(group.items) * group.length for group in groups)
    for prompt in batch.prompts.values():
        inputs += prompt.lengths.sum().item()
        padded += prompt.values.numel()
    valid += inputs
    for truth in batch.truths.values():
        predicted, there, whole = truth.token_counts()
        targets, valid, padded = targets + predicted, valid + there, padded + whole
    return TokenCount(inputs, targets, padded, valid)


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
    items = np.stack([pair[0] for pair in pairs], axis=1) if pairs else np.zeros((len(table), 0), dtype=np.uint8)
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
            return spec.measure(processor, cell, table.source(i, name), table.root_of(name))
        except DecodeError:
            return []  # absent in the batch as well

    sizes: Callable[[int], list[int]] | None = None
    if not isinstance(spec.estimate, Unsupported):
        estimate = spec.estimate

        def sizes(i: int) -> list[int]:
            return estimate(table.cell(i, name))

    limit, multiple = spec.longest(processor), spec.length_multiple
    num_items, costs = array("q"), array("q")
    for row in _each(len(table), lengths, sizes, exact=exact):
        row = row[: processor.most_items]
        longest = max(row, default=0) if limit is None else min(max(row, default=0), limit)
        if multiple is not None and longest:
            longest = round_up(longest, multiple)
        if column.longest is not None:
            longest = min(longest, column.longest)
        num_items.append(len(row))
        costs.append(math.ceil(spec.cost(column, longest)))
    return _small(num_items), _small(costs)


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

    longest = _small(array("q", (max(row, default=0) for row in _each(len(table), tokens, characters, exact=exact))))
    return np.minimum(longest, 1), longest


def _each(
    num_rows: int, tokens: Callable[[int], list[int]], characters: Callable[[int], list[int]] | None, *, exact: bool
) -> Iterator[list[int]]:
    """Per row the length of each item: measured, or estimated from characters where there are any."""
    if exact or characters is None:
        return map(tokens, range(num_rows))
    sample = np.sort(permutation(num_rows, "length sample")[:NUM_SAMPLED]).tolist()
    known = sum(sum(tokens(i)) for i in sample)
    ratio = known / max(1, sum(sum(characters(i)) for i in sample))
    return ([math.ceil(length * ratio) for length in characters(i)] for i in range(num_rows))


def _small(numbers: array[int]) -> np.ndarray:
    """Numbers from 0 on, of the smallest type that holds them."""
    values = np.array(numbers, dtype=np.int64)
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))
