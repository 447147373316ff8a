"""What each fusion's name promises."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from head_helpers import spans
from torch import nn

from polysense.config.base import members
from polysense.core.tokens import Tokens
from polysense.nn.fusion.attention_pooling import AttentionPoolingFusionConfig
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.fusion.gated import GatedFusionConfig
from polysense.nn.fusion.sum import SumFusionConfig
from polysense.nn.fusion.transformer import TransformerFusionConfig


def tokens(batch: int = 6, width: int = 16, lengths: tuple[int, ...] = (3, 1, 5)) -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: Tokens(
            torch.randn(batch, length, width, generator=generator),
            torch.ones(batch, length, dtype=torch.bool),
            (length,),
        )
        for name, length in zip("abc", lengths, strict=True)
    }


def test_concat_is_one_matrix_over_normalized_means() -> None:
    torch.manual_seed(0)
    fusion = ConcatFusionConfig().build("abc", 16).eval()
    columns = tokens()
    means = [norm(columns[name].values.mean(1)) for norm, name in zip(fusion.norms, "abc", strict=True)]
    expected = torch.cat(means, dim=1) @ fusion.project.weight.T + fusion.project.bias
    torch.testing.assert_close(fusion(columns).pooled, expected)


def test_gated_is_a_convex_mixture_of_what_is_present() -> None:
    torch.manual_seed(0)
    fusion = GatedFusionConfig().build("abc", 16).eval()
    columns = tokens()
    columns["b"] = columns["b"].masked(torch.zeros(6, dtype=torch.bool))
    fused = fusion(columns)
    hidden = torch.stack([torch.tanh(fusion.transform[i](fused.columns[n].summary)) for i, n in ((0, "a"), (2, "c"))])
    assert (fused.pooled <= hidden.amax(0) + 1e-6).all()
    assert (fused.pooled >= hidden.amin(0) - 1e-6).all()
    only = fusion({n: t if n == "a" else t.masked(torch.zeros(6, dtype=torch.bool)) for n, t in columns.items()})
    torch.testing.assert_close(only.pooled, torch.tanh(fusion.transform[0](only.columns["a"].summary)))


def test_transformer_without_positions_does_not_see_the_order_within_a_column() -> None:
    torch.manual_seed(0)
    fusion = TransformerFusionConfig(num_layers=1).build("abc", 16).eval()
    columns = tokens()
    shuffled = dict(columns)
    order = torch.tensor([4, 2, 0, 1, 3])
    shuffled["c"] = Tokens(columns["c"].values[:, order], columns["c"].mask, (5,))
    torch.testing.assert_close(fusion(columns).pooled, fusion(shuffled).pooled, rtol=1e-5, atol=1e-5)
    fused = fusion(columns)
    assert spans(fused) == {"a": (0, 3), "b": (3, 4), "c": (4, 9)}
    assert fused.joined().values.shape == (6, 9, 16)


# What adds the columns' evidence up can't tell x XOR y: a linear head on its summary is right in at most 3 of 4 cells.
LINEAR: dict[str, Any] = {
    "concat": ConcatFusionConfig(dropout=0.0),
    "sum": SumFusionConfig(dropout=0.0),
    # One query: the side of a linear boundary is the sign of a sum of one term per token (attention_pooling.py).
    "attention_pooling-1": AttentionPoolingFusionConfig(num_queries=1, dropout=0.0),
}
# Every other fusion must: those with products or gates (bilinear, film, gated, low_rank, tensor), with attention among
# tokens (bottleneck, cross_attention, perceiver, transformer), with several queries (attention_pooling), or with a
# recurrent cell's gates, which see the columns' sum (recurrent).
INTERACTING: dict[str, Any] = {
    name: member(**({"dropout": 0.0} if "dropout" in {f.name for f in fields(member)} else {}))
    for name, member in members("fusion").items()
    if name not in LINEAR and member.__module__.startswith("polysense.")
}


def xor_accuracy(config: Any) -> float:
    """Training accuracy on the exclusive or of two columns of one token each, read by a linear head.

    One row per cell: more would be copies.
    """
    torch.manual_seed(0)
    bits = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    labels = bits[:, 0] ^ bits[:, 1]
    embed = nn.ModuleList([nn.Embedding(2, 16), nn.Embedding(2, 16)])
    fusion = config.build("xy", 16)
    head = nn.Linear(16, 2)
    parameters = [*embed.parameters(), *fusion.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=5e-3)
    mask = torch.ones(4, 1, dtype=torch.bool)
    accuracy = 0.0
    for _ in range(120):
        columns = {n: Tokens(embed[i](bits[:, i : i + 1]), mask, (1,)) for i, n in enumerate("xy")}
        logits = head(fusion(columns).pooled)
        loss = nn.functional.cross_entropy(logits, labels)
        accuracy = (logits.argmax(1) == labels).float().mean().item()
        if loss < 0.05:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return accuracy


@pytest.mark.parametrize("config", INTERACTING.values(), ids=INTERACTING)
def test_columns_interact_so_that_their_exclusive_or_is_learned(config: Any) -> None:
    accuracy = xor_accuracy(config)
    assert accuracy > 0.99, accuracy


@pytest.mark.parametrize("config", LINEAR.values(), ids=LINEAR)
def test_an_additive_fusion_cannot_learn_an_exclusive_or(config: Any) -> None:
    accuracy = xor_accuracy(config)
    assert accuracy <= 0.75, accuracy
