"""ColumnDecoder: from a decoder's output tokens to what one column holds, and how its places are hidden.

A column has places: a picture's patches, a sound's spans, a text's tokens, one for a number. There is one token for
each, and what is hidden from the encoder is hidden by places too, so that a loss can be taken on these alone. Both
stand in one class per kind, because they must agree on where a place lies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column

__all__ = ["ColumnDecoder"]


class ColumnDecoder(nn.Module, ABC):
    """Reads one column's tokens. Of a cell that holds several items the first one is restored.

    Args:
        column: The fitted column.
        num_places: Tokens that it has.

    Attributes:
        column: As given.
        num_places: As given.
    """

    def __init__(self, column: Column, num_places: int) -> None:
        super().__init__()
        self.column = column
        self.num_places = num_places

    @abstractmethod
    def known(self, column: ColumnBatch) -> Bool[Tensor, "batch places"]:
        """Which places the true cell has; none where it is absent."""

    @abstractmethod
    def hidden(self, column: ColumnBatch, places: Bool[Tensor, "batch places"]) -> ColumnBatch:
        """The column with some places hidden, in all items alike."""

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
        self, tokens: Float[Tensor, "batch places width"], column: ColumnBatch, places: Bool[Tensor, "batch places"]
    ) -> Float[Tensor, " batch"]:
        """Each row's mean error over some places; 0 where there are none.

        Args:
            tokens: float32.
            column: The truth.
            places: Some of the known ones.
        """

    @abstractmethod
    def predict(self, tokens: Float[Tensor, "batch places width"]) -> Shaped[Tensor, "batch ..."]:
        """What the column holds, see `Prediction.columns`."""

    def num_cut(self, column: ColumnBatch) -> Int[Tensor, ""]:
        """Rows whose cell is longer than what is restored."""
        return torch.zeros((), dtype=torch.int64, device=column.lengths.device)

    @property
    def most(self) -> str:
        """What is restored at most, as "the first 24 tokens"; "" where nothing is ever cut."""
        return ""
