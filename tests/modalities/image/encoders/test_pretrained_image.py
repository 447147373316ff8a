"""transformers backbones of images, tiny and random: any architecture, measured rather than looked up."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError
from polysense.modalities.image.record import ImageColumn, ImageRequirements
from polysense.nn.pretrained import Pretrained, PretrainedConfig

transformers: Any = importlib.import_module("transformers")

_STAGES = {"hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1]}
_BLOCKS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
KINDS: dict[str, tuple[dict[str, Any], int, int]] = {
    # name: settings, width of its features, cells or patches (and class tokens) of an image of 64 pixels
    "MobileNetV1": ({"depth_multiplier": 0.25}, 256, 4),
    "MobileNetV2": ({"depth_multiplier": 0.25}, 1280, 4),
    "EfficientNet": ({"width_coefficient": 0.25, "depth_coefficient": 0.2, "hidden_dim": 320}, 320, 4),
    "MobileViT": (
        {"hidden_sizes": [8, 8, 8], "neck_hidden_sizes": [4, 4, 8, 8, 8, 8, 24], "num_attention_heads": 2},
        24,
        4,
    ),
    "MobileViTV2": ({"width_multiplier": 0.25}, 128, 4),
    "Cvt": ({"embed_dim": [8, 8, 16], "depth": [1, 2, 3], "num_heads": [1, 1, 2]}, 16, 16),
    "SwiftFormer": ({"depths": [1, 1, 1, 1], "embed_dims": [8, 8, 8, 16]}, 16, 4),
    "ResNet": (_STAGES | {"embedding_size": 8, "layer_type": "basic"}, 16, 4),
    "Swin": ({"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "window_size": 2}, 16, 64),
    "Levit": (
        {"hidden_sizes": [16] * 3, "num_attention_heads": [1] * 3, "depths": [1] * 3, "key_dim": [4] * 3},
        16,
        1,
    ),
    "Pvt": ({"hidden_sizes": [8, 8, 8, 16], "depths": [1] * 4, "num_attention_heads": [1] * 4}, 16, 5),
    "Hiera": ({"embed_dim": 8, "depths": [1] * 4, "num_heads": [1] * 4}, 64, 4),
    "ViT": (_BLOCKS | {"patch_size": 8}, 16, 65),
    "ViTMAE": (_BLOCKS | {"patch_size": 8}, 16, 65),
    "Dinov2": (_BLOCKS | {"patch_size": 16}, 16, 17),
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def save(kind: str, folder: Path, **processor: Any) -> Path:
    settings = getattr(transformers, f"{kind}Config")(**KINDS[kind][0])
    settings.image_size = [64, 64] if kind == "Hiera" else 64
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(settings)
    for name, buffer in model.named_buffers():  # statistics that a batch would visibly move
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    model.save_pretrained(folder)
    standard = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 64, "width": 64},
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.2, 0.3],
        "do_resize": True,
        "do_normalize": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(standard | processor))
    return folder


def opened(folder: Path, **options: Any) -> Pretrained:
    config = PretrainedConfig(path=str(folder), **options)
    return config.build(column_of(config), 8)


def column_of(config: PretrainedConfig) -> ImageColumn:
    requested = config.requirements("photo", "image")
    assert isinstance(requested, ImageRequirements)
    assert requested.image_size is not None
    assert requested.mean is not None
    assert requested.std is not None
    return ImageColumn(
        name="photo", image_size=requested.image_size, num_channels=3, mean=requested.mean, std=requested.std
    )


def images(*lengths: int, side: int = 64) -> ColumnBatch:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (len(lengths), 1, 3, side, side), generator=generator).to(torch.uint8)
    return ColumnBatch(values=values, lengths=torch.tensor(lengths)[:, None])


def own_features(folder: Path, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        model = transformers.AutoModel.from_pretrained(str(folder)).eval()
        hidden: Tensor = model(pixel_values=pixels).last_hidden_state
    return hidden.flatten(2).transpose(1, 2) if hidden.dim() == 4 else hidden


@pytest.mark.parametrize("kind", list(KINDS))
def test_any_architecture_is_run_whatever_its_config_calls_its_width(kind: str, tmp_path: Path) -> None:
    encoder = opened(save(kind, tmp_path / "m")).eval()
    _, hidden, num_tokens = KINDS[kind]
    assert encoder.shape.hidden == hidden
    batch = images(1, 0, 1)
    tokens = encoder(batch)
    assert tokens.values.shape == (3, num_tokens, 8)
    assert tokens.present.tolist() == [True, False, True]
    features = encoder.backbone(batch.values[:, 0], batch.lengths[:, 0]).layers[-1].values
    if kind != "ViTMAE":  # which is random there
        expected = own_features(tmp_path / "m", encoder.standardize(batch.values[[0, 2], 0]))
        torch.testing.assert_close(features[[0, 2]], expected, rtol=1e-4, atol=1e-4)
    encoder.save_resources(tmp_path / "resources")
    again = PretrainedConfig(path="/gone").build(encoder.column, 8, tmp_path / "resources").eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(batch).values, tokens.values)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_frozen_backbone_never_trains(kind: str, tmp_path: Path) -> None:
    encoder = opened(save(kind, tmp_path)).train()
    assert not any(module.training for module in encoder.network.modules())
    before = {name: value.clone() for name, value in encoder.network.state_dict().items()}
    first, second = encoder(images(1, 1, 1)), encoder(images(1, 1, 1))
    assert torch.equal(first.values, second.values)
    first.values.sum().backward()
    assert all(parameter.grad is None for parameter in encoder.network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.network.state_dict().items())


@pytest.mark.parametrize("kind", ["MobileNetV2", "EfficientNet", "ResNet"])
def test_absent_images_stay_out_of_a_tuned_backbones_batch_statistics(kind: str, tmp_path: Path) -> None:
    save(kind, tmp_path)
    encoder, reference = opened(tmp_path, tune="full").train(), opened(tmp_path, tune="full").train()
    before = {name: value.clone() for name, value in encoder.network.state_dict().items()}
    batch = images(1, 0, 1, 1)
    torch.manual_seed(0)
    encoder(batch)
    torch.manual_seed(0)
    reference(ColumnBatch(values=batch.values[[0, 2, 3]], lengths=batch.lengths[[0, 2, 3]]))
    moved = encoder.network.state_dict()
    torch.testing.assert_close(moved, reference.network.state_dict())
    assert any(not torch.equal(value, before[name]) for name, value in moved.items() if "running" in name)
    kept = {name: value.clone() for name, value in moved.items()}
    for lengths in ((1, 0), (0, 0)):  # one image has no spread where a map has one cell
        encoder.zero_grad()
        encoder(images(*lengths)).values.sum().backward()
        assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)
    assert all(torch.equal(value, kept[name]) for name, value in encoder.network.state_dict().items())
    assert encoder.network.training


def test_blocks_that_stay_closed_do_not_train(tmp_path: Path) -> None:
    encoder = opened(save("MobileNetV2", tmp_path), tune=1).train()
    before = {name: value.clone() for name, value in encoder.network.state_dict().items()}
    encoder(images(1, 1, 1))
    moved = {name for name, value in encoder.network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert {name.split(".")[1] for name in moved} == {"15"}  # the last of sixteen


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["MobileNetV2", "ViT"])
def test_a_file_of_half_the_bits_is_run_in_float32(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    half, whole = save(kind, tmp_path / "half"), save(kind, tmp_path / "whole")
    model = transformers.AutoModel.from_pretrained(str(half)).to(dtype)
    model.save_pretrained(half)
    model.float().save_pretrained(whole)
    assert json.loads((half / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    batch = images(1, 1)
    torch.manual_seed(0)
    encoder = opened(half).eval()
    torch.manual_seed(0)
    tokens, expected = encoder(batch), opened(whole).eval()(batch)
    assert torch.equal(tokens.values, expected.values)
    encoder.save_resources(tmp_path / "resources")
    again = PretrainedConfig(path="/gone").build(encoder.column, 8, tmp_path / "resources").eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(batch).values, tokens.values)


PROCESSORS: dict[str, dict[str, Any]] = {
    "ViTImageProcessor": {},
    "EfficientNetImageProcessor": {"rescale_offset": True, "rescale_factor": 1 / 127.5, "do_center_crop": False},
    "MobileViTImageProcessor": {"do_flip_channel_order": True, "do_center_crop": False, "do_normalize": None},
    "ConvNextImageProcessor": {"do_normalize": False, "size": {"shortest_edge": 384}},
}


@pytest.mark.parametrize("kind", list(PROCESSORS))
def test_pixels_are_scaled_as_the_models_own_processor_does(kind: str, tmp_path: Path) -> None:
    save("ViT", tmp_path, image_processor_type=kind, **PROCESSORS[kind])
    side = 384 if kind.startswith("ConvNext") else 64
    if side != 64:
        settings = transformers.ViTConfig(**_BLOCKS, image_size=side, patch_size=64)
        transformers.ViTModel(settings).save_pretrained(tmp_path)
    encoder = opened(tmp_path).eval()
    batch = images(1, 1, side=side)
    processor = transformers.AutoImageProcessor.from_pretrained(str(tmp_path))
    pixels = processor([np.asarray(image[0]) for image in batch.values], return_tensors="pt").pixel_values
    features = encoder.backbone(batch.values[:, 0], batch.lengths[:, 0]).layers[-1].values
    torch.testing.assert_close(features, own_features(tmp_path, pixels), rtol=1e-3, atol=1e-3)


def test_layers_of_a_vision_transformer_can_be_had_and_a_convolutional_networks_can_not(tmp_path: Path) -> None:
    encoder = opened(save("ViT", tmp_path / "vit"), layers="weighted").eval()
    assert encoder.chosen == (1, 2)
    assert encoder(images(1, 0)).values.shape == (2, 65, 8)
    with pytest.raises(ConfigError, match="found all, but only the last layer of this backbone can be handed on"):
        opened(save("ResNet", tmp_path / "resnet"), layers="all")


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    transformers.BertConfig(**_BLOCKS).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="a model of the type bert, which takes no images"):
        PretrainedConfig(path=str(tmp_path)).requirements("photo", "image")


def test_quantized_weights_are_refused(tmp_path: Path) -> None:
    save("ViT", tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(Exception, match="quantized weights"):
        opened(tmp_path)
