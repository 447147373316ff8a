from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import nn

from polysense.modalities.image.encoders.vgg import VGG
from polysense.nn.layers.batchnorm import BatchNorm

torchvision: Any = importlib.import_module("torchvision")


def copy(network: VGG, reference: nn.Module) -> None:
    """Gives the network the reference's weights; a bias before a normalization moves into its mean."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | BatchNorm)]
    originals = [m for m in reference.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    shift = torch.zeros(())
    for mine, theirs in zip(layers, originals, strict=True):
        mine.weight.data.copy_(theirs.weight)
        if isinstance(mine, BatchNorm):
            assert theirs.running_mean is not None
            assert theirs.running_var is not None
            assert theirs.bias is not None
            mine.bias.data.copy_(theirs.bias)
            mine.running_mean.copy_(theirs.running_mean - shift)
            mine.running_var.copy_(theirs.running_var)
        elif mine.bias is not None:
            assert theirs.bias is not None
            mine.bias.data.copy_(theirs.bias)
        else:
            assert theirs.bias is not None
            shift = theirs.bias.detach()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_it_equals_torchvisions(depth: int, batch_norm: bool) -> None:
    torch.manual_seed(0)
    name = f"vgg{depth}_bn" if batch_norm else f"vgg{depth}"
    with torch.device("meta"):
        whole = torchvision.models.get_model(name, weights=None, init_weights=False)
    reference = whole.features.to_empty(device="cpu")
    for module in reference.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            nn.init.normal_(module.bias, std=0.1)  # type: ignore[arg-type]
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    network = VGG(3, (64, 96), depth, batch_norm)
    copy(network, reference)
    network.eval()
    reference.eval()
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        found, expected = network(x), reference(x)
    assert found.shape[2:] == (2, 3)
    torch.testing.assert_close(found / expected.std(), expected / expected.std(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "grid"), [((28, 28), (2, 2)), ((1, 1), (1, 1)), ((2, 50), (2, 50)), ((65, 64), (3, 2))]
)
def test_pooling_stops_before_the_map_vanishes(size: tuple[int, int], grid: tuple[int, int]) -> None:
    network = VGG(1, size, 11, True).eval()
    assert tuple(-(-side // network.strides[-1]) for side in size) == grid
    with torch.no_grad():
        assert network(torch.randn(1, 1, *size)).shape[2:] == grid
