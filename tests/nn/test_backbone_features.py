"""Feature vectors of frozen backbones: pooled over an item's own tokens, at each layer that is handed on."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from polysense.core.batch import ColumnBatch
from polysense.core.schema import Column
from polysense.core.stored import StoredCell, StoredItem
from polysense.data.batches.collate import stored_items
from polysense.errors import WeightsError
from polysense.modalities.audio.record import AudioColumn
from polysense.modalities.image.encoders.timm import TimmConfig
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.text.record import TextColumn
from polysense.nn.backbone import BackboneEncoder
from polysense.nn.encoder import EncoderConfig
from polysense.nn.network_fingerprint import network_fingerprint
from polysense.nn.pretrained import PretrainedConfig

transformers: Any = importlib.import_module("transformers")
timm: Any = importlib.import_module("timm")

TEXT = TextColumn(name="note", vocabulary_size=40)
AUDIO = AudioColumn(name="speech", sample_rate=16000)
IMAGE = ImageColumn(name="photo", image_size=(32, 48), num_channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3))
_SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    settings = transformers.BertConfig(vocab_size=40, max_position_embeddings=64, **_SMALL)
    transformers.BertModel(settings).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32}
    sizes |= {"decoder_ffn_dim": 32, "vocab_size": 60, "pad_token_id": 0, "decoder_start_token_id": 1}
    settings = transformers.WhisperConfig(
        encoder_layers=3, decoder_layers=1, max_source_positions=50, num_mel_bins=16, suppress_tokens=None,
        begin_suppress_tokens=None, **sizes,
    )  # fmt: skip
    transformers.WhisperModel(settings).save_pretrained(tmp_path / "whisper")
    transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=1).save_pretrained(tmp_path / "whisper")
    return tmp_path / "whisper"


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    transformers.ViTModel(transformers.ViTConfig(image_size=(32, 48), patch_size=16, **_SMALL)).save_pretrained(
        tmp_path / "vit"
    )
    return tmp_path / "vit"


@pytest.fixture
def mobilenet(tmp_path: Path) -> Path:
    source = timm.create_model("mobilenetv2_050", num_classes=5)
    timm.models.save_for_hf(source, str(tmp_path / "mobilenet"), safe_serialization=True)
    return tmp_path / "mobilenet"


def items(column: Column) -> tuple[Tensor, Tensor]:
    """Three items, the last of which is absent: values [3, ...] and lengths [3]."""
    draws = torch.Generator().manual_seed(0)
    if isinstance(column, TextColumn):
        return torch.randint(2, 40, (3, 9), generator=draws).to(torch.int32), torch.tensor([9, 4, 0])
    if isinstance(column, AudioColumn):
        return torch.randint(-9000, 9000, (3, 9000), generator=draws).to(torch.int16), torch.tensor([9000, 4000, 0])
    return torch.randint(0, 256, (3, 3, 32, 48), generator=draws).to(torch.uint8), torch.tensor([1, 1, 0])


def build(config: EncoderConfig, column: Column) -> BackboneEncoder:
    encoder = config.create(column, 8).eval()
    assert isinstance(encoder, BackboneEncoder)
    return encoder


def features_of(encoder: BackboneEncoder, column: Column) -> Tensor:
    values, lengths = items(column)
    features = encoder(ColumnBatch(values=values[:, None], lengths=lengths[:, None])).features
    assert features is not None
    return features


def statistics(hidden: Tensor) -> Tensor:
    """Mean and deviation over the tokens of one item."""
    return torch.cat([hidden.mean(dim=0), hidden.std(dim=0, correction=0)])


def test_a_clips_vector_is_mean_and_deviation_of_each_layer_over_its_own_frames(whisper: Path) -> None:
    encoder = build(PretrainedConfig(path=str(whisper)), AUDIO)
    assert encoder.give_features() == encoder.num_features == 3 * 2 * 16
    features, (values, lengths) = features_of(encoder, AUDIO), items(AUDIO)
    for row in (0, 1):
        layers = encoder.backbone(values[row : row + 1, : lengths[row]], lengths[row : row + 1]).layers
        assert len(layers) == 3
        expected = torch.cat([statistics(layer.values[0][layer.mask[0]]) for layer in layers])
        torch.testing.assert_close(features[row], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(features[2], torch.zeros(96))
    last = build(PretrainedConfig(path=str(whisper), layers="last"), AUDIO)
    assert last.give_features() == 32
    torch.testing.assert_close(features_of(last, AUDIO), features[:, 64:])


def test_a_map_gives_mean_and_deviation_over_its_cells(mobilenet: Path) -> None:
    encoder = build(TimmConfig(name=str(mobilenet)), IMAGE)
    assert encoder.give_features() == 2560
    (layer,) = encoder.backbone(*items(IMAGE)).layers
    expected = torch.stack([statistics(layer.values[0]), statistics(layer.values[1]), torch.zeros(2560)])
    torch.testing.assert_close(features_of(encoder, IMAGE), expected, rtol=1e-4, atol=1e-5)


def test_a_class_token_stands_beside_the_mean(vit: Path) -> None:
    (vit / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 48}}), encoding="utf-8"
    )
    encoder = build(PretrainedConfig(path=str(vit)), IMAGE)
    assert encoder.give_features() == 32
    (layer,) = encoder.backbone(*items(IMAGE)).layers
    expected = torch.cat([layer.values[:2, 0], layer.values[:2].mean(dim=1)], dim=1)
    torch.testing.assert_close(features_of(encoder, IMAGE)[:2], expected)


def sentence_encoder(folder: Path, *modules: str, **pooling: object) -> None:
    """Writes what sentence-transformers writes beside a model."""
    each = [{"idx": i, "name": str(i), "path": f"{i}_{name}", "type": f"x.{name}"} for i, name in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(each), encoding="utf-8")
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")


@pytest.mark.parametrize(
    ("modules", "pooling", "expected"),
    [
        ((), {}, lambda x: x.mean(0)),
        (("Transformer",), {"pooling_mode_cls_token": True}, lambda x: x.mean(0)),
        (("Transformer", "Pooling"), {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
         lambda x: x.mean(0)),
        (("Transformer", "Pooling"), {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
         lambda x: x[0]),
        (("Transformer", "Pooling", "Normalize"), {"pooling_mode_lasttoken": True}, lambda x: x[-1] / x[-1].norm()),
        (("Transformer", "Pooling"), {"pooling_mode": "max"}, lambda x: x.amax(0)),
        (("Transformer", "Pooling"), {"pooling_mode": ["cls", "mean"]}, lambda x: torch.cat([x[0], x.mean(0)])),
        (("Transformer", "Pooling", "Dense"), {"pooling_mode_mean_sqrt_len_tokens": True},
         lambda x: x.sum(0) / len(x) ** 0.5),
        (("Transformer", "Pooling"), {"pooling_mode": "of tomorrow"}, lambda x: x.mean(0)),
    ],
)  # fmt: skip
def test_texts_are_pooled_as_the_sentence_encoder_says(
    modules: tuple[str, ...], pooling: dict[str, object], expected: Any, bert: Path, tmp_path: Path
) -> None:
    sentence_encoder(bert, *modules, **pooling)
    config = PretrainedConfig(path=str(bert))
    encoder = build(config, TEXT)
    encoder.give_features()
    features, (values, lengths) = features_of(encoder, TEXT), items(TEXT)
    reference = transformers.BertModel.from_pretrained(str(bert)).eval()
    for row in (0, 1):  # no normalization before the pooling
        with torch.no_grad():
            hidden = reference(input_ids=values[row : row + 1, : lengths[row]].long()).last_hidden_state[0]
        torch.testing.assert_close(features[row], expected(hidden), rtol=1e-4, atol=1e-5)
    assert not features[2].any()

    encoder.save_resources(tmp_path / "bundle")
    again = dataclasses.replace(config, path="/gone").build(TEXT, 8, tmp_path / "bundle").eval()
    again.load_state_dict(encoder.state_dict())
    again.give_features()
    assert isinstance(again, BackboneEncoder)
    assert torch.equal(features_of(again, TEXT), features)


def test_settings_of_the_pooling_are_looked_for_beside_the_model_alone(bert: Path) -> None:
    sentence_encoder(bert, "Transformer", "Pooling", pooling_mode="cls")
    outside = [{"path": "../elsewhere", "type": "x.Pooling"}]
    (bert.parent / "elsewhere").mkdir()
    (bert.parent / "elsewhere" / "config.json").write_text('{"pooling_mode": "max"}', encoding="utf-8")
    (bert / "modules.json").write_text(json.dumps(outside), encoding="utf-8")
    assert build(PretrainedConfig(path=str(bert)), TEXT).pooling.parts == ("mean",)
    (bert / "modules.json").write_text("{", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"modules\.json: can't be read"):
        PretrainedConfig(path=str(bert)).build(TEXT, 8)


@pytest.mark.parametrize(("name", "column"), [("bert", TEXT), ("whisper", AUDIO)])
def test_they_are_the_items_own_in_every_mode(name: str, column: Column, request: pytest.FixtureRequest) -> None:
    encoder = build(PretrainedConfig(path=str(request.getfixturevalue(name))), column)
    values, lengths = items(column)
    batch = ColumnBatch(values=values[:, None], lengths=lengths[:, None])
    assert encoder(batch).features is None  # nobody asked
    encoder.give_features()
    together = features_of(encoder, column)
    torch.testing.assert_close(features_of(encoder.train(), column), together)
    assert not encoder(batch).features.requires_grad
    encoder.eval()
    for row, length in enumerate(lengths.tolist()):
        cut = ColumnBatch(values=values[row : row + 1, None, : max(length, 1)], lengths=lengths[row : row + 1, None])
        torch.testing.assert_close(encoder(cut).features[0], together[row], rtol=1e-4, atol=1e-5)


def test_a_cell_of_several_items_has_their_mean(bert: Path) -> None:
    single = build(PretrainedConfig(path=str(bert)), TEXT)
    single.give_features()
    each = features_of(single, TEXT)
    several = build(PretrainedConfig(path=str(bert)), dataclasses.replace(TEXT, multiple=True, max_items=3))
    several.give_features()
    values, lengths = items(TEXT)
    cells = ColumnBatch(values=values[None], lengths=lengths[None])
    torch.testing.assert_close(several(cells).features[0], each[:2].mean(dim=0), rtol=1e-4, atol=1e-5)
    assert not several(cells.absent()).features.any()


def test_what_learns_gives_none(bert: Path) -> None:
    encoder = build(PretrainedConfig(path=str(bert), tune=1), TEXT)
    assert encoder.give_features() == 0
    assert features_of(encoder, TEXT).shape == (3, 0)


@torch.no_grad()
def test_stored_feature_maps_are_those_that_the_network_gives(mobilenet: Path) -> None:
    encoder = build(TimmConfig(name=str(mobilenet)), IMAGE)
    every = encoder.give_pyramid()
    encoder.read_levels(1)
    encoder.read_levels(3)
    assert encoder.given_levels == encoder.stored_levels == every[-3:]
    assert encoder.keeps_features
    values, lengths = items(IMAGE)
    live = encoder(ColumnBatch(values=values[:, None], lengths=lengths[:, None]))
    each = encoder.item_features(values, lengths)
    kept = [StoredItem(tuple(layer.numpy() for layer in item.every), 1) for item in each]
    assert [layer.shape for layer in kept[0].layers] == [
        (2, 1280), *((math.prod(level.grid or ()), level.width) for level in every[-3:])
    ]  # fmt: skip
    encoder.shelf = "shelf"
    for rows in ([0, 1], [1]):  # what is not stored goes through the network
        stored = stored_items({row: StoredCell((kept[row],), "shelf") for row in rows}, 3, 1)
        junk = torch.where(torch.tensor([row in rows for row in range(3)])[:, None, None, None], 7, values)
        tokens = encoder(ColumnBatch(values=junk.to(torch.uint8)[:, None], lengths=lengths[:, None], stored=stored))
        assert torch.equal(tokens.values, live.values)
        assert len(tokens.pyramid) == 3
        for one, other in zip(tokens.pyramid, live.pyramid, strict=True):
            assert torch.equal(one.values, other.values)
            assert torch.equal(one.mask, other.mask)
            assert one.grid == other.grid


def test_networks_that_give_other_levels_have_other_features(mobilenet: Path) -> None:
    config = TimmConfig(name=str(mobilenet))
    plain, some, every = (build(config, IMAGE) for _ in range(3))
    some.give_pyramid()
    some.read_levels(2)
    every.give_pyramid()
    assert len({network_fingerprint(encoder, config) for encoder in (plain, some, every)}) == 3
