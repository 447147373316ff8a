from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import nn

from polysense.errors import ConfigError
from polysense.modalities.image.encoders.convnext import ConvNeXt, ConvNeXtConfig, _Block

timm: Any = importlib.import_module("timm")

SIZES = {"convnext_atto": ((2, 2, 6, 2), (40, 80, 160, 320)), "convnext_tiny": ((3, 3, 9, 3), (96, 192, 384, 768))}


@pytest.mark.parametrize("name", SIZES)
def test_it_equals_timms(name: str) -> None:
    torch.manual_seed(0)
    reference = timm.create_model(name, pretrained=False, num_classes=0).eval()
    blocks, channels = SIZES[name]
    network = ConvNeXt(3, blocks, channels, small=False, stochastic_depth=0.1).eval()

    originals: list[nn.Parameter] = [*reference.stem.parameters()]
    mine: list[nn.Parameter] = [*network.stem.parameters(), *network.norms[0].parameters()]
    for index, stage in enumerate(reference.stages):
        if index:
            originals += stage.downsample.parameters()
            mine += [*network.norms[index].parameters(), *network.halvings[index - 1].parameters()]
        for block, theirs in zip(network.stages[index], stage.blocks, strict=True):  # type: ignore[arg-type]
            originals += [theirs.gamma, *(p for n, p in theirs.named_parameters() if n != "gamma")]
            mine += block.parameters()
    for parameter, original in zip(mine, originals, strict=True):
        nn.init.normal_(original, mean=1.0 if original.dim() == 1 else 0.0, std=0.1)
        parameter.data.copy_(original.data.view(parameter.shape))
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        # timm has the last normalization in its classifier.
        found, expected = network(x), network._normalize(4, reference.forward_features(x))
    torch.testing.assert_close(found / expected.std(), expected / expected.std(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", ["atto", "femto", "pico", "nano", "tiny"])
def test_sizes_are_timms(size: str) -> None:
    from polysense.modalities.image.encoders.convnext import _SIZES

    with torch.device("meta"):
        reference = timm.create_model(f"convnext_{size}", pretrained=False, num_classes=0)
        network = ConvNeXt(3, *_SIZES[size], small=False, stochastic_depth=0.0)
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in reference.parameters())


def test_stochastic_depth_keeps_the_mean_and_skips_whole_pictures() -> None:
    torch.manual_seed(0)
    block = _Block(8, 0.4)
    nn.init.ones_(block.scale)
    x = torch.randn(1, 8, 4, 4).expand(4000, -1, -1, -1)
    with torch.no_grad():
        whole = block.eval()(x[:1])
        trained = block.train()(x)
    skipped = (trained == x).flatten(1).all(dim=1)
    assert skipped.float().mean().item() == pytest.approx(0.4, abs=0.03)
    torch.testing.assert_close(trained.mean(dim=0, keepdim=True), whole, rtol=0.1, atol=0.05)
    with pytest.raises(ConfigError, match=r"stochastic_depth.*found 1"):
        ConvNeXtConfig(stochastic_depth=1.0)
