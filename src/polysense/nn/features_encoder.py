"""`features`: a column's feature vector (`data.features`) as its one token.

The extractor is frozen and was run in preprocessing; only the projection learns. So the network sees what a linear
model on the same features would, and costs next to nothing: no pixels, samples or words reach it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from polysense.config.limits import FractionBelowOne
from polysense.core import registry
from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["FeaturesEncoder", "FeaturesEncoderConfig"]


@dataclass(frozen=True, kw_only=True)
class FeaturesEncoderConfig(EncoderConfig):
    """A cell's feature vector, made without trained weights (data.features.COLUMN), as one token.

    Attributes:
        dropout: On the vector's numbers.
    """

    reads_features: ClassVar[bool] = True
    type: Literal["features"] = "features"
    dropout: FractionBelowOne = 0.1

    @classmethod
    def reads(cls) -> frozenset[str]:
        """See `EncoderConfig`: all there are."""
        return frozenset(registry.modalities())

    def check(self, column: Column) -> None:
        """See `EncoderConfig`."""
        super().check(column)
        if not column.num_features:
            raise ConfigError(
                f"model.encoders.{column.name}: the encoder {self.type!r} reads the column's features, and it has "
                f"none; name some under data.features.{column.name} (`polysense list features`)"
            )


class FeaturesEncoder(Encoder, config=FeaturesEncoderConfig):
    """LayerNorm(W x + b). The features come standardized by the training cells, see `data.features`."""

    def __init__(self, config: FeaturesEncoderConfig, column: Column, width: int) -> None:
        super().__init__(column, width)
        # Sparse vectors have length 1 however wide they are: without the norm their token would be nearly 0.
        self.project = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(column.num_features, width), nn.LayerNorm(width)
        )

    def encode_cells(self, column: ColumnBatch) -> Tokens:
        """See `Encoder`."""
        present = column.present
        features = column.features
        if features is None:  # no row of the batch has any
            features = torch.zeros(len(present), self.column.num_features, device=present.device)
        features = features.masked_fill(~present[:, None], 0.0)
        values: Tensor = self.project(features)[:, None]
        return Tokens(values, present[:, None], (1,)).cleared()

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        """Not asked: a vector is of a whole cell."""
        raise AssertionError("features are of cells, not of items")
