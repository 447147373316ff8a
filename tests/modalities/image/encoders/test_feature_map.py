"""What all image networks trained from scratch have in common."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from polysense.config.base import members
from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.modalities.image.encoders.feature_map import CellProjection, FeatureMap, image_tokens
from polysense.modalities.image.record import ImageColumn
from polysense.nn.encoder import Encoder, EncoderConfig

CONFIGS: dict[str, dict[str, Any]] = {
    "image_cnn": {"channels": 8},
    "image_cnn batch": {"channels": 8, "norm": "batch", "convolutions": 2},
    "vgg": {},
    "resnet": {},
    "resnet18": {},
    "convnext": {},
    "vit": {"num_layers": 2},
    "vit learned": {"num_layers": 1, "positions": "learned", "width": 24},
}


def column(height: int, width: int, channels: int = 3) -> Column:
    return ImageColumn(
        name="photo",
        image_size=(height, width),
        num_channels=channels,
        mean=(0.5, 0.4, 0.3)[:channels],
        std=(0.2, 0.25, 0.3)[:channels],
    )


def build(name: str, of: Column, width: int = 16) -> Encoder:
    torch.manual_seed(0)
    config = members("encoder")[name.split()[0]](**CONFIGS[name])
    assert isinstance(config, EncoderConfig)
    encoder = config.create(of, width)
    # What starts at 0 or next to it (the last scale of a residual block) hides what lies behind it.
    for parameter in encoder.parameters():
        if parameter.dim() == 1 and parameter.abs().max() < 1e-3:
            nn.init.normal_(parameter, std=0.5)
    return encoder


def images(of: Column, count: int, seed: int = 0) -> ColumnBatch:
    assert of.image_size is not None
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 1, of.num_channels or 1, *of.image_size)
    values = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
    return ColumnBatch(values=values, lengths=torch.ones(count, 1, dtype=torch.int64))


def cut(batch: ColumnBatch, rows: slice) -> ColumnBatch:
    return ColumnBatch(values=batch.values[rows], lengths=batch.lengths[rows])


@pytest.mark.parametrize("name", CONFIGS)
def test_a_row_depends_on_itself_alone(name: str) -> None:
    of = column(20, 28)
    encoder = build(name, of)
    encoder(images(of, 4, seed=1))  # running statistics, where there are any, move away from where they start
    encoder.eval()
    batch = images(of, 3)
    tokens = encoder(batch)
    assert tokens.mask.all()
    for row in range(3):
        alone = encoder(cut(batch, slice(row, row + 1)))
        torch.testing.assert_close(alone.values, tokens.values[row : row + 1], rtol=1e-5, atol=1e-5)
    batch.lengths[1] = 0
    batch.values[1] = 255
    absent = encoder(batch)
    assert absent.present.tolist() == [True, False, True]
    torch.testing.assert_close(absent.values[[0, 2]], tokens.values[[0, 2]], rtol=1e-5, atol=1e-5)
    assert absent.values.isfinite().all()


@pytest.mark.parametrize("name", CONFIGS)
def test_training_with_absent_rows_gives_every_parameter_the_gradient_of_the_present_ones(name: str) -> None:
    of = column(20, 28)

    def step(batch: ColumnBatch) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        encoder = build(name, of)
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if "skip" in module.__dict__:
                module.skip = 0.0  # type: ignore[assignment]
        tokens = encoder(batch)
        (tokens.values.pow(2) * tokens.mask[..., None]).sum().backward()
        gradients = {key: p.grad for key, p in encoder.named_parameters() if p.grad is not None}
        assert gradients.keys() == dict(encoder.named_parameters()).keys()
        return gradients, dict(encoder.named_buffers())

    batch = images(of, 3)
    batch.lengths[1] = 0
    gradients, buffers = step(batch)
    for key, gradient in gradients.items():
        assert gradient.isfinite().all(), key
        assert gradient.abs().max() > 0, key
    # The absent picture's pixels enter nothing, batch statistics included.
    expected, expected_buffers = step(ColumnBatch(values=batch.values[[0, 2]], lengths=batch.lengths[[0, 2]]))
    scale = max(gradient.abs().max() for gradient in expected.values())
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient / scale, expected[key] / scale, rtol=1e-4, atol=1e-5, msg=key)
    torch.testing.assert_close(buffers, expected_buffers)

    batch.lengths[:] = 0
    gradients, buffers = step(batch)
    assert all(gradient.abs().max() == 0 for gradient in gradients.values())
    torch.testing.assert_close(buffers, dict(build(name, of).named_buffers()))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("size", [(1, 1), (5, 3)])
def test_pictures_of_any_size_one_at_a_time(name: str, size: tuple[int, int]) -> None:
    of = column(*size, channels=1)
    encoder = build(name, of)
    tokens = encoder(images(of, 1))
    tokens.values.sum().backward()
    assert tokens.values.isfinite().all()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_own_projections_are_what_flattening_gives() -> None:
    torch.manual_seed(0)
    projection = CellProjection(5, 16, num_cells=6)
    x = torch.randn(2, 5, 2, 3)
    flat = nn.Linear(30, 16, bias=False)
    flat.weight.data = projection.weight.data.permute(2, 1, 0).flatten(1) / 6
    torch.testing.assert_close(projection(x).mean(dim=1), flat(x.flatten(1)))


def test_a_shared_projection_is_what_averaging_gives() -> None:
    torch.manual_seed(0)
    projection = CellProjection(5, 16)
    x = torch.randn(2, 5, 2, 3)
    expected = x.mean(dim=(2, 3)) @ projection.weight[0] + projection.bias
    torch.testing.assert_close(projection(x).mean(dim=1), expected)


def test_auto_positions_follow_the_picture() -> None:
    def num_projections(height: int, width: int) -> int:
        encoder = members("encoder")["image_cnn"]().create(column(height, width), 8)  # type: ignore[attr-defined]
        assert isinstance(encoder, FeatureMap)
        return len(encoder.projection.weight)

    assert num_projections(28, 28) == 49
    assert num_projections(28, 65) == 1


def test_tokens_are_told_where_they_are() -> None:
    tokens = image_tokens(torch.zeros(1, 6, 8), (2, 3), torch.tensor([1]))
    assert len({tuple(cell) for cell in tokens.values[0].tolist()}) == 6
    # The width's first half says the row, the second the column.
    torch.testing.assert_close(tokens.values[0, 0, :4], tokens.values[0, 2, :4])
    torch.testing.assert_close(tokens.values[0, 0, 4:], tokens.values[0, 3, 4:])
