"""ColumnDecoder: from a decoder's output tokens to what one column holds, and how its positions are masked.

A column has positions: an image's patches, an audio clip's spans, a text's tokens, one for a number. There is one token
for each, and the encoder's input is masked by positions too, so that a loss can be taken on these alone. Both stand in
one class per kind, because they must agree on where a position lies.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.nn.layers.draws import normals

__all__ = ["ColumnDecoder", "DecodingLimits", "ScaledValueDecoder", "SingleValueDecoder", "linear_rowwise", "squared"]

_LINEAR_FROM = 10.0  # standard deviations; beyond, one mistyped value would outweigh a whole table
_LARGEST = 1e30  # whose square root's double is still a float32


@dataclass(frozen=True)
class DecodingLimits:
    """How finely and how much of a column is reconstructed.

    Attributes:
        patch_size: Of images, in pixels; auto decides by their size.
        max_tokens: Of texts; None decides by the training texts.
        max_seconds: Of audio clips; None decides by the training audio clips.
        num_mels: Bands of their spectrograms.
    """

    patch_size: int | Literal["auto"] = "auto"
    max_tokens: int | None = None
    max_seconds: float | None = None
    num_mels: int = 64


class ColumnDecoder(nn.Module, ABC):
    """Reads one column's tokens. Of a cell that holds several items the first one is reconstructed.

    Args:
        column: The fitted column.
        num_positions: Tokens that it has.

    Attributes:
        column: As given.
        num_positions: As given.
        has_classes: Whether each position holds one of some classes, which are right or wrong; else values.
    """

    has_classes: ClassVar[bool] = False

    def __init__(self, column: Column, num_positions: int) -> None:
        super().__init__()
        self.column = column
        self.num_positions = num_positions

    @classmethod
    @abstractmethod
    def create(cls, column: Column, width: int, limits: DecodingLimits) -> ColumnDecoder:
        """The decoder of a fitted column.

        Args:
            column: The column.
            width: Of the tokens that are read.
            limits: How much of it is reconstructed.
        """

    @abstractmethod
    def known(self, column: ColumnBatch) -> Bool[Tensor, "batch positions"]:
        """Which positions the true cell has; none where it is absent."""

    @abstractmethod
    def with_masked(self, column: ColumnBatch, positions: Bool[Tensor, "batch positions"]) -> ColumnBatch:
        """The column with some positions masked, in all items alike."""

    @abstractmethod
    def noisy(self, column: ColumnBatch, keys: Int[Tensor, " batch"], noise: float, replace: float) -> ColumnBatch:
        """The column with noise.

        Args:
            column: Not changed.
            keys: What is drawn from.
            noise: Standard deviation of what is added to numbers, pixels and samples, in the column's own.
            replace: The share of tokens or categories that become random ones.
        """

    @abstractmethod
    def losses(
        self,
        tokens: Float[Tensor, "batch positions width"],
        column: ColumnBatch,
        positions: Bool[Tensor, "batch positions"],
    ) -> Float[Tensor, " batch"]:
        """Each row's mean error over some positions; 0 where there are none.

        Args:
            tokens: float32.
            column: The truth.
            positions: Some of the known ones.
        """

    @abstractmethod
    def truth(self, column: ColumnBatch) -> tuple[Shaped[Tensor, "batch ..."], Bool[Tensor, "batch ..."]]:
        """What the cells hold, in the terms that the loss is in, and where it is known; the two broadcast.

        Values in standard deviations, [batch, ...]; of classes their ids, int64 [batch, positions].
        """

    @property
    @abstractmethod
    def mean_shape(self) -> tuple[int, ...]:
        """Of the mean of `truth` over rows, which is also over each dimension of size 1; of classes their number."""

    def error(self, difference: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """The loss of a difference from the truth, of values."""
        return difference**2

    @abstractmethod
    def predict(self, tokens: Float[Tensor, "batch positions width"]) -> Shaped[Tensor, "batch ..."]:
        """What the column holds, see `TaskSpec.reconstructions`."""

    def compared(self, column: ColumnBatch) -> Shaped[Tensor, "batch ..."] | None:
        """The truth in the terms of `predict`, where the cell itself is in others."""
        return None

    def num_cut(self, column: ColumnBatch) -> Int[Tensor, ""]:
        """Rows whose cell is longer than what is reconstructed."""
        return torch.zeros((), dtype=torch.int64, device=column.lengths.device)

    @property
    def most(self) -> str:
        """What is reconstructed at most, as "the first 24 tokens"; "" where nothing is ever cut."""
        return ""


class SingleValueDecoder(ColumnDecoder):
    """A column of single values: one position.

    A masked one is absent: any value that stood for "masked" would be some other row's true one.
    """

    def __init__(self, column: Column) -> None:
        super().__init__(column, 1)

    def known(self, column: ColumnBatch) -> Bool[Tensor, "batch 1"]:
        return column.lengths[:, :1] > 0

    def with_masked(self, column: ColumnBatch, positions: Bool[Tensor, "batch 1"]) -> ColumnBatch:
        return column.masked(~positions[:, 0])


class ScaledValueDecoder(SingleValueDecoder):
    """A column of scaled values; the error is squared up to ten standard deviations, and grows linearly beyond.

    Args:
        column: The fitted column.
        width: Of the tokens that are read.
        num_values: The first ones of an item that are decoded.
    """

    def __init__(self, column: Column, width: int, num_values: int = 1) -> None:
        super().__init__(column)
        self.output = nn.Linear(width, num_values)

    def truth(self, column: ColumnBatch) -> tuple[Float[Tensor, "batch values"], Bool[Tensor, "batch 1"]]:
        known = self.known(column)
        # An absent cell's storage may hold anything.
        return column.values[:, 0, : self.output.out_features].float().masked_fill(~known, 0.0), known

    @property
    def mean_shape(self) -> tuple[int, ...]:
        return (self.output.out_features,)

    def error(self, difference: Float[Tensor, "batch values"]) -> Float[Tensor, "batch values"]:
        return squared(difference)

    def losses(
        self, tokens: Float[Tensor, "batch 1 width"], column: ColumnBatch, positions: Bool[Tensor, "batch 1"]
    ) -> Float[Tensor, " batch"]:
        truth = self.truth(column)[0].masked_fill(~positions, 0.0)
        return squared(self.scaled(tokens) - truth).mean(dim=1) * positions[:, 0]

    def scaled(self, tokens: Float[Tensor, "batch 1 width"]) -> Float[Tensor, "batch values"]:
        """The values in standard deviations."""
        return linear_rowwise(tokens[:, 0], self.output)

    def noisy(self, column: ColumnBatch, keys: Int[Tensor, " batch"], noise: float, replace: float) -> ColumnBatch:
        if noise == 0:
            return column
        added = noise * normals(keys, column.values[0].numel(), f"noise {self.column.name}")
        values = column.values + added.view(column.values.shape).to(column.values.dtype)
        return dataclasses.replace(column, values=values)


def linear_rowwise(tokens: Float[Tensor, "batch width"], layer: nn.Linear) -> Float[Tensor, "batch outputs"]:
    """The layer, for one or two outputs: a matrix library's kernel for so few gives a row's last bits by its place."""
    return (tokens[:, None] * layer.weight).sum(dim=2) + layer.bias


def squared(difference: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """Squares, and straight lines from where the slope of a square would be too steep (Huber, 1964)."""
    size = difference.abs().clamp(max=_LARGEST)
    # The square is taken of what is small alone: that of what is large may be infinite, and its gradient is no number.
    small = size.clamp(max=_LINEAR_FROM)
    return small * small + 2 * _LINEAR_FROM * (size - small)
