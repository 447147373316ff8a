"""Number, category and date encoders: each against its definition, and what all encoders promise."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from polysense.core.batch import ColumnBatch
from polysense.core.registry import modality
from polysense.core.schema import Column
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.category.encoders.hashed import HashedCategory, HashedCategoryConfig
from polysense.modalities.category.record import CategoryColumn
from polysense.modalities.date.encoders.mlp import DateMLPConfig
from polysense.modalities.date.record import DateColumn
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.encoders.feature_tokenizer import FeatureTokenizer, FeatureTokenizerConfig
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.number.encoders.periodic import Periodic, PeriodicConfig
from polysense.modalities.number.encoders.piecewise_linear import PiecewiseLinear, PiecewiseLinearConfig
from polysense.modalities.number.record import NumberColumn
from polysense.nn.encoder import Encoder, EncoderConfig
from polysense.nn.fusion.transformer import TransformerFusion, TransformerFusionConfig

NUMBER = NumberColumn(name="age", mean=0.0, std=1.0, quantiles=(-1.5, -0.2, 0.1, 2.0))
CATEGORY = CategoryColumn(name="shop", num_categories=7)
HASHED = CategoryColumn(name="user", num_categories=11, num_hashes=2, collision_rate=0.1)
DATE = DateColumn(name="day", mean=0.0, std=1.0, num_values=14)

ALL: list[tuple[EncoderConfig, Column]] = [
    (NumberMLPConfig(), NUMBER),
    (PiecewiseLinearConfig(), NUMBER),
    (PiecewiseLinearConfig(activation="none"), NUMBER),
    (PeriodicConfig(), NUMBER),
    (FeatureTokenizerConfig(), NUMBER),
    (FeatureTokenizerConfig(), CATEGORY),
    (CategoryEmbeddingConfig(), CATEGORY),
    (HashedCategoryConfig(), HASHED),
    (DateMLPConfig(), DATE),
]
names = pytest.mark.parametrize(
    ("config", "column"), ALL, ids=[f"{config.type}-{column.modality}" for config, column in ALL]
)


def cells(column: Column, batch: int, items: int = 1, seed: int = 0) -> ColumnBatch:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, items, *modality(column.modality).item_shape(column, 1))
    if column.modality == "category":
        values = torch.randint(0, column.num_categories or 1, shape, generator=generator)
    else:
        values = torch.randn(shape, generator=generator)
    return ColumnBatch(values=values, lengths=torch.ones(batch, items, dtype=torch.int64))


def build(config: EncoderConfig, column: Column, width: int = 12) -> Encoder:
    torch.manual_seed(0)
    return config.build(column, width)


@names
def test_a_row_is_its_own_token_whoever_stands_beside_it(config: EncoderConfig, column: Column) -> None:
    encoder = build(config, column).eval()
    batch = cells(column, 5)
    lengths = batch.lengths.clone()
    lengths[3] = 0
    tokens = encoder(ColumnBatch(values=batch.values, lengths=lengths))
    assert tokens.values.shape == (5, 1, 12)
    assert tokens.grid == (1,)
    assert tokens.present.tolist() == [True, True, True, False, True]
    assert torch.isfinite(tokens.values).all()
    for row in range(5):
        alone = encoder(ColumnBatch(values=batch.values[row : row + 1], lengths=lengths[row : row + 1]))
        torch.testing.assert_close(tokens.values[row : row + 1], alone.values, rtol=1e-5, atol=1e-6)


@names
def test_every_parameter_learns_and_an_absent_row_teaches_nothing(config: EncoderConfig, column: Column) -> None:
    encoder = build(config, column).train()
    batch = cells(column, 16)
    encoder(batch).values.square().sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []
    encoder.zero_grad()
    absent = ColumnBatch(values=batch.values, lengths=torch.zeros_like(batch.lengths))
    encoder(absent).mean().sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in encoder.parameters())


@names
def test_several_items_in_a_cell(config: EncoderConfig, column: Column) -> None:
    encoder = build(config, dataclasses.replace(column, multiple=True, max_items=3)).eval()
    batch = cells(column, 2, items=3)
    tokens = encoder(ColumnBatch(values=batch.values, lengths=torch.tensor([[1, 1, 0], [1, 0, 0]])))
    assert tokens.mask.tolist() == [[True, True, False], [True, False, False]]
    longer = torch.cat([batch.values, batch.values[:, :1]], dim=1)
    padded = encoder(ColumnBatch(values=longer, lengths=torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]])))
    torch.testing.assert_close(padded.mean(), tokens.mean(), rtol=1e-5, atol=1e-6)


@names
def test_other_columns_are_refused(config: EncoderConfig, column: Column) -> None:
    with pytest.raises(ConfigError, match="Choose another encoder for it"):
        config.build(
            ImageColumn(name="photo", image_size=(8, 8), num_channels=3, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
            8,
        )


@pytest.mark.parametrize("config", [NumberMLPConfig(), PiecewiseLinearConfig(), PeriodicConfig()])
@pytest.mark.parametrize("value", [3e38, -3e38, 1e-40, 0.0])
def test_no_number_is_too_large_or_small(config: EncoderConfig, value: float) -> None:
    encoder = build(config, NUMBER)
    tokens = encoder(ColumnBatch(values=torch.full((1, 1, 1), value), lengths=torch.ones(1, 1, dtype=torch.int64)))
    assert torch.isfinite(tokens.values).all()
    tokens.values.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


def ple(x: float, edges: tuple[float, ...]) -> list[float]:
    """Equation 1 of Gorishniy et al. 2022, case by case."""
    num = len(edges) - 1
    found = []
    for t in range(1, num + 1):
        if x < edges[t - 1] and t > 1:
            found.append(0.0)
        elif x >= edges[t] and t < num:
            found.append(1.0)
        else:
            found.append((x - edges[t - 1]) / (edges[t] - edges[t - 1]))
    return found


@pytest.mark.parametrize("edges", [(-1.5, -0.2, 0.1, 2.0), (0.0, 1.0), (-1.0, 0.0, 4.0)])
def test_piecewise_linear_is_the_papers_equation(edges: tuple[float, ...]) -> None:
    encoder = build(PiecewiseLinearConfig(), dataclasses.replace(NUMBER, quantiles=edges))
    assert isinstance(encoder, PiecewiseLinear)
    values = torch.cat([torch.linspace(-5, 5, 101), torch.tensor(edges)])
    expected = torch.tensor([ple(float(value), edges) for value in values])
    torch.testing.assert_close(encoder.encoding(values), expected, rtol=1e-5, atol=1e-5)
    tokens = encoder(ColumnBatch(values=values[:, None, None], lengths=torch.ones(len(values), 1, dtype=torch.int64)))
    torch.testing.assert_close(tokens.values[:, 0], torch.relu(encoder.linear(expected)), rtol=1e-4, atol=1e-4)
    assert PiecewiseLinearConfig(num_bins=5).requirements("age", "number").num_quantiles == 5
    assert "left" not in encoder.state_dict()


def test_periodic_is_the_papers_definition() -> None:
    encoder = build(PeriodicConfig(num_frequencies=64, sigma=2.0), NUMBER)
    assert isinstance(encoder, Periodic)
    assert float(encoder.frequencies.detach().std()) == pytest.approx(2.0, rel=0.25)
    x = torch.linspace(-3, 3, 50)
    v = 2 * math.pi * x[:, None] * encoder.frequencies
    expected = torch.relu(encoder.linear(torch.cat([torch.sin(v), torch.cos(v)], dim=1)))
    tokens = encoder(ColumnBatch(values=x[:, None, None], lengths=torch.ones(50, 1, dtype=torch.int64)))
    torch.testing.assert_close(tokens.values[:, 0], expected)
    for wrong in ({"sigma": 0.0}, {"num_frequencies": 0}):
        with pytest.raises(ConfigError):
            PeriodicConfig(**wrong)  # type: ignore[arg-type]


def fitted(config: EncoderConfig, column: Column, target: Callable[[Tensor], Tensor], steps: int = 120) -> float:
    """The mean squared error that a linear reading of the tokens comes to."""
    encoder = build(config, column, 32)
    readout = nn.Linear(32, 1)
    optimizer = torch.optim.Adam([*encoder.parameters(), *readout.parameters()], lr=1e-2)
    x = torch.linspace(-2, 2, 200)
    batch = ColumnBatch(values=x[:, None, None], lengths=torch.ones(200, 1, dtype=torch.int64))
    loss = torch.zeros(())
    for _ in range(steps):
        loss = (readout(encoder(batch).values[:, 0])[:, 0] - target(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_what_each_number_encoder_is_for() -> None:
    edges = tuple(torch.linspace(-2, 2, 33).tolist())
    column = dataclasses.replace(NUMBER, quantiles=edges)
    quick = lambda x: torch.sin(12 * x)  # noqa: E731
    steps = lambda x: ((x / 0.5).floor() % 2) * 2 - 1  # noqa: E731
    plain = fitted(NumberMLPConfig(), column, quick), fitted(NumberMLPConfig(), column, steps)
    assert plain[0] > 0.3
    assert fitted(PeriodicConfig(sigma=1.0), column, quick) < 0.05
    assert fitted(PiecewiseLinearConfig(num_bins=32), column, steps) < plain[1] / 2


def test_hashed_categories_sum_a_row_of_each_table() -> None:
    encoder = build(HashedCategoryConfig(hash_buckets=10), HASHED)
    assert isinstance(encoder, HashedCategory)
    first, second = encoder.embedding.weight.view(2, 11, -1)
    batch = cells(HASHED, 6)
    ids = batch.values[:, 0]
    expected = encoder.mlp(first[ids[:, 0]] + second[ids[:, 1]])
    torch.testing.assert_close(encoder(batch).values[:, 0], expected)
    requested = HashedCategoryConfig(hash_buckets=10, num_hashes=3).requirements("user", "category")
    assert (requested.hash_buckets, requested.num_hashes) == (10, 3)
    one = build(HashedCategoryConfig(num_hashes=1), dataclasses.replace(HASHED, num_hashes=1))
    assert one(cells(dataclasses.replace(HASHED, num_hashes=1), 4)).values.shape == (4, 1, 12)
    for wrong in ({"hash_buckets": 1}, {"num_hashes": 0}):
        with pytest.raises(ConfigError):
            HashedCategoryConfig(**wrong)


@pytest.mark.parametrize("config", [CategoryEmbeddingConfig(), FeatureTokenizerConfig()])
def test_an_encoder_of_one_id_refuses_several_hashes(config: EncoderConfig) -> None:
    with pytest.raises(ConfigError, match="reads one id, column 'user' is hashed by 2 functions"):
        config.build(HASHED, 8)


def test_the_tokenizer_is_the_papers_equations() -> None:
    number, category = build(FeatureTokenizerConfig(), NUMBER), build(FeatureTokenizerConfig(), CATEGORY)
    assert isinstance(number, FeatureTokenizer)
    assert isinstance(category, FeatureTokenizer)
    x, ids = cells(NUMBER, 5), cells(CATEGORY, 5)
    for row in range(5):
        expected = number.bias + x.values[row, 0, 0] * number.weight[0]
        torch.testing.assert_close(number(x).values[row, 0], expected)
        one_hot = nn.functional.one_hot(ids.values[row, 0, 0], 7).float()
        torch.testing.assert_close(category(ids).values[row, 0], category.bias + one_hot @ category.weight)


class ReferenceFTTransformer(nn.Module):
    """Gorishniy et al. 2021, section 3.3, out of torch's own layers: T = [CLS, tokens], pre-norm blocks, LN(T_CLS).

    With the differences that feature_tokenizer's docstring names, each marked.
    """

    def __init__(self, tokenizers: list[FeatureTokenizer], fusion: TransformerFusion, width: int, heads: int) -> None:
        super().__init__()
        self.tokenizers = tokenizers
        self.fusion = fusion
        self.blocks = nn.ModuleList()
        for block in fusion.blocks:
            layer = nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", norm_first=True, batch_first=True
            )  # difference: GELU of four times the width for ReGLU; the first block keeps its first norm
            state = {
                "self_attn.in_proj_weight": block.query_key_value.weight,
                "self_attn.in_proj_bias": block.query_key_value.bias,
                "self_attn.out_proj.weight": block.attention_out.weight,
                "self_attn.out_proj.bias": block.attention_out.bias,
                "linear1.weight": block.feed_forward[1].weight,
                "linear1.bias": block.feed_forward[1].bias,
                "linear2.weight": block.feed_forward[3].weight,
                "linear2.bias": block.feed_forward[3].bias,
                "norm1.weight": block.attention_norm.weight,
                "norm1.bias": block.attention_norm.bias,
                "norm2.weight": block.feed_forward[0].weight,
                "norm2.bias": block.feed_forward[0].bias,
            }
            layer.load_state_dict({name: value.detach() for name, value in state.items()})
            self.blocks.append(layer)

    def forward(self, columns: list[ColumnBatch]) -> Tensor:
        feature_tokens, means = [], []
        for i, (tokenizer, column) in enumerate(zip(self.tokenizers, columns, strict=True)):
            if tokenizer.column.modality == "category":
                token = tokenizer.weight[column.values[:, 0, 0]] + tokenizer.bias
            else:
                token = column.values[:, 0] * tokenizer.weight + tokenizer.bias
            means.append(self.fusion.norms[i](token))
            # Difference: normalized, projected, and with a column embedding.
            feature_tokens.append(self.fusion.project[i](token) + self.fusion.column_embedding[i])
        summary = self.fusion.summary + torch.stack(means).mean(dim=0)  # difference: not CLS alone
        x = torch.stack([summary, *feature_tokens], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.fusion.norm(x[:, 0])


def test_tokenizer_and_transformer_are_an_ft_transformer_up_to_what_is_said() -> None:
    width, heads = 16, 4
    columns = [NUMBER, dataclasses.replace(NUMBER, name="height"), CATEGORY]
    tokenizers = [copy.deepcopy(build(FeatureTokenizerConfig(), column, width)) for column in columns]
    fusion = TransformerFusionConfig(num_heads=heads, dropout=0.0).build([c.name for c in columns], width)
    assert isinstance(fusion, TransformerFusion)
    for parameter in fusion.parameters():
        nn.init.normal_(parameter, std=0.3)
    batches = [cells(column, 6, seed=i) for i, column in enumerate(columns)]
    tokens: dict[str, Tokens] = {
        column.name: tokenizer(batch) for column, tokenizer, batch in zip(columns, tokenizers, batches, strict=True)
    }
    reference = ReferenceFTTransformer(tokenizers, fusion, width, heads)  # type: ignore[arg-type]
    torch.testing.assert_close(fusion.eval()(tokens).pooled, reference.eval()(batches), rtol=1e-4, atol=1e-5)
