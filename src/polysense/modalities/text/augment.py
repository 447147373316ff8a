"""Texts: some tokens left out.

A left-out token is removed and what follows moves up, as in a note that somebody typed in a hurry; replacing it by
padding would show the model a hole that no real text has, and not every vocabulary has an "unknown". The first and
the last token always stay: pretrained tokenizers put their marks there, and so no text becomes empty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from polysense.config.limits import Fraction
from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.data.augmentation.base import Transform, TransformConfig, item_uniforms
from polysense.modalities.text.record import TextColumn

__all__ = ["TextTransform", "TextTransformConfig"]


@dataclass(frozen=True, kw_only=True)
class TextTransformConfig(TransformConfig):
    """Random removal of tokens.

    Attributes:
        probability: How many of the tokens are left out, from 0 to 1.
    """

    type: Literal["text"] = "text"
    probability: Fraction = 0.1

    @property
    def moves(self) -> bool:
        """What follows a token that is left out moves up."""
        return self.probability > 0

    @property
    def untraced(self) -> tuple[str, ...]:
        """How far a token moves depends on what is left out before it."""
        return ("probability",) if self.moves else ()

    def build(self, column: Column) -> TextTransform:
        """The transform for a text column."""
        return TextTransform(self, TextColumn.of(column))


class TextTransform(Transform):
    """See `TextTransformConfig`."""

    def __init__(self, config: TextTransformConfig, column: TextColumn) -> None:
        self.config = config
        self._padding_id = column.padding_id
        self._name = f"text:{column.name}"

    def __call__(self, column: ColumnBatch, rows: np.ndarray, seed: int, epoch: int) -> ColumnBatch:
        """Removes tokens; int32 [batch, items, length]."""
        if self.config.probability == 0:
            return column
        values, lengths = column.values, column.lengths[..., None]
        num_items, length = values.shape[1:]
        draws = item_uniforms(length, seed, epoch, rows, self._name, num_items)
        position = torch.arange(length, device=values.device)
        keep = torch.from_numpy(draws >= self.config.probability).to(values.device)
        keep = (keep | (position == 0) | (position == lengths - 1)) & (position < lengths)
        # Where each kept token goes; the others go to one place behind the end, which is then cut off.
        to = torch.where(keep, keep.cumsum(dim=-1) - 1, length)
        shifted = values.new_full((*values.shape[:2], length + 1), self._padding_id).scatter_(-1, to, values)
        moved = torch.full((len(values), 3, 3), torch.nan, device=values.device)
        return replace(column, values=shifted[..., :length].contiguous(), lengths=keep.sum(dim=-1), geometry=moved)
