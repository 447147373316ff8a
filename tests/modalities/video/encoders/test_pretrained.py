"""Pretrained video networks, tiny and random: equal to transformers' own, frames taken evenly, saved and loaded."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from video_clips import check_promises, clips, video_column

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError, WeightsError
from polysense.modalities.video.encoders.pretrained import PretrainedVideo, PretrainedVideoConfig

transformers: Any = importlib.import_module("transformers")
_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_COMMON = {**_SIZES, "image_size": 16, "num_frames": 4}
KINDS = {
    "VideoMAE": {**_COMMON, "patch_size": 8, "tubelet_size": 2},
    "Timesformer": {**_COMMON, "patch_size": 8, "attention_type": "divided_space_time", "drop_path_rate": 0},
    "Vivit": {**_COMMON, "tubelet_size": [2, 8, 8]},
}
KIND = pytest.mark.parametrize("kind", list(KINDS))


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def save(kind: str, folder: Path) -> Path:
    torch.manual_seed(0)
    settings = getattr(transformers, f"{kind}Config")(**KINDS[kind])
    model = getattr(transformers, f"{kind}Model")(settings)
    for parameter in model.parameters():
        if not parameter.any():  # such as the positions in time, without which no order is heard
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    return folder


def build(kind: str, folder: Path, **options: Any) -> PretrainedVideo:
    torch.manual_seed(1)
    config = PretrainedVideoConfig(path=str(save(kind, folder)), **options)
    encoder = config.create(video_column(), 8)
    assert isinstance(encoder, PretrainedVideo)
    return encoder


@KIND
def test_it_is_transformers_own(kind: str, tmp_path: Path) -> None:
    encoder = build(kind, tmp_path).eval()
    batch = clips(frames=4)
    own = transformers.AutoModel.from_pretrained(str(tmp_path)).eval()
    with torch.no_grad():
        pixels = (batch.values.float() / 255 - 0.5) / 0.5
        states = own(pixel_values=pixels).last_hidden_state
        if kind == "Timesformer":
            places = states[:, 1:].reshape(3, 4, 4, 16)  # by place, then by time
            expected = torch.stack([places[:, :, time].mean(dim=1) for time in range(4)], dim=1)
        else:
            cells = states[:, 1:] if kind == "Vivit" else states
            expected = torch.stack([cells[:, 4 * time : 4 * time + 4].mean(dim=1) for time in range(2)], dim=1)
        expected = encoder.projection(encoder.norm(expected))
        tokens = encoder(batch)
    torch.testing.assert_close(tokens.values, expected, rtol=1e-4, atol=1e-5)
    assert tokens.mask.all()


@KIND
def test_promises_where_it_learns(kind: str, tmp_path: Path) -> None:
    check_promises(build(kind, tmp_path, tune="full"), per_frame=False)


def test_frames_are_taken_evenly_and_twice_where_there_are_few(tmp_path: Path) -> None:
    encoder = build("VideoMAE", tmp_path)
    frames = torch.arange(8, dtype=torch.uint8)[None, :, None, None, None].expand(3, 8, 3, 16, 16)
    present = torch.ones(3, 8, dtype=torch.bool)
    present[1, 2:] = False
    present[2, [0, 1, 3]] = False  # 2, 4, 5, 6, 7 are left
    pixels = ((encoder.clips(frames, present) * 0.5 + 0.5) * 255).round()[:, :, 0, 0, 0]
    assert pixels.tolist() == [[1, 3, 5, 7], [0, 0, 1, 1], [2, 4, 6, 7]]


def test_a_frozen_network_stays_as_it_is(tmp_path: Path) -> None:
    encoder = build("VideoMAE", tmp_path).train()
    assert not any(parameter.requires_grad for parameter in encoder.network.parameters())
    assert not encoder.network.training
    encoder(clips()).values.sum().backward()
    assert encoder.projection.weight.grad is not None
    tuned = build("VideoMAE", tmp_path, tune=1)
    assert 0 < sum(p.requires_grad for p in tuned.network.parameters()) < len(list(tuned.network.parameters()))


@KIND
def test_saved_and_loaded_it_gives_the_same(kind: str, tmp_path: Path) -> None:
    folder = save(kind, tmp_path / "net")
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.3]}')
    config = PretrainedVideoConfig(path=str(folder))
    encoder = config.create(video_column(side=20), 8).eval()  # frames are brought to the network's size
    encoder.save_resources(tmp_path / "kept")
    again = config.create(video_column(side=20), 8, tmp_path / "kept").eval()
    again.load_state_dict(encoder.state_dict())
    assert isinstance(again, PretrainedVideo)
    assert again.statistics == ((0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
    with torch.no_grad():
        assert torch.equal(again(clips(side=20)).values, encoder(clips(side=20)).values)


def test_gray_frames_are_given_to_a_network_of_colors(tmp_path: Path) -> None:
    config = PretrainedVideoConfig(path=str(save("VideoMAE", tmp_path)))
    gray = clips(channels=1)
    tokens = config.create(video_column(channels=1), 8).eval()(gray)
    colors = ColumnBatch(values=gray.values.expand(-1, -1, 3, -1, -1), lengths=gray.lengths)
    encoder = config.create(video_column(), 8).eval()
    assert encoder(colors).values.shape == tokens.values.shape


def test_other_models_and_settings_are_refused(tmp_path: Path) -> None:
    transformers.ViTModel(transformers.ViTConfig(**_SIZES, image_size=8, patch_size=4)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="holds a model of the type vit, expected one of videomae"):
        PretrainedVideoConfig(path=str(tmp_path)).create(video_column(), 8)
    with pytest.raises(WeightsError, match="no such folder"):
        PretrainedVideoConfig(path=str(tmp_path / "none")).create(video_column(), 8)
    with pytest.raises(ConfigError, match="would freeze noise"):
        PretrainedVideoConfig(path="x", weights="random")
    with pytest.raises(ConfigError, match="write `frozen` to open none"):
        PretrainedVideoConfig(path="x", tune=0)
