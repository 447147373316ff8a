"""Pretrained encoders on tiny models that are built and saved here; no network is needed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.errors import ConfigError, WeightsError
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.text.record import TextColumn
from polysense.nn.pretrained import Pretrained, PretrainedConfig

transformers: Any = importlib.import_module("transformers")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    settings = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    transformers.BertModel(settings).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    settings = transformers.ViTConfig(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    torch.manual_seed(0)
    transformers.ViTModel(settings).save_pretrained(tmp_path / "vit")
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 32, "width": 32},
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.2, 0.3],
        "do_resize": True,
        "do_normalize": True,
    }
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(processor))
    return tmp_path / "vit"


@pytest.fixture
def wav2vec2(tmp_path: Path) -> Path:
    settings = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        mask_time_prob=0.0,
    )
    torch.manual_seed(0)
    transformers.Wav2Vec2Model(settings).save_pretrained(tmp_path / "wav2vec2")
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=16000, return_attention_mask=True).save_pretrained(
        tmp_path / "wav2vec2"
    )
    return tmp_path / "wav2vec2"


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    settings = transformers.WhisperConfig(
        d_model=16,
        encoder_layers=1,
        encoder_attention_heads=2,
        decoder_layers=1,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        vocab_size=60,
        max_source_positions=50,
        num_mel_bins=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    torch.manual_seed(0)
    transformers.WhisperModel(settings).save_pretrained(tmp_path / "whisper")
    transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=1).save_pretrained(tmp_path / "whisper")
    return tmp_path / "whisper"


def text_batch() -> ColumnBatch:
    values = torch.randint(0, 40, (3, 1, 9), generator=torch.Generator().manual_seed(0)).to(torch.int32)
    return ColumnBatch(values=values, lengths=torch.tensor([[9], [4], [0]]))


TEXT = TextColumn(name="note", vocabulary_size=40)
IMAGE = ImageColumn(
    name="photo",
    image_size=(32, 32),
    num_channels=3,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.2, 0.3),
)
AUDIO = AudioColumn(name="speech", sample_rate=16000)


def test_text_equals_the_backbone_itself_and_ignores_padding(bert: Path) -> None:
    config = PretrainedConfig(path=str(bert))
    assert config.requirements("note", "text").tokenizer == str(bert)
    assert config.requirements("note", "text").max_tokens == 64
    encoder = config.build(TEXT, 8).eval()
    batch = text_batch()
    tokens = encoder(batch)
    assert tokens.mask.sum(1).tolist() == [9, 4, 0]
    reference = transformers.BertModel.from_pretrained(str(bert)).eval()
    alone = reference(input_ids=batch.values[1, :, :4].long()).last_hidden_state
    torch.testing.assert_close(
        tokens.values[1:2, :4], encoder.projection(encoder.norms[0](alone)), rtol=1e-4, atol=1e-5
    )


def test_freezing(bert: Path) -> None:
    def trainable(tune: Any) -> set[str]:
        backbone = PretrainedConfig(path=str(bert), tune=tune).build(TEXT, 8).network
        return {name.rsplit(".layer.")[-1][0] for name, p in backbone.named_parameters() if p.requires_grad}

    assert trainable("frozen") == set()
    assert trainable(2) == {"1", "2"}
    assert {"0", "1", "2"} < trainable("full")
    with pytest.raises(ConfigError, match="the backbone has 3"):
        trainable(4)
    frozen = PretrainedConfig(path=str(bert)).build(TEXT, 8).train()
    torch.testing.assert_close(frozen(text_batch()).values, frozen(text_batch()).values)
    assert not list(frozen.pretrained_parameters())


def test_image_takes_its_own_size_and_statistics_along(vit: Path) -> None:
    config = PretrainedConfig(path=str(vit), tune="full")
    requested = config.requirements("photo", "image")
    assert (requested.image_size, requested.num_channels) == ((32, 32), 3)
    assert requested.mean == (0.5, 0.4, 0.3)
    encoder = config.build(IMAGE, 8)
    pixels = torch.randint(0, 256, (2, 1, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    tokens = encoder(ColumnBatch(values=pixels, lengths=torch.tensor([[1], [0]])))
    assert tokens.values.shape == (2, 17, 8)
    assert tokens.present.tolist() == [True, False]
    assert list(encoder.pretrained_parameters())


def test_waveform_model_pads_and_masks(wav2vec2: Path) -> None:
    config = PretrainedConfig(path=str(wav2vec2))
    assert config.requirements("speech", "audio").sample_rate == 16000
    encoder = config.build(AUDIO, 8).eval()
    clips = torch.randint(-9000, 9000, (3, 1, 4000), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    tokens = encoder(ColumnBatch(values=clips, lengths=torch.tensor([[4000], [2000], [0]])))
    alone = encoder(ColumnBatch(values=clips[1:2, :, :2000], lengths=torch.tensor([[2000]])))
    count = int(alone.mask.sum())
    assert int(tokens.mask[1].sum()) == count > 50
    assert not tokens.mask[2].any()
    torch.testing.assert_close(tokens.values[1, :count], alone.values[0, :count], rtol=1e-3, atol=1e-3)


def test_a_model_of_fixed_stretches_hears_a_long_clip_to_its_end(whisper: Path) -> None:
    encoder = PretrainedConfig(path=str(whisper)).build(AUDIO, 8).eval()
    clips = torch.randint(-9000, 9000, (2, 1, 40000), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    lengths = torch.tensor([[40000], [8000]])
    tokens = encoder(ColumnBatch(values=clips, lengths=lengths))
    assert tokens.values.shape[1] == 125
    assert tokens.mask.sum(1).tolist() == [125, 25]
    changed = clips.clone()
    changed[0, 0, -8000:] = 0
    other = encoder(ColumnBatch(values=changed, lengths=lengths))
    assert not torch.allclose(tokens.values[0, 100:125], other.values[0, 100:125])


@pytest.mark.parametrize(("name", "column"), [("bert", TEXT), ("vit", IMAGE), ("whisper", AUDIO)])
def test_saved_resources_rebuild_it_without_the_original(
    name: str, column: Column, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config = PretrainedConfig(path=str(request.getfixturevalue(name)))
    encoder = config.build(column, 8)
    encoder.save_resources(tmp_path / "resources")
    elsewhere = PretrainedConfig(path="/gone")
    again = elsewhere.build(column, 8, tmp_path / "resources")
    assert isinstance(again, Pretrained)
    again.load_state_dict(encoder.state_dict())


def test_weights_that_cannot_be_had_end_in_advice(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such folder; expected a folder written by save_pretrained"):
        PretrainedConfig(path=str(tmp_path / "none")).build(TEXT, 8)
    with pytest.raises(WeightsError, match=r"hub name 'nobody/nothing'.*local folder.*HF_HOME"):
        PretrainedConfig(path="nobody/nothing").build(TEXT, 8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="check that the folder holds"):
        PretrainedConfig(path=str(tmp_path / "empty")).build(TEXT, 8)


@pytest.mark.parametrize("tune", ["full", 1])
def test_each_trainable_parameter_has_a_gradient_whether_the_tokens_come_from_it_or_not(bert: Path, tune: Any) -> None:
    encoder = PretrainedConfig(path=str(bert), tune=tune).build(TEXT, 8).train()
    encoder(text_batch()).values.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        if name.startswith("backbone.pooler") and parameter.requires_grad:
            assert not parameter.grad.any(), name  # type: ignore[union-attr]


@pytest.mark.parametrize("tune", ["frozen", 1])
def test_features_of_a_backbone_can_be_kept_and_projected_later(bert: Path, tune: Any) -> None:
    encoder, batch = PretrainedConfig(path=str(bert), tune=tune).build(TEXT, 8), text_batch()
    assert encoder.frozen == (tune == "frozen")
    expected = encoder.eval()(batch)
    features = encoder.train().backbone(batch.values.flatten(0, 1), batch.lengths.flatten())
    assert features.layers[-1].values.requires_grad == (tune != "frozen")
    if encoder.frozen:
        # Whatever mode the model around it is in, and whichever rows are beside one.
        torch.testing.assert_close(encoder.project(features).cleared().values, expected.values)
        alone = encoder.backbone(batch.values[1:2, 0], batch.lengths[1:2, 0]).layers[-1]
        together = features.layers[-1]
        torch.testing.assert_close(alone.values[0][alone.mask[0]], together.values[1][together.mask[1]])
