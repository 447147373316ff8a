"""`auto` on caches that are built here, in huggingface_hub's own layout; no network is needed, nor asked."""

from __future__ import annotations

import dataclasses
import importlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from polysense.core.batch import ColumnBatch
from polysense.errors import ConfigError, WeightsError
from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.date.encoders.mlp import DateMLPConfig
from polysense.modalities.image.encoders.resnet import ResNetConfig
from polysense.modalities.image.encoders.timm import TimmConfig
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.modalities.text.record import TextColumn
from polysense.nn.auto_encoder import AutoEncoderConfig
from polysense.nn.backbones import cache_folder
from polysense.nn.pretrained import PretrainedConfig

transformers: Any = importlib.import_module("transformers")

REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
ENGLISH = ["the cat sat on the mat and it was not amused", "to be or not to be"] * 5
GERMAN = ["der Hund und die Katze sind nicht im Haus", "das ist ein Haus mit Garten"] * 5


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a network that fails the test if it is asked."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("POLYSENSE_PRETRAINED")  # which says `off` in tests
    return tmp_path / "home" / "hub"


def folder_for(cache: Path, name: str) -> Path:
    """Where huggingface_hub keeps a model's files."""
    base = cache / ("models--" + name.replace("/", "--"))
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text(REVISION)
    snapshot = base / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    return snapshot


def add_bert(folder: Path) -> None:
    settings = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    transformers.BertModel(settings).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat"]))


def add_timm(folder: Path, tag: str = "mine") -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    weights = timm.create_model("resnet10t", num_classes=5).state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")
    own = {"num_classes": 5, "input_size": [3, 32, 32], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2]}
    more = {"tag": tag, "classifier": "fc", "first_conv": "conv1.0"}
    settings = {"architecture": "resnet10t", "num_classes": 5, "pretrained_cfg": own | more}
    (folder / "config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("modality", "expected"),
    [
        ("text", TextTransformerConfig()),
        ("image", ResNetConfig()),
        ("audio", AudioCNNConfig()),
        ("number", NumberMLPConfig()),
        ("category", CategoryEmbeddingConfig()),
        ("date", DateMLPConfig()),
    ],
)
def test_from_scratch_where_nothing_is_at_hand(modality: str, expected: object, cache: Path) -> None:
    found, reason = AutoEncoderConfig().resolve(modality)
    assert found == expected
    assert reason.startswith(f"{found.type}, trained from scratch: ")
    tabular = modality in ("number", "category", "date")
    assert ("no pretrained backbones for" in reason) is tabular
    assert ("the local Hugging Face cache holds none of" in reason) is not tabular
    assert "\n" not in reason


def test_a_cached_text_backbone_is_taken_and_works(cache: Path) -> None:
    snapshot = folder_for(cache, "sentence-transformers/all-MiniLM-L6-v2")
    add_bert(snapshot)
    found, reason = AutoEncoderConfig(tune=1, learning_rate_scale=0.5).resolve("text", ENGLISH)
    assert found == PretrainedConfig(path=str(snapshot), tune=1, learning_rate_scale=0.5, pool_to="auto")
    assert reason == (
        "pretrained sentence-transformers/all-MiniLM-L6-v2 (transformers, 0.0 million parameters), from the local "
        "Hugging Face cache; its last 1 blocks tuned"
    )
    assert found.requirements("note", "text").tokenizer == str(snapshot)
    encoder = found.build(TextColumn(name="note", vocabulary_size=40), 8)
    batch = ColumnBatch(values=torch.ones(2, 1, 4, dtype=torch.int32), lengths=torch.tensor([[4], [2]]))
    assert encoder(batch).values.shape == (2, 4, 8)
    # Asked again it says the same; another modality's list is another.
    assert AutoEncoderConfig(tune=1, learning_rate_scale=0.5).resolve("text", ENGLISH)[0] == found
    assert AutoEncoderConfig().resolve("image")[0] == ResNetConfig()


