from __future__ import annotations

import importlib
from functools import partial
from typing import Any, Literal

import pytest
import torch
from torch import nn

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.errors import ConfigError
from polysense.modalities.image.encoders.vit import ViTConfig
from polysense.modalities.image.record import ImageColumn

timm: Any = importlib.import_module("timm")


def column(height: int, width: int) -> Column:
    return ImageColumn(
        name="photo",
        image_size=(height, width),
        num_channels=3,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.2, 0.2),
    )


@pytest.mark.parametrize(("height", "width"), [(32, 48), (30, 43)])
def test_it_equals_timms(height: int, width: int) -> None:
    torch.manual_seed(0)
    reference = timm.models.VisionTransformer(
        img_size=(height, width),
        patch_size=8,
        embed_dim=24,
        depth=3,
        num_heads=3,
        num_classes=0,
        class_token=False,
        global_pool="avg",
        fc_norm=False,
        dynamic_img_pad=True,
        dynamic_img_size=False,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
    ).eval()
    for parameter in reference.parameters():
        nn.init.normal_(parameter, std=0.2)
    encoder = ViTConfig(patch=8, positions="learned", width=24, num_layers=3, num_heads=3).build(
        column(height, width), 24
    )
    positions = torch.randn(24, 24)
    reference.pos_embed = nn.Parameter(positions[None])
    names = [
        ("norm1", "attention_norm"),
        ("attn.qkv", "query_key_value"),
        ("attn.proj", "attention_out"),
        ("norm2", "feed_forward.0"),
        ("mlp.fc1", "feed_forward.1"),
        ("mlp.fc2", "feed_forward.3"),
        ("patch_embed.proj", "embedding"),
    ]
    state = {}
    for key, value in reference.state_dict().items():
        for theirs, mine in names:
            key = key.replace(theirs, mine)
        state["positions" if key == "pos_embed" else key] = value
    # timm counts whole patches where it lays out positions, and pads after all.
    state["positions"] = positions
    state["embedding.weight"] = state["embedding.weight"].flatten(1)
    encoder.load_state_dict(state)
    encoder.eval()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 1, 3, height, width), generator=generator).to(torch.uint8)
    batch = ColumnBatch(values=pixels, lengths=torch.ones(2, 1, dtype=torch.int64))
    with torch.no_grad():
        tokens = encoder(batch)
        expected = reference.forward_features(encoder.standardize(pixels[:, 0]))
    assert tokens.grid == (4, 6)
    torch.testing.assert_close(tokens.values, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_patches_are_told_where_they_are(positions: Literal["sinusoidal", "learned"]) -> None:
    torch.manual_seed(0)
    encoder = ViTConfig(patch=4, positions=positions, num_layers=1).build(column(8, 12), 16).eval()
    batch = ColumnBatch(
        values=torch.full((1, 1, 3, 8, 12), 200, dtype=torch.uint8), lengths=torch.ones(1, 1, dtype=torch.int64)
    )
    values = encoder(batch).values[0]
    assert torch.pdist(values).min() > 1e-3


@pytest.mark.parametrize(("side", "patch"), [(28, 4), (64, 8), (127, 8), (224, 16)])
def test_the_patch_follows_the_picture(side: int, patch: int) -> None:
    encoder = ViTConfig(num_layers=1).build(column(side, side), 16)
    assert encoder.patch == patch
    assert encoder.grid == (-(-side // patch),) * 2


def test_impossible_settings_are_named() -> None:
    with pytest.raises(ConfigError, match=r"patch.*found 0"):
        ViTConfig(patch=0)
    with pytest.raises(ConfigError, match="num_heads"):
        ViTConfig(num_heads=5).build(column(28, 28), 16)
