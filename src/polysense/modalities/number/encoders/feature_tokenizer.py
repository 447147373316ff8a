"""A number or a category as the FT-Transformer tokenizes it.

Source: Gorishniy, Rubachev, Khrulkov, Babenko, "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021,
section 3.3: a number x becomes b + x w, a category j becomes b + W[j], with w, b and W of its own for each column. One
weight for each feature and no layers: all that columns mean to one another is left to the transformer behind it.
Large values give large tokens; a column with outliers fares better with number_mlp or piecewise_linear.

This encoder on every column, with the fusion `transformer` and a linear head, is the FT-Transformer's architecture: one
token for each feature and a summary token, pre-norm self-attention, a head on the normalized summary token. It is not
its exact network, for that fusion serves tokens of any kind. It normalizes and projects each column's tokens and adds
a column embedding before the first block, and normalizes before that block's attention too, where the paper's takes
the tokens as they are. Its summary token starts from the columns' mean, not from a learned vector alone. Its
feed-forward layers are GELU of four times the width, where the paper has ReGLU of 4/3, and the paper's head has a ReLU
before its linear layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import nn

from polysense.core.registry import modality
from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.encoder import Draws, Encoder, EncoderConfig, Items, Lengths

__all__ = ["FeatureTokenizer", "FeatureTokenizerConfig"]


@dataclass(frozen=True, kw_only=True)
class FeatureTokenizerConfig(EncoderConfig):
    """A number times a learned vector, or a category's embedding, plus a bias: the FT-Transformer's tokenizer."""

    modalities: ClassVar[frozenset[str]] = frozenset({"number", "category"})
    type: Literal["feature_tokenizer"] = "feature_tokenizer"

    def build(self, column: Column, width: int, resources: Path | None = None) -> FeatureTokenizer:
        self.check(column)
        (num_values,) = modality(column.modality).item_shape(column, 1)
        if num_values > 1:
            raise ConfigError(
                f"the encoder {self.type!r} reads one id, column {column.name!r} is hashed by {num_values} "
                f"functions: use hashed_category, or set num_hashes to 1 under data.columns"
            )
        return FeatureTokenizer(column, width)


class FeatureTokenizer(Encoder):
    """weight[j] or x * weight[0], plus bias."""

    def __init__(self, column: Column, width: int) -> None:
        super().__init__(column, width)
        self.is_category = column.num_ids is not None
        rows = column.num_ids or 1
        bound = width**-0.5  # as the paper's implementation has it
        self.weight = nn.Parameter(torch.empty(rows, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))
        if self.is_category:
            # Training never sees "unknown": a zero vector stands for the average category, not for noise.
            nn.init.zeros_(self.weight[0])

    def encode_items(self, values: Items, lengths: Lengths, draws: Draws) -> Tokens:
        first = values.flatten(1)[:, :1]
        scaled = nn.functional.embedding(first[:, 0], self.weight) if self.is_category else first.float() * self.weight
        return Tokens((scaled + self.bias)[:, None, :], (lengths > 0)[:, None], (1,))
