"""What each fusion's name promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polysense.core.tokens import Tokens
from polysense.nn.fusion.concat import ConcatFusionConfig
from polysense.nn.fusion.gated import GatedFusionConfig
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


def test_concat_is_one_matrix_over_normalised_means() -> None:
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
    hidden = torch.stack([torch.tanh(fusion.transform[i](fused.unimodal[n])) for i, n in ((0, "a"), (2, "c"))])
    assert (fused.pooled <= hidden.amax(0) + 1e-6).all()
    assert (fused.pooled >= hidden.amin(0) - 1e-6).all()
    only = fusion({n: t if n == "a" else t.masked(torch.zeros(6, dtype=torch.bool)) for n, t in columns.items()})
    torch.testing.assert_close(only.pooled, torch.tanh(fusion.transform[0](only.unimodal["a"])))


def test_transformer_without_positions_does_not_see_the_order_within_a_column() -> None:
    torch.manual_seed(0)
    fusion = TransformerFusionConfig(num_layers=1).build("abc", 16).eval()
    columns = tokens()
    shuffled = dict(columns)
    order = torch.tensor([4, 2, 0, 1, 3])
    shuffled["c"] = Tokens(columns["c"].values[:, order], columns["c"].mask, (5,))
    torch.testing.assert_close(fusion(columns).pooled, fusion(shuffled).pooled, rtol=1e-5, atol=1e-5)
    fused = fusion(columns)
    assert dict(fused.spans) == {"a": (0, 3), "b": (3, 4), "c": (4, 9)}
    assert fused.tokens.values.shape == (6, 9, 16)


@pytest.mark.parametrize(
    ("config", "least", "most"),
    [
        (ConcatFusionConfig(dropout=0.0), 0.0, 0.80),
        (GatedFusionConfig(dropout=0.0), 0.99, 1.0),
        (TransformerFusionConfig(dropout=0.0, num_layers=2), 0.99, 1.0),
    ],
    ids=["concat", "gated", "transformer"],
)
def test_exclusive_or_of_two_columns(config: object, least: float, most: float) -> None:
    """A linear fusion can't tell x XOR y (at most 3 of its 4 cells); one whose columns interact can."""
    torch.manual_seed(0)
    bits = torch.randint(0, 2, (512, 2))
    labels = bits[:, 0] ^ bits[:, 1]
    embed = nn.ModuleList([nn.Embedding(2, 16), nn.Embedding(2, 16)])
    fusion = config.build("xy", 16)  # type: ignore[attr-defined]
    head = nn.Linear(16, 2)
    parameters = [*embed.parameters(), *fusion.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    mask = torch.ones(512, 1, dtype=torch.bool)
    for _ in range(200):
        columns = {n: Tokens(embed[i](bits[:, i : i + 1]), mask, (1,)) for i, n in enumerate("xy")}
        logits = head(fusion(columns).pooled)
        loss = nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    assert least <= accuracy <= most, accuracy
