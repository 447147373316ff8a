from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import nn

from polysense.config.base import members
from polysense.modalities.image.encoders.deep_resnet import DeepResNet, DeepResNetConfig
from polysense.modalities.image.encoders.feature_map import FeatureMap
from polysense.modalities.image.record import ImageColumn
from polysense.nn.layers.batchnorm import BatchNorm

torchvision: Any = importlib.import_module("torchvision")


def network_of(name: str, size: int, **options: Any) -> tuple[DeepResNet, FeatureMap]:
    column = ImageColumn(
        name="photo",
        image_size=(size, size),
        num_channels=3,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.2, 0.2),
    )
    config = members("encoder")[name](**options)
    assert isinstance(config, DeepResNetConfig)
    encoder = config.build(column, 16)
    assert isinstance(encoder.network, DeepResNet)
    return encoder.network, encoder


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_it_equals_torchvisions(name: str) -> None:
    torch.manual_seed(0)
    reference = torchvision.models.get_model(name, weights=None)
    network, encoder = network_of(name, 64, stem="imagenet")
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | BatchNorm)]
    originals = [m for m in reference.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    # Mine lists a block's convolutions before its normalizations; each kind has torchvision's order.
    for kind, theirs in ((nn.Conv2d, nn.Conv2d), (BatchNorm, nn.BatchNorm2d)):
        pairs = zip(
            [m for m in layers if isinstance(m, kind)], [m for m in originals if isinstance(m, theirs)], strict=True
        )
        for mine, original in pairs:
            if isinstance(original, nn.BatchNorm2d):
                nn.init.uniform_(original.weight, 0.5, 1.0)
                nn.init.normal_(original.bias, std=0.1)
                nn.init.normal_(original.running_mean, std=0.1)
                nn.init.uniform_(original.running_var, 0.5, 1.5)
            state = original.state_dict()
            state.pop("num_batches_tracked", None)
            mine.load_state_dict(state)
    reference.fc = reference.avgpool = nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    for mode in (True, False):  # in training the running averages move alike, and prediction reads them
        network.train(mode)
        reference.train(mode)
        with torch.no_grad():
            found, expected = network(x), reference(x)
        assert found.shape[2:] == encoder.grids[-1]
        torch.testing.assert_close(found.flatten(1), expected, rtol=1e-3, atol=1e-3)


def test_the_stem_follows_the_picture() -> None:
    small, encoder = network_of("resnet18", 28)
    assert encoder.grids[-1] == (4, 4)
    assert small.stem[0].stride == (1, 1)
    assert small(torch.randn(2, 3, 28, 28)).shape[2:] == (4, 4)
    large, encoder = network_of("resnet18", 70)
    assert encoder.grids[-1] == (3, 3)
    assert large.stem[0].kernel_size == (7, 7)
    assert large(torch.randn(2, 3, 70, 70)).shape[2:] == (3, 3)
