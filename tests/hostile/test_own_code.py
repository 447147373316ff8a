"""A model's folder is data: code that it brings along is never run, and nobody is asked whether it may."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from polysense.core.json import read_json, write_json
from polysense.data.pretrained_tokenizer import fast_tokenizer
from polysense.errors import BundleError, PolysenseError, WeightsError
from polysense.modalities.image.encoders.timm import TimmConfig
from polysense.modalities.image.record import ImageColumn
from polysense.nn.layers.causal_lm import open_config, open_model
from polysense.nn.pretrained_files import from_pretrained, from_settings, save_settings

CODE = """
import pathlib
pathlib.Path({marker!r}).touch()
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast, FeatureExtractionMixin
class Config(PreTrainedConfig):
    model_type = "evil"
class Model(PreTrainedModel):
    config_class = Config
class Tokenizer(PreTrainedTokenizerFast):
    pass
class Extractor(FeatureExtractionMixin):
    pass
"""
MAP = {
    "AutoConfig": "evil.Config",
    "AutoModel": "evil.Model",
    "AutoModelForCausalLM": "evil.Model",
    "AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"],
    "AutoFeatureExtractor": "evil.Extractor",
    "AutoImageProcessor": "evil.Extractor",
}


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the code would make if it ran. Whoever is asked says yes."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    return tmp_path / "ran"


@pytest.fixture
def folder(tmp_path: Path, marker: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in {
        "config.json": {"model_type": "evil", "auto_map": MAP},
        "tokenizer_config.json": {"auto_map": MAP, "tokenizer_class": "Tokenizer"},
        "preprocessor_config.json": {"auto_map": MAP, "feature_extractor_type": "Evil", "image_processor_type": "Evil"},
    }.items():
        write_json(folder / name, content)
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    return folder


@pytest.mark.parametrize(
    "factory", ["AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoFeatureExtractor", "AutoImageProcessor"]
)
def test_no_part_of_a_folder_runs_its_code(factory: str, folder: Path, marker: Path) -> None:
    with pytest.raises(WeightsError, match="polysense runs no code that comes with a model"):
        from_pretrained(getattr(transformers, factory), str(folder), None)
    assert not marker.exists()


def test_no_tokenizer_runs_its_code(folder: Path, marker: Path) -> None:
    with pytest.raises(WeightsError, match="polysense runs no code that comes with a model"):
        fast_tokenizer(str(folder), "column 'text': the tokenizer")
    assert not marker.exists()


def test_no_language_model_runs_its_code(folder: Path, marker: Path) -> None:
    with pytest.raises(PolysenseError):
        open_config(str(folder), None)
    settings = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=9, auto_map=MAP)
    settings.model_type = "evil"
    with pytest.raises(WeightsError):
        open_model(settings, str(folder), None)
    assert not marker.exists()


def test_settings_that_name_code_build_what_the_library_has(marker: Path, tmp_path: Path) -> None:
    settings = transformers.BertConfig(
        num_hidden_layers=1, hidden_size=8, num_attention_heads=1, intermediate_size=8, vocab_size=9, auto_map=MAP
    )
    assert type(from_settings(transformers.AutoModel, settings)).__module__.startswith("transformers.models.bert")
    save_settings(settings, tmp_path / "saved")
    assert "auto_map" not in read_json(tmp_path / "saved" / "config.json", dict), "a bundle names no code"
    assert not marker.exists()


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_of_weights_runs_nothing(how: str, marker: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    if how == "torch":
        torch.save({"a": Evil(marker)}, file)
    else:
        file.write_bytes(pickle.dumps(Evil(marker)))
    column = ImageColumn(name="photo", image_size=(32, 32), num_channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
    with pytest.raises(WeightsError, match=r"weights\.pth: holds no weights alone"):
        TimmConfig(name="resnet10t", weights=str(file)).build(column, 8)
    assert not marker.exists()


def test_a_pickle_in_a_transformers_folder_runs_nothing(marker: Path, tmp_path: Path) -> None:
    settings = transformers.BertConfig(
        num_hidden_layers=1, hidden_size=8, num_attention_heads=1, intermediate_size=8, vocab_size=9
    )
    folder = tmp_path / "bert"
    settings.save_pretrained(folder)
    torch.save({"a": Evil(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError):
        from_pretrained(transformers.AutoModel, str(folder), None)
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"architecture": "hf-hub:evil/model"},
        {"architecture": "local-dir:/etc"},
        {"architecture": ["resnet10t"]},
        {"architecture": None},
        {"architecture": "no_such_model"},
        {"architecture": "resnet10t", "pretrained": True},
        {"architecture": "resnet10t", "checkpoint_path": "/etc/passwd"},
        {"architecture": "resnet10t", "pretrained_cfg": {"url": "http://localhost:9/weights.pth"}},
        {"architecture": "resnet10t", "pretrained_cfg_overlay": {"file": "/etc/passwd"}},
        {"architecture": "resnet10t", "cache_dir": "/tmp/elsewhere"},
    ],
)
def test_a_bundled_timm_network_is_one_of_timms_own(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "timm.json").write_text(json.dumps(content))
    column = ImageColumn(name="photo", image_size=(32, 32), num_channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
    with pytest.raises(BundleError, match=r"timm\.json: found "):
        TimmConfig(name="resnet10t", pretrained=False, tune="full").build(column, 8, tmp_path)
