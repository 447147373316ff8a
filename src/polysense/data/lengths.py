"""Lengths of rows in tokens: what batches are grouped by, and what is counted for the log.

A column's tokens are its own: of a text what its tokenizer gives (rounded up to 8, as batches are padded), of sound
1/25 s, which is what strided encoders make of it. A picture counts as 64, everything else as 1. So a budget of padded
tokens stands for memory and time only up to a factor that the model decides; within one run it is the same for all
batches, which is what it is for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polysense.core.batch import Batch
from polysense.core.modality import Modality
from polysense.core.schema import Column, Schema

__all__ = ["FRAMES_PER_SECOND", "PICTURE", "RowLengths", "TokenCount", "count_tokens"]

#: Tokens that a second of sound counts as.
FRAMES_PER_SECOND = 25
#: Tokens that a picture counts as.
PICTURE = 64


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
        inputs: Of text, and of sound in units of 1/25 s.
        targets: Of texts to be written, each but the first, as the loss counts them.
        padded: Both of them with their padding, the first tokens of texts too.
        valid: The same without the padding.
    """

    inputs: float = 0.0
    targets: float = 0.0
    padded: float = 0.0
    valid: float = 0.0


def per_token(column: Column) -> float:
    """How much of a column's own measure makes a token: samples of a sound, else 1."""
    if column.modality is Modality.AUDIO and column.sample_rate is not None:
        return column.sample_rate / FRAMES_PER_SECOND
    return 1.0


def count_tokens(batch: Batch, schema: Schema) -> TokenCount:
    """Counts a batch in main memory; a few microseconds for each column.

    Columns without a length (pictures, numbers, categories) have no padding and are not counted.
    """
    inputs = targets = padded = valid = 0.0
    for column in schema:
        found = batch.columns.get(column.name)
        if found is not None and column.modality in (Modality.TEXT, Modality.AUDIO):
            unit = per_token(column)
            inputs += found.lengths.sum().item() / unit
            padded += found.values.numel() / unit
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
