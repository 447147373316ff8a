"""Texts: one place for each token, and one for the end where there is room.

All tokens are guessed at once, each from the code and its place alone: what can't be known is not agreed upon, as a
decoder that writes one token after another would. In return the error of a text is that of its code, not of a language
model beside it, which would learn to write without looking at the code (Bowman et al., "Generating Sentences from a
Continuous Space", 2016, section 3.1).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.modalities.text.record import TextColumn
from polysense.nn.column_decoder import ColumnDecoder, DecodingLimits
from polysense.nn.layers.draws import uniforms
from polysense.nn.layers.linear_cross_entropy import linear_cross_entropy

__all__ = ["TokenDecoder"]

_MOST_TOKENS = 512  # attention among them costs their square
_NOT_SCORED = -100


class TokenDecoder(ColumnDecoder):
    """Tokens of a text, from its first one on.

    Args:
        column: The fitted column.
        width: Of the tokens that are read.
        max_tokens: That are reconstructed; None: as many as 95% of the training texts have.
    """

    column: TextColumn
    has_classes: ClassVar[bool] = True

    def __init__(self, column: TextColumn, width: int, max_tokens: int | None) -> None:
        super().__init__(column, min(column.typical_length, _MOST_TOKENS) if max_tokens is None else max_tokens)
        self._padding = column.padding_id
        self._mask = column.padding_id if column.mask_id is None else column.mask_id
        self.output = nn.Linear(width, column.vocabulary_size)

    @classmethod
    def create(cls, column: Column, width: int, limits: DecodingLimits) -> TokenDecoder:
        return cls(TextColumn.of(column), width, limits.max_tokens)

    def known(self, column: ColumnBatch) -> Bool[Tensor, "batch positions"]:
        lengths = column.lengths[:, :1]
        return (torch.arange(self.num_positions, device=lengths.device) <= lengths) & (lengths > 0)

    def with_masked(self, column: ColumnBatch, positions: Bool[Tensor, "batch positions"]) -> ColumnBatch:
        length = column.values.shape[2]
        there = torch.arange(length, device=positions.device) < column.lengths[..., None]
        chosen = F.pad(positions, (0, length - self.num_positions))[:, None] & there
        return dataclasses.replace(column, values=column.values.masked_fill(chosen, self._mask))

    def noisy(self, column: ColumnBatch, keys: Int[Tensor, " batch"], noise: float, replace: float) -> ColumnBatch:
        if replace == 0:
            return column
        name, (_, items, length) = self.column.name, column.values.shape
        there = torch.arange(length, device=keys.device) < column.lengths[..., None]
        # One name for each item, so that a token's draw does not depend on how far others are padded.
        chosen = torch.stack([uniforms(keys, length, f"replaced {name} {item}") for item in range(items)], dim=1)
        drawn = torch.stack([uniforms(keys, length, f"token {name} {item}") for item in range(items)], dim=1)
        other = (drawn * (self.column.vocabulary_size - 1)).to(column.values.dtype)
        other = other + (other >= self._padding)
        values = torch.where((chosen < replace) & there, other, column.values)
        return dataclasses.replace(column, values=values)

    def losses(
        self,
        tokens: Float[Tensor, "batch positions width"],
        column: ColumnBatch,
        positions: Bool[Tensor, "batch positions"],
    ) -> Float[Tensor, " batch"]:
        expected = self.truth(column)[0].masked_fill(~positions, _NOT_SCORED)
        if self.training:
            losses = self._losses(tokens.flatten(0, 1), expected.flatten()).view(expected.shape)
        else:
            # Row by row: in chunks that cut across rows, a row's last bits would depend on where it stands.
            losses = torch.stack([self._losses(*row) for row in zip(tokens, expected, strict=True)])
        return losses.sum(dim=1) / positions.sum(dim=1).clamp(min=1)

    def truth(self, column: ColumnBatch) -> tuple[Int[Tensor, "batch positions"], Bool[Tensor, "batch positions"]]:
        ids = column.values[:, 0].long()
        ids = F.pad(ids, (0, self.num_positions - ids.shape[1]), value=self._padding)
        # What follows a text's last token is its end, whatever the storage holds there.
        past = torch.arange(self.num_positions, device=ids.device) >= column.lengths[:, :1]
        return ids.masked_fill(past, self._padding), self.known(column)

    @property
    def mean_shape(self) -> tuple[int, ...]:
        return (self.column.vocabulary_size,)

    def predict(self, tokens: Float[Tensor, "batch positions width"]) -> Int[Tensor, "batch positions"]:
        ids = torch.stack([self._chosen(row) for row in tokens])
        return ids.masked_fill((ids == self._padding).cumsum(dim=1) > 0, self._padding)

    def num_cut(self, column: ColumnBatch) -> Int[Tensor, ""]:
        return (column.lengths[:, 0] > self.num_positions).sum()

    @property
    def most(self) -> str:
        return f"the first {self.num_positions} tokens"

    def _losses(
        self, tokens: Float[Tensor, "tokens width"], expected: Int[Tensor, " tokens"]
    ) -> Float[Tensor, " tokens"]:
        return linear_cross_entropy(tokens, self.output.weight, self.output.bias, expected, ignore=_NOT_SCORED)

    def _chosen(self, tokens: Float[Tensor, "positions width"]) -> Int[Tensor, " positions"]:
        """The most likely token of each place; the first one is not the end, since a text that is there has a token."""
        logits = self.output(tokens).float()
        first = torch.arange(len(tokens), device=tokens.device)[:, None] == 0
        ids = torch.arange(logits.shape[1], device=tokens.device) == self._padding
        chosen: Tensor = logits.masked_fill(first & ids, -torch.inf).argmax(dim=1)
        return chosen
