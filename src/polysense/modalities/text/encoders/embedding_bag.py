"""A text as the mean (or sum, or maximum) of its tokens' embeddings: fastText's classifier.

Joulin, Grave, Bojanowski, Mikolov, "Bag of tricks for efficient text classification" (2017): embeddings of the tokens
and of hashed pairs of neighbors, averaged. Trains in seconds and is on par with deep models for topics and
sentiment of long texts. Unlike a bag of words it may be narrow, and here it reads subwords unless the column is set to
words; like it, it knows order only as far as pairs go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne, PositiveInt
from polysense.core.tokens import Tokens
from polysense.modalities.text.encoders.bag_of_words import hashed_pairs
from polysense.modalities.text.record import TextColumn
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["EmbeddingBag", "EmbeddingBagConfig"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingBagConfig(EncoderConfig):
    """Token embeddings, pooled to one vector (fastText's classifier).

    Attributes:
        pooling: mean, sum or max over a text's tokens.
        ngrams: 1 takes tokens, 2 also pairs of neighboring tokens.
        num_buckets: Pairs are hashed into this many embeddings; only with ngrams 2.
        dropout: On the pooled vector.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"text"})
    type: Literal["embedding_bag"] = "embedding_bag"
    pooling: Literal["mean", "sum", "max"] = "mean"
    ngrams: Literal[1, 2] = 1
    num_buckets: PositiveInt = 50_000
    dropout: FractionBelowOne = 0.0


class EmbeddingBag(Encoder, config=EmbeddingBagConfig):
    """One token per text: its tokens' embeddings, pooled."""

    def __init__(self, config: EmbeddingBagConfig, column: TextColumn, width: int) -> None:
        super().__init__(column, width)
        self.config = config
        self.vocabulary_size = column.vocabulary_size
        self.padding = column.vocabulary_size + (config.num_buckets if config.ngrams == 2 else 0)
        self.weight = nn.Parameter(torch.empty(self.padding + 1, width))  # the last row is never pooled
        # As fastText: uniform within 1 / width, so that at first no text stands out by its tokens' noise.
        nn.init.uniform_(self.weight, -1 / width, 1 / width)
        self.dropout = nn.Dropout(config.dropout)

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        mask = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
        features = values
        if self.config.ngrams == 2:
            features = values.long() * mask  # beyond a text there may be anything
            pairs, pair_mask = hashed_pairs(features, mask, self.config.num_buckets)
            features = torch.cat([features, pairs + self.vocabulary_size], dim=1)
            mask = torch.cat([mask, pair_mask], dim=1)
        features = features.masked_fill(~mask, self.padding)
        pooled = F.embedding_bag(features, self.weight, mode=self.config.pooling, padding_idx=self.padding)
        return Tokens(self.dropout(pooled)[:, None], (lengths > 0)[:, None], (1,))
