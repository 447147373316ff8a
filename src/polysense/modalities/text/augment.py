"""Texts: letters mistyped, some tokens swapped with their neighbors, hidden or left out.

A left-out token is removed and what follows moves up, as in a note that somebody typed in a hurry; replacing it by
padding would show the model a hole that no real text has, and not every vocabulary has an "unknown". The first and
the last token always stay: pretrained tokenizers put their marks there, and so no text becomes empty.

Letters are mistyped in the text that tokens spell, which is then tokenized anew, since a misspelled word has other
tokens. That is done on the CPU, text by text. Tokens that spell nothing (marks, unknown words) stay, and so does what
lies between two of them where its tokens are not those of the text that they spell, as after a character cut in half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from polysense.config.limits import Fraction, PositiveInt
from polysense.core.batch import ColumnBatch
from polysense.core.modality_spec import FittedColumn
from polysense.core.random import uniforms
from polysense.core.schema import Column
from polysense.data.augmentation.base import Transform, TransformConfig, item_uniforms
from polysense.modalities.text.column import TextProcessor
from polysense.modalities.text.record import TextColumn
from polysense.modalities.text.speller import Speller

__all__ = ["TextTransform", "TextTransformConfig"]


@dataclass(frozen=True, kw_only=True)
class TextTransformConfig(TransformConfig):
    """Random removal, swaps and masking of tokens.

    Attributes:
        probability: How many of the tokens are left out, from 0 to 1.
        character_noise: How many of the letters are mistyped, from 0 to 1: exchanged with the next one, left out,
            doubled, or that of a neighboring key (see `typos`). Letters stay in their script, and marks with them.
        swap: How many of the tokens change places with a neighbor, from 0 to 1 (Wei and Zou, "EDA: Easy data
            augmentation techniques for boosting performance on text classification tasks", EMNLP 2019, swap words of
            any distance). It changes the order, and with it "dog bites man".
        mask: How many of the tokens are hidden, about, from 0 to 1, in spans: the vocabulary's mask stands in their
            places, else its unknown word, else the padding's token.
        mask_span: Tokens of such a span.
    """

    type: Literal["text"] = "text"
    probability: Fraction = 0.1
    character_noise: Fraction = 0.0
    swap: Fraction = 0.0
    mask: Fraction = 0.0
    mask_span: PositiveInt = 3

    @property
    def moves(self) -> bool:
        """What follows a token that is left out moves up."""
        return bool(self.untraced)

    @property
    def untraced(self) -> tuple[str, ...]:
        """How far a token moves depends on what is left out before it, and on the tokens mistyped and swapped."""
        return tuple(name for name in ("probability", "character_noise", "swap") if getattr(self, name) > 0)

    @property
    def disturbs(self) -> Mapping[str, Mapping[str, object]]:
        """What labels may speak of."""
        return {"the order of words": {"swap": 0.0}} if self.swap else {}

    def create(self, fitted: FittedColumn) -> Transform:
        """See the base."""
        assert isinstance(fitted, TextProcessor), f"column {fitted.name!r} holds texts"
        return TextTransform(self, fitted.column, Speller(fitted.tokenizer, fitted.max_tokens))

    def build(self, column: Column) -> TextTransform:
        """The transform for a text column; without its tokenizer, no letter can be mistyped."""
        return TextTransform(self, TextColumn.of(column))


class TextTransform(Transform):
    """See `TextTransformConfig`."""

    def __init__(self, config: TextTransformConfig, column: TextColumn, speller: Speller | None = None) -> None:
        assert speller is not None or not config.character_noise, "letters are mistyped by a tokenizer"
        self.config = config
        self._speller = speller
        self._padding_id = column.padding_id
        self._mask_id = column.padding_id if column.mask_id is None else column.mask_id
        self._name = f"text:{column.name}"

    def __call__(self, column: ColumnBatch, rows: np.ndarray, seed: int, epoch: int) -> ColumnBatch:
        """Varies tokens; int32 [batch, items, length]."""
        config, values, lengths = self.config, column.values, column.lengths
        if config.character_noise and self._speller is not None:
            values, lengths = self._mistyped(values, lengths, self._speller, rows, seed, epoch)
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

    def _mistyped(
        self, values: Tensor, lengths: Tensor, speller: Speller, rows: np.ndarray, seed: int, epoch: int
    ) -> tuple[Tensor, Tensor]:
        """The texts with letters mistyped, padded to the longest or as before, and their new lengths."""
        sizes, ids = lengths.tolist(), values.tolist()
        texts: list[list[list[int]]] = []
        for i, row in enumerate(rows.tolist()):
            texts.append([])
            for item, size in enumerate(sizes[i]):
                draw = partial(_letter_draws, seed, epoch, row, f"{self._name}:characters", item)
                texts[-1].append(speller.mistyped(ids[i][item][:size], self.config.character_noise, draw))
        longest = max((len(text) for items in texts for text in items), default=0)
        result = np.full((*values.shape[:2], max(longest, values.shape[2])), self._padding_id, np.int32)
        for i, items in enumerate(texts):
            for item, text in enumerate(items):
                result[i, item, : len(text)] = text
        new = torch.tensor([[len(text) for text in items] for items in texts], dtype=lengths.dtype)
        return (
            torch.from_numpy(result).to(values.device, values.dtype),
            new.reshape(lengths.shape).to(lengths.device),
        )

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


def _letter_draws(seed: int, epoch: int, row: int, name: str, item: int, run: int, num: int) -> np.ndarray:
    return uniforms(num, seed, epoch, row, name, item, run)


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
