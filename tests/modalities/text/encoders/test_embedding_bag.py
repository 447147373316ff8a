"""Pooled embeddings, equal to torch's EmbeddingBag on each text alone."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from polysense.core.schema import Requirements
from polysense.errors import ConfigError
from polysense.modalities.text.encoders.bag_of_words import hashed_pairs
from polysense.modalities.text.encoders.embedding_bag import EmbeddingBagConfig
from polysense.modalities.text.record import TextColumn

COLUMN = TextColumn(name="note", vocabulary_size=20)


@pytest.mark.parametrize("ngrams", [1, 2])
@pytest.mark.parametrize("pooling", ["mean", "sum", "max"])
def test_it_is_torchs_embedding_bag_of_each_text(pooling: Literal["mean", "sum", "max"], ngrams: Literal[1, 2]) -> None:
    torch.manual_seed(0)
    encoder = EmbeddingBagConfig(pooling=pooling, ngrams=ngrams, num_buckets=40).build(COLUMN, 6)
    values = torch.randint(0, 20, (5, 7), dtype=torch.int32)
    lengths = torch.tensor([7, 1, 3, 2, 6])
    tokens = encoder.encode_items(values, lengths, None)
    reference = nn.EmbeddingBag.from_pretrained(encoder.weight.detach(), mode=pooling)
    for i, length in enumerate(lengths.tolist()):
        ids = values[i, :length].long()
        if ngrams == 2:
            pairs, _ = hashed_pairs(ids[None], torch.ones(1, length, dtype=torch.bool), 40)
            ids = torch.cat([ids, 20 + pairs[0]])
        torch.testing.assert_close(tokens.values[i, 0], reference(ids[None])[0])


def test_it_reads_subwords_unless_told_otherwise() -> None:
    assert EmbeddingBagConfig().requirements("note", "text") == Requirements()
    with pytest.raises(ConfigError, match="num_buckets"):
        EmbeddingBagConfig(num_buckets=0)
