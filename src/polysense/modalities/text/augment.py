"""Texts: some tokens swapped with their neighbors, hidden or left out.

A left-out token is removed and what follows moves up, as in a note that somebody typed in a hurry; replacing it by
padding would show the model a hole that no real text has, and not every vocabulary has an "unknown". The first and
the last token always stay: pretrained tokenizers put their marks there, and so no text becomes empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from polysense.config.limits import Fraction, PositiveInt
from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.data.augmentation.base import Transform, TransformConfig, item_uniforms
from polysense.modalities.text.record import TextColumn

__all__ = ["TextTransform", "TextTransformConfig"]


@dataclass(frozen=True, kw_only=True)
class TextTransformConfig(TransformConfig):
    """Random removal, swaps and masking of tokens.

    Attributes:
        probability: How many of the tokens are left out, from 0 to 1.
        swap: How many of the tokens change places with a neighbor, from 0 to 1 (Wei and Zou, "EDA: Easy data
            augmentation techniques for boosting performance on text classification tasks", EMNLP 2019, swap words of
            any distance). It changes the order, and with it "dog bites man".
        mask: How many of the tokens are hidden, about, from 0 to 1, in spans: the vocabulary's mask stands in their
            places, else its unknown word, else the padding's token.
        mask_span: Tokens of such a span.
    """

    type: Literal["text"] = "text"
    probability: Fraction = 0.1
    swap: Fraction = 0.0
    mask: Fraction = 0.0
    mask_span: PositiveInt = 3

    @property
    def moves(self) -> bool:
        """What follows a token that is left out moves up."""
        return bool(self.untraced)

    @property
    def untraced(self) -> tuple[str, ...]:
        """How far a token moves depends on what is left out before it, and on the tokens swapped."""
        return tuple(name for name in ("probability", "swap") if getattr(self, name) > 0)

    @property
    def disturbs(self) -> Mapping[str, Mapping[str, object]]:
        """What labels may speak of."""
        return {"the order of words": {"swap": 0.0}} if self.swap else {}

    def build(self, column: Column) -> TextTransform:
        """The transform for a text column."""
        return TextTransform(self, TextColumn.of(column))


class TextTransform(Transform):
    """See `TextTransformConfig`."""

    def __init__(self, config: TextTransformConfig, column: TextColumn) -> None:
        self.config = config
        self._padding_id = column.padding_id
        self._mask_id = column.padding_id if column.mask_id is None else column.mask_id
        self._name = f"text:{column.name}"

    def __call__(self, column: ColumnBatch, rows: np.ndarray, seed: int, epoch: int) -> ColumnBatch:
        """Varies tokens; int32 [batch, items, length]."""
        config, values, lengths = self.config, column.values, column.lengths
        num_items, length = values.shape[1:]

        def draws(num: int, name: str = "") -> Tensor:
            each = item_uniforms(num, seed, epoch, rows, self._name + name, num_items)
            return torch.from_numpy(each).to(values.device)

        if config.swap:
            values = _swapped(values, lengths, draws(length, ":swap"), config.swap)
        if config.mask:
            hidden = _spans(lengths, draws(length, ":mask"), config.mask, config.mask_span)
            values = values.masked_fill(hidden, self._mask_id)
        if config.probability:
            values, lengths = self._shortened(values, lengths, draws(length))
        moved = torch.full((len(values), 3, 3), torch.nan, device=values.device) if config.moves else None
        return replace(column, values=values, lengths=lengths, geometry=moved)

    def _shortened(self, values: Tensor, lengths: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """The texts without some of their tokens, and their new lengths."""
        length = values.shape[2]
        position = torch.arange(length, device=values.device)
        keep = draws >= self.config.probability
        keep = (keep | (position == 0) | (position == lengths[..., None] - 1)) & (position < lengths[..., None])
        # Where each kept token goes; the others go to one place behind the end, which is then cut off.
        to = torch.where(keep, keep.cumsum(dim=-1) - 1, length)
        shifted = values.new_full((*values.shape[:2], length + 1), self._padding_id).scatter_(-1, to, values)
        return shifted[..., :length].contiguous(), keep.sum(dim=-1)


def _swapped(values: Tensor, lengths: Tensor, draws: Tensor, share: float) -> Tensor:
    """Texts in which some pairs of neighbors have changed places; each token is in one pair at most.

    Args:
        values: int32 [batch, items, length].
        lengths: Of the texts.
        draws: [batch, items, length]; the first decides whether pairs begin at odd or even places.
        share: Of the tokens that change places.
    """
    position = torch.arange(values.shape[2], device=values.device)
    odd = (draws[..., :1] < 0.5).long()
    first = position - (position + odd) % 2  # of the pair that the place is in
    # The ends stay, and so does whoever is paired with one.
    inside = (first > 0) & (first + 1 < lengths[..., None] - 1)
    chosen = draws.gather(-1, first.clamp(min=0)) < share
    other = 2 * first + 1 - position
    result: Tensor = values.gather(-1, torch.where(inside & chosen, other, position.expand_as(other)))
    return result


def _spans(lengths: Tensor, draws: Tensor, share: float, span: int) -> Bool[Tensor, "batch items length"]:
    """Which tokens are hidden, in spans of a length that may overlap; the first and the last token never are."""
    position = torch.arange(draws.shape[2], device=draws.device)
    # Of a token none of whose `span` possible beginnings is drawn nothing is hidden.
    begins = draws < 1 - (1 - min(share, 1.0)) ** (1 / span)
    hidden = begins.clone()
    for step in range(1, min(span, draws.shape[2])):
        hidden[..., step:] |= begins[..., :-step]
    result: Tensor = hidden & (position > 0) & (position < lengths[..., None] - 1)
    return result
