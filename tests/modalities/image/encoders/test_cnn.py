from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from polysense.core.schema import Column
from polysense.errors import ConfigError
from polysense.modalities.image.encoders.cnn import ImageCNN, ImageCNNConfig
from polysense.modalities.image.record import ImageColumn


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_it_is_the_textbooks(norm: str) -> None:
    torch.manual_seed(0)
    network = ImageCNN(3, 8, 3, 1, norm)
    plain: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise((3, 8, 16, 32))):
        plain.append(nn.Conv2d(before, after, 3, padding=1, bias=norm == "none"))
        if norm != "none":
            plain.append(nn.BatchNorm2d(after) if norm == "batch" else nn.GroupNorm(2**index, after))
        plain += [nn.ReLU(), nn.MaxPool2d(2)]
    reference = nn.Sequential(*plain)
    for mine, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        if mine.dim() == 1:
            nn.init.normal_(mine)
        theirs.data.copy_(mine.data)
    x = torch.randn(2, 3, 32, 16)
    torch.testing.assert_close(network(x), reference(x))
    network.eval()
    reference.eval()
    torch.testing.assert_close(network(x), reference(x))


def column(height: int, width: int) -> Column:
    return ImageColumn(name="photo", image_size=(height, width), num_channels=1, mean=(0.5,), std=(0.2,))


@pytest.mark.parametrize(("size", "grid"), [((28, 28), (7, 7)), ((30, 45), (8, 12)), ((3, 9), (2, 5))])
def test_the_depth_follows_the_picture(size: tuple[int, int], grid: tuple[int, int]) -> None:
    encoder = ImageCNNConfig(channels=8).build(column(*size), 8)
    assert encoder.grids[-1] == grid


def test_impossible_settings_are_named() -> None:
    with pytest.raises(ConfigError, match=r"convolutions.*found 0"):
        ImageCNNConfig(convolutions=0)
