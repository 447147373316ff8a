"""A category as one token; id 0 is "unknown", for values that training never saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from torch import nn

from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.category.record import CategoryColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["CategoryEmbedding", "CategoryEmbeddingConfig"]


@dataclass(frozen=True, kw_only=True)
class CategoryEmbeddingConfig(EncoderConfig):
    """A category's embedding through a small multilayer perceptron.

    Attributes:
        size: Width of the embedding before the perceptron.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"category"})
    type: Literal["category_embedding"] = "category_embedding"
    size: int = 32

    def build(self, column: Column, width: int, resources: Path | None = None) -> CategoryEmbedding:
        self.check(column)
        column = CategoryColumn.of(column)
        if column.num_hashes > 1:
            raise ConfigError(
                f"the encoder {self.type!r} reads one id, column {column.name!r} is hashed by {column.num_hashes} "
                f"functions: use hashed_category, or set num_hashes to 1 under data.columns"
            )
        return CategoryEmbedding(self, column, width)


class CategoryEmbedding(Encoder):
    """An embedding, then a multilayer perceptron."""

    def __init__(self, config: CategoryEmbeddingConfig, column: CategoryColumn, width: int) -> None:
        super().__init__(column, width)
        self.embedding = nn.Embedding(column.num_categories, config.size)
        # Training never sees "unknown": a zero vector stands for the average category, not for noise.
        nn.init.zeros_(self.embedding.weight[0])
        self.mlp = nn.Sequential(nn.Linear(config.size, width), nn.GELU(), nn.Linear(width, width))

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        return Tokens(self.mlp(self.embedding(values.flatten(1)[:, :1])), (lengths > 0)[:, None], (1,))