def test_huggingface_hub_agrees_on_where_the_cache_is(cache: Path) -> None:
    from huggingface_hub import try_to_load_from_cache

    name = "google-bert/bert-base-uncased"
    add_bert(folder_for(cache, name))
    found, _ = AutoEncoderConfig().resolve("text")
    theirs = try_to_load_from_cache(name, "config.json", cache_dir=cache)
    assert found == PretrainedConfig(path=str(Path(str(theirs)).parent), pool_to="auto")


def test_the_caches_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value, place in (
        ("XDG_CACHE_HOME", tmp_path / "xdg", tmp_path / "xdg" / "huggingface" / "hub"),
        ("HF_HOME", tmp_path / "hf", tmp_path / "hf" / "hub"),
        ("HF_HUB_CACHE", tmp_path / "direct", tmp_path / "direct"),
    ):
        if variable == "XDG_CACHE_HOME":
            monkeypatch.delenv("HF_HOME")
        monkeypatch.setenv(variable, str(value))
        assert cache_folder() == place


def test_what_is_not_wholly_there_is_not_taken(cache: Path) -> None:
    snapshot = folder_for(cache, "bert-base-uncased")
    for missing in ("model.safetensors", "config.json", "vocab.txt"):
        add_bert(snapshot)
        assert isinstance(AutoEncoderConfig().resolve("text")[0], PretrainedConfig)
        (snapshot / missing).unlink()
        assert AutoEncoderConfig().resolve("text")[0] == TextTransformerConfig()
    add_bert(snapshot)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(snapshot / "no such blob")  # a download that broke off
    assert AutoEncoderConfig().resolve("text")[0] == TextTransformerConfig()
    (snapshot / "config.json").write_text("{")
    assert AutoEncoderConfig().resolve("text")[0] == TextTransformerConfig()


def test_other_languages_want_a_multilingual_backbone(cache: Path) -> None:
    add_bert(folder_for(cache, "bert-base-uncased"))
    found, reason = AutoEncoderConfig().resolve("text", GERMAN)
    assert found == TextTransformerConfig()
    assert "multilingual text backbones" in reason
    snapshot = folder_for(cache, "FacebookAI/xlm-roberta-base")
    add_bert(snapshot)
    assert AutoEncoderConfig().resolve("text", GERMAN)[0] == PretrainedConfig(path=str(snapshot), pool_to="auto")
    english, _ = AutoEncoderConfig().resolve("text", ENGLISH)
    assert isinstance(english, PretrainedConfig)
    assert "bert-base-uncased" in english.path


