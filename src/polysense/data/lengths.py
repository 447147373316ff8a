"""Lengths of rows in tokens: what batches are grouped by, and what is counted for the log.

What an item counts as, its modality says (`ModalitySpec.cost`): a text its tokens, sound 25 a second, which is what
strided encoders make of it, an image 64, a number 1. So a budget of padded tokens stands for memory and time only up to
a factor that the model decides; within one run it is the same for all batches, which is what it is for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polysense.core.batch import Batch
from polysense.core.registry import modality
from polysense.core.schema import Schema

__all__ = ["RowLengths", "TokenCount", "count_tokens"]


@dataclass(frozen=True, eq=False)
class RowLengths:
    """How long each row is.

    Attributes:
        items: int64 [rows, columns], the items of each cell; 0 = absent.
        longest: int64 [rows, columns], the tokens of its longest item; 0 = absent.
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
        return np.asarray(np.maximum(1, (self.items * self.longest).sum(axis=1)))

    def padded(self, rows: np.ndarray) -> int:
        """The tokens of a batch of these rows, padding counted: rows times, per column, most items times longest."""
        if not len(rows):
            return 0
        per_row = int((self.items[rows].max(axis=0) * self.longest[rows].max(axis=0)).sum())
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
            padded += spec.cost(column, result.values.numel())
    for prompt in batch.prompts.values():
        inputs += prompt.lengths.sum().item()
        padded += prompt.values.numel()
    valid += inputs
    for target in batch.targets.values():
        if target.lengths is not None and target.values.shape == (*target.lengths.shape, target.values.shape[-1]):
            tokens = target.lengths.sum().item()
            targets += tokens - (target.lengths > 0).sum().item()
            valid += tokens
            padded += target.values.numel()
    return TokenCount(inputs, targets, padded, valid)
