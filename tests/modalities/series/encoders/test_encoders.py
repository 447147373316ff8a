from __future__ import annotations

import pytest
import torch

from polysense.core.batch import ColumnBatch
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.modalities.series.encoders.cnn import SeriesCNNConfig
from polysense.modalities.series.encoders.gru import SeriesGRUConfig
from polysense.modalities.series.encoders.patch_transformer import SeriesPatchTransformerConfig
from polysense.modalities.series.record import SeriesColumn
from polysense.nn.encoder import Encoder, EncoderConfig

COLUMN = SeriesColumn(name="s", channels=("x", "y"), mean=(0.0, 0.0), std=(1.0, 1.0), typical_length=40)
CONFIGS = [SeriesCNNConfig(), SeriesGRUConfig(), SeriesPatchTransformerConfig(num_heads=2)]


def build(config: EncoderConfig) -> Encoder:
    torch.manual_seed(0)
    return config.create(COLUMN, 16).eval()


def encode(encoder: Encoder, values: torch.Tensor, lengths: list[int]) -> Tokens:
    with torch.no_grad():
        return encoder(ColumnBatch(values=values[:, None], lengths=torch.tensor(lengths)[:, None]))


def series(rows: int, steps: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, steps, 2, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
@pytest.mark.parametrize("length", [1, 7, 16, 33])
def test_padding_reaches_nothing(config: EncoderConfig, length: int) -> None:
    encoder = build(config)
    own = series(1, length)
    short = encode(encoder, own, [length])
    padded = torch.full((1, 64, 2), 1e9)
    padded[:, 40:] = float("nan")
    padded[:, :length] = own
    long = encode(encoder, padded, [length])
    assert short.mask.sum() == long.mask.sum() >= 1
    torch.testing.assert_close(long.values[long.mask], short.values[short.mask], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_an_absent_series_has_no_token(config: EncoderConfig) -> None:
    tokens = encode(build(config), torch.full((2, 32, 2), float("nan")), [0, 0])
    assert not tokens.mask.any()
    assert tokens.values.isfinite().all()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_a_missing_step_is_not_an_average_one(config: EncoderConfig) -> None:
    encoder = build(config)
    missing = series(1, 32)
    missing[0, 10] = float("nan")
    average = missing.nan_to_num(0.0)
    first, second = encode(encoder, missing, [32]), encode(encoder, average, [32])
    assert first.values.isfinite().all()
    assert not torch.allclose(first.values, second.values)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_gradients_are_finite_with_missing_steps(config: EncoderConfig) -> None:
    encoder = config.create(COLUMN, 16).train()
    values = series(3, 32)
    values[0, :20] = float("nan")
    tokens = encoder(ColumnBatch(values=values[:, None], lengths=torch.tensor([[32], [9], [20]])))
    tokens.mean().square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SeriesCNNConfig(kernel_size=4), "kernel_size: an odd number"),
        (lambda: SeriesCNNConfig(num_stages=0), "at least 1"),
        (lambda: SeriesGRUConfig(stride=0), "at least 1"),
        (lambda: SeriesPatchTransformerConfig(patch_size=0), "at least 1"),
    ],
)
def test_settings_are_checked(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]