def test_a_cached_timm_backbone_is_taken_and_works(cache: Path) -> None:
    snapshot = folder_for(cache, "timm/resnet18.a1_in1k")
    add_timm(snapshot)
    found, reason = AutoEncoderConfig().resolve("image")
    assert found == TimmConfig(name=str(snapshot))
    assert found.requirements("photo", "image").image_size == (32, 32)
    assert reason.startswith("pretrained timm/resnet18.a1_in1k (timm, 4.9 million parameters), from the local Hugging")
    assert reason.endswith("; frozen on a CPU")
    column = ImageColumn(name="photo", image_size=(32, 32), num_channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
    encoder: Any = found.build(column, 8)
    import timm

    torch.manual_seed(0)
    expected = timm.create_model("resnet10t", num_classes=5).state_dict()
    torch.testing.assert_close(encoder.network.state_dict()["conv1.0.weight"], expected["conv1.0.weight"])


def test_settings_are_handed_on(cache: Path, tmp_path: Path) -> None:
    auto = AutoEncoderConfig(tune="full", learning_rate_scale=0.5, items="set")
    assert auto.resolve("image")[0] == ResNetConfig(items="set")
    (tmp_path / "mine").mkdir()
    add_timm(tmp_path / "mine")
    given = dataclasses.replace(auto, path=str(tmp_path / "mine"))
    found, reason = given.resolve("image")
    assert found == TimmConfig(name=given.path or "", tune="full", learning_rate_scale=0.5, items="set")
    assert reason == "pretrained mine, a timm model, since path names it; tuned"
    add_bert(folder_for(cache, "bert-base-uncased"))
    assert auto.resolve("text")[0].items == "set"


def test_a_given_folder_goes_before_the_cache(cache: Path, tmp_path: Path) -> None:
    add_bert(folder_for(cache, "bert-base-uncased"))
    (tmp_path / "mine").mkdir()
    add_bert(tmp_path / "mine")
    found, reason = AutoEncoderConfig(path=str(tmp_path / "mine")).resolve("text", GERMAN)
    assert found == PretrainedConfig(path=str(tmp_path / "mine"), pool_to="auto")
    assert reason == "pretrained mine, a transformers model, since path names it; frozen on a CPU"


@pytest.mark.parametrize(
    ("path", "modality", "expected"),
    [
        ("org/some-bert", "text", PretrainedConfig(path="org/some-bert", pool_to="auto")),
        ("bert-base-uncased", "text", PretrainedConfig(path="bert-base-uncased", pool_to="auto")),
        ("org/some-vit", "image", PretrainedConfig(path="org/some-vit", pool_to="auto")),
        ("timm/resnet10t.c3_in1k", "image", TimmConfig(name="resnet10t.c3_in1k")),
        ("hf-hub:timm/resnet10t.c3_in1k", "image", TimmConfig(name="hf-hub:timm/resnet10t.c3_in1k")),
        ("resnet10t.c3_in1k", "image", TimmConfig(name="resnet10t.c3_in1k")),
    ],
)
def test_a_given_hub_name_is_told_by_its_form(path: str, modality: str, expected: object) -> None:
    found, reason = AutoEncoderConfig(path=path).resolve(modality)
    assert found == expected
    assert "does not hold, so it is asked of the hub" in reason


def test_a_given_hub_name_that_is_cached_is_loaded_from_there(cache: Path) -> None:
    snapshot = folder_for(cache, "org/some-bert")
    add_bert(snapshot)
    found, reason = AutoEncoderConfig(path="org/some-bert").resolve("text")
    assert found == PretrainedConfig(path=str(snapshot), pool_to="auto")
    assert "pretrained org/some-bert, a transformers model, since path names it, from the local Hugging" in reason


def test_a_path_that_can_not_serve(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text("{}")
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "config.json").write_text('{"architecture": "resnet10t"}')

    def resolve(path: Path | str, modality: str = "image") -> None:
        AutoEncoderConfig(path=str(path)).resolve(modality)

    with pytest.raises(ConfigError, match="is a file, which does not say what network it belongs to"):
        resolve(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"empty: has no config\.json"):
        resolve(tmp_path / "empty")
    with pytest.raises(WeightsError, match=r"names neither a model_type \(transformers\) nor an architecture \(timm\)"):
        resolve(tmp_path / "odd")
    with pytest.raises(WeightsError, match="holds no weights"):
        resolve(tmp_path / "timm")
    with pytest.raises(ConfigError, match="it is the timm model resnet10t, which takes images"):
        resolve(tmp_path / "timm", "text")
    with pytest.raises(WeightsError, match="no such folder"):
        resolve(tmp_path / "none")
    with pytest.raises(ConfigError, match="no pretrained backbones for numbers"):
        resolve("bert-base-uncased", "number")
    with pytest.raises(ConfigError, match="'smell'"):
        AutoEncoderConfig().resolve("smell")
    with pytest.raises(ConfigError, match="write `frozen`"):
        AutoEncoderConfig(tune=0)


def test_unresolved_it_refuses_to_be_built() -> None:
    with pytest.raises(ConfigError, match=r"model\.encoders\.note: .* is chosen when a training starts"):
        AutoEncoderConfig().requirements("note", "text")
    with pytest.raises(ConfigError, match="has not been chosen here"):
        AutoEncoderConfig().build(TextColumn(name="note", vocabulary_size=4), 8)
