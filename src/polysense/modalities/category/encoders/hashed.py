"""A category out of very many, by hashing.

The column hashes every value, seen or not, into a fixed number of buckets under one or more hash functions (see
data.columns.category, which computes, logs and keeps how many values share all of them). Here each hash function has
an embedding table of its own, and a category's embedding is the sum of its rows: with two tables of 4,096 rows,
100,000 values have 16.8 million pairs of buckets to fall into, and 0.6% of them share a pair, where one table of the
same 8,192 rows would have every value share its row with a dozen others.

Source: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009 (one hash); Svenstrup,
Hansen, Winther, "Hash Embeddings for Efficient Word Representations", NeurIPS 2017 (several, there with learned weights
for each word, left out here since they need a list of the words). The trade-off: memory does not grow with the number
of categories, but values share parameters, and a value that training never saw gets a mixture of others' rather than
"unknown".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from polysense.config.limits import Limit
from polysense.core.schema import Requirements
from polysense.core.tokens import Tokens
from polysense.modalities.category.record import CategoryColumn, CategoryRequirements
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["HashedCategory", "HashedCategoryConfig"]


@dataclass(frozen=True, kw_only=True)
class HashedCategoryConfig(EncoderConfig):
    """A category out of very many: hashed embeddings, summed, through a small multilayer perceptron.

    Attributes:
        hash_buckets: Rows of each embedding table. The log states the collision rate of the training values.
        num_hashes: Hash functions, each with a table of its own; values are confused only if they share all.
        size: Width of the embedding before the perceptron.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"category"})
    type: Literal["hashed_category"] = "hashed_category"
    hash_buckets: Annotated[int, Limit(2)] = 4096
    num_hashes: Annotated[int, Limit(1, 8)] = 2
    size: int = 32

    def requirements(self, column_name: str, modality: str) -> Requirements:
        return CategoryRequirements(hash_buckets=self.hash_buckets, num_hashes=self.num_hashes)


class HashedCategory(Encoder, config=HashedCategoryConfig):
    """A table for each hash function, the sum of their rows, a multilayer perceptron."""

    starts: Tensor

    def __init__(self, config: HashedCategoryConfig, column: CategoryColumn, width: int) -> None:
        super().__init__(column, width)
        tables = column.num_hashes
        # One table that holds all, which is one look-up.
        self.embedding = nn.Embedding(tables * column.num_categories, config.size)
        nn.init.normal_(self.embedding.weight, std=tables**-0.5)
        self.register_buffer("starts", torch.arange(tables) * column.num_categories, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(config.size, width), nn.GELU(), nn.Linear(width, width))

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        summed = self.embedding(values.flatten(1) + self.starts).sum(dim=1)
        return Tokens(self.mlp(summed)[:, None, :], (lengths > 0)[:, None], (1,))
