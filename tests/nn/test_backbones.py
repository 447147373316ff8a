"""The choice among model folders: small models that are built and saved here, each in a folder of one directory."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from backbone_folders import save_bert, save_timm, save_vit, save_whisper, write_tokenizer

from polysense.errors import WeightsError
from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.image.encoders.resnet import ResNetConfig
from polysense.modalities.image.encoders.timm import TimmConfig
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.nn.auto_encoder import AutoEncoderConfig
from polysense.nn.backbones import survey
from polysense.nn.circumstances import Circumstances
from polysense.nn.encoder import EncoderConfig
from polysense.nn.pretrained import PretrainedConfig

transformers: Any = importlib.import_module("transformers")

ENGLISH = ["the cat sat on the mat and it was not amused", "to be or not to be"] * 5
GERMAN = ["der Hund und die Katze sind nicht im Haus", "das ist ein Haus mit Garten"] * 5


def resolve(modality: str, root: Path | str, cells: list[str] | None = None, **here: Any) -> tuple[EncoderConfig, str]:
    circumstances = Circumstances(pretrained=str(root), **here)
    return AutoEncoderConfig().resolve(modality, cells or (), circumstances)


def name_of(config: EncoderConfig) -> str:
    if isinstance(config, TimmConfig):
        return Path(config.name).name
    assert isinstance(config, PretrainedConfig)
    return Path(config.path).name


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Folders of every kind, by names that are not in their order."""
    save_bert(tmp_path / "a_masked_model")
    save_bert(tmp_path / "z_sentences", sentences=True)
    save_whisper(tmp_path / "listener")
    save_timm(tmp_path / "z_photos")
    language = transformers.GPT2Config(vocab_size=60, n_embd=16, n_layer=1, n_head=2, n_positions=64)
    transformers.GPT2LMHeadModel(language).save_pretrained(tmp_path / "a_language_model")
    write_tokenizer(tmp_path / "a_language_model")
    return tmp_path


def test_each_column_takes_what_fits(models: Path) -> None:
    text, why = resolve("text", models, ENGLISH)
    assert name_of(text) == "z_sentences"
    assert why.startswith("pretrained z_sentences (transformers, 0.0 million parameters), from the folder ")
    assert why.endswith("; frozen on a CPU")
    assert name_of(resolve("image", models)[0]) == "z_photos"
    assert name_of(resolve("video", models)[0]) == "z_photos"
    assert name_of(resolve("audio", models)[0]) == "listener"
    number, why = resolve("number", models)
    assert number.type == "number_mlp"
    assert "no pretrained backbones for numbers" in why


def test_a_masked_language_model_is_next_and_a_causal_one_never(models: Path) -> None:
    shutil.rmtree(models / "z_sentences")
    assert name_of(resolve("text", models, ENGLISH)[0]) == "a_masked_model"
    shutil.rmtree(models / "a_masked_model")
    config, why = resolve("text", models, ENGLISH)
    assert config == TextTransformerConfig()
    assert "a_language_model: it is a causal language model, which encodes no sentences" in why
    assert "listener: its inputs are no texts (preprocessor_config.json)" in why
    assert "z_photos: it is the timm model resnet10t, which takes images" in why


def test_a_causal_body_without_its_head_is_one_too(tmp_path: Path) -> None:
    settings = transformers.LlamaConfig(
        vocab_size=60, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    transformers.LlamaModel(settings).save_pretrained(tmp_path / "body")
    write_tokenizer(tmp_path / "body")
    config, why = resolve("text", tmp_path, ENGLISH)
    assert config == TextTransformerConfig()
    assert "body: it is a causal language model" in why


def test_one_model_may_be_named_instead_of_a_folder_of_some(models: Path) -> None:
    assert name_of(resolve("text", models / "a_masked_model", ENGLISH)[0]) == "a_masked_model"
    config, why = resolve("image", models / "a_masked_model")
    assert config == ResNetConfig()
    assert "a_masked_model: it has no preprocessor_config.json or processor_config.json" in why


def test_of_one_model_in_two_formats_timm_goes_first(tmp_path: Path) -> None:
    save_vit(tmp_path / "a_transformers")
    save_timm(tmp_path / "b_timm")
    assert name_of(resolve("image", tmp_path)[0]) == "b_timm"


def test_a_well_known_name_goes_first_then_fewer_parameters(tmp_path: Path) -> None:
    save_bert(tmp_path / "a_large", sentences=True, layers=3)
    save_bert(tmp_path / "b_small", sentences=True)
    assert name_of(resolve("text", tmp_path, ENGLISH)[0]) == "b_small"
    save_bert(tmp_path / "all-minilm-l6-v2", sentences=True, layers=3)
    assert name_of(resolve("text", tmp_path, ENGLISH)[0]) == "all-minilm-l6-v2"
    save_bert(tmp_path / "org" / "all-MiniLM-L6-v2", sentences=True)
    shutil.rmtree(tmp_path / "all-minilm-l6-v2")
    assert resolve("text", tmp_path, ENGLISH)[1].startswith("pretrained org/all-MiniLM-L6-v2 (")


def test_a_hub_cache_is_such_a_folder(tmp_path: Path) -> None:
    base = tmp_path / "models--org--some-bert"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text("abc")
    save_bert(base / "snapshots" / "abc")
    config, why = resolve("text", tmp_path, ENGLISH)
    assert config == PretrainedConfig(path=str(base / "snapshots" / "abc"), pool_to="auto")
    assert why.startswith("pretrained org/some-bert (")


def test_a_vocabulary_must_know_the_language(tmp_path: Path) -> None:
    save_bert(tmp_path / "english", sentences=True)
    save_bert(tmp_path / "german")
    write_tokenizer(tmp_path / "german", GERMAN)
    assert name_of(resolve("text", tmp_path, ENGLISH)[0]) == "english"
    assert name_of(resolve("text", tmp_path, GERMAN)[0]) == "german"
    shutil.rmtree(tmp_path / "german")
    config, why = resolve("text", tmp_path, GERMAN)
    assert config == TextTransformerConfig()
    assert "english: its vocabulary does not know the language of these texts" in why
    settings = json.loads((tmp_path / "english" / "config.json").read_text())
    (tmp_path / "english" / "config.json").write_text(json.dumps({**settings, "vocab_size": 119_547}))
    assert name_of(resolve("text", tmp_path, GERMAN)[0]) == "english"


def test_a_tokenizers_own_padding_counts_nowhere(tmp_path: Path) -> None:
    save_bert(tmp_path / "german")
    write_tokenizer(tmp_path / "german", GERMAN)
    plain = json.loads((tmp_path / "german" / "tokenizer.json").read_text())
    strategy = {"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": None}
    plain["padding"] = {**strategy, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    (tmp_path / "german" / "tokenizer.json").write_text(json.dumps(plain))
    assert name_of(resolve("text", tmp_path, GERMAN)[0]) == "german"


def broken_json(folder: Path) -> str:
    (folder / "config.json").write_text("{")
    return "config.json can't be read"


def no_weights(folder: Path) -> str:
    (folder / "model.safetensors").unlink()
    return "holds no weights"


def cut_weights(folder: Path) -> str:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    return "the weights in model.safetensors can't be read"


def a_pointer(folder: Path) -> str:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    return "it is a Git LFS pointer"


def no_kind(folder: Path) -> str:
    (folder / "config.json").write_text('{"hidden_size": 3}')
    return "names neither a model_type"


def a_missing_shard(folder: Path) -> str:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    return "names model-1.safetensors, which is not there"


@pytest.mark.parametrize("break_it", [broken_json, no_weights, cut_weights, a_pointer, no_kind, a_missing_shard])
def test_a_broken_folder_is_passed_over_or_named(break_it: Any, tmp_path: Path, caplog: Any) -> None:
    save_bert(tmp_path / "a_broken", sentences=True)
    save_bert(tmp_path / "b_good")
    problem = break_it(tmp_path / "a_broken")
    assert name_of(resolve("text", tmp_path, ENGLISH)[0]) == "b_good"
    assert f"{tmp_path / 'a_broken'} is passed over: " in caplog.text
    assert problem in caplog.text
    assert caplog.text.count("is passed over") == 1
    with pytest.raises(WeightsError, match=problem):
        resolve("text", tmp_path / "a_broken", ENGLISH)


def test_code_of_a_folder_is_not_run_and_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    folder = tmp_path / "hostile"
    save_bert(folder)
    settings = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "code.Settings", "AutoModel": "code.Model"}
    (folder / "config.json").write_text(json.dumps({**settings, "model_type": "mine", "auto_map": own}))
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    config, why = resolve("text", tmp_path, ENGLISH)
    assert config == TextTransformerConfig()
    assert "hostile: can't load AutoConfig" in why
    assert "runs no code that comes with a model" in why
    assert not (tmp_path / "ran").exists()


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    save_bert(tmp_path / "odd")
    settings = json.loads((tmp_path / "odd" / "config.json").read_text())
    (tmp_path / "odd" / "config.json").write_text(json.dumps({**settings, "model_type": "unheard_of"}))
    config, why = resolve("text", tmp_path, ENGLISH)
    assert config == TextTransformerConfig()
    assert "odd: can't load AutoConfig" in why
    assert "unheard_of" in why


def test_settings_of_any_kind_are_passed_over(tmp_path: Path) -> None:
    save_bert(tmp_path / "odd")
    settings = json.loads((tmp_path / "odd" / "config.json").read_text())
    for changes in ({"model_type": ["bert"]}, {"architectures": {"a": 1}, "model_type": 3}, {"vocab_size": "many"}):
        (tmp_path / "odd" / "config.json").write_text(json.dumps({**settings, **changes}))
        config, why = resolve("text", tmp_path, GERMAN)
        assert config == TextTransformerConfig()
        assert "odd: " in why


def test_folders_with_nothing(tmp_path: Path) -> None:
    config, why = resolve("audio", tmp_path)
    assert config == AudioCNNConfig()
    assert f"the folder {tmp_path.name} holds no audio backbone (it holds no model's folder" in why
    with pytest.raises(
        WeightsError, match="no such folder; pretrained is auto, download or off, or a folder of models"
    ):
        survey(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(WeightsError, match="is a file"):
        resolve("audio", tmp_path / "file")


def test_the_variable_names_a_folder_or_says_off(models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))
    config, why = resolve("audio", "auto")  # the tests' own `off`
    assert config == AudioCNNConfig()
    assert why == "audio_cnn, trained from scratch: POLYSENSE_PRETRAINED is off"
    monkeypatch.setenv("POLYSENSE_PRETRAINED", str(models))
    config, why = resolve("audio", "auto")
    assert name_of(config) == "listener"
    assert f"from the folder {models.name} that POLYSENSE_PRETRAINED names" in why
    config, why = resolve("audio", "off")
    assert why == "audio_cnn, trained from scratch: pretrained is off"
    shutil.rmtree(models / "listener")
    _, why = resolve("audio", "auto")
    assert "that POLYSENSE_PRETRAINED names holds no audio backbone" in why
    assert "the local Hugging Face cache holds none of" in why


def test_a_download_that_fails_is_said_and_trains_from_scratch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: Any
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config, why = resolve("audio", "download")
    assert config == AudioCNNConfig()
    assert "openai/whisper-tiny can't be downloaded" in why
    assert "openai/whisper-tiny can't be downloaded" in caplog.text


def test_a_download_says_its_size_and_takes_no_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: Any
) -> None:
    import huggingface_hub
    from huggingface_hub.hf_api import ModelInfo

    save_whisper(tmp_path / "there")
    sizes = {"config.json": 1000, "model.safetensors": 151_000_000, "pytorch_model.bin": 151_000_000, "code.py": 50}
    siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
    info = ModelInfo(id="openai/whisper-tiny", sha="abc", siblings=siblings, tags=[], downloads=0, likes=0)
    asked: dict[str, Any] = {}

    def fetch(name: str, **options: Any) -> str:
        assert "151 MB" in caplog.text, "the size is said before"
        asked.update(name=name, **options)
        return str(tmp_path / "there")

    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, **options: info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    caplog.set_level("INFO", logger="polysense")
    config, why = resolve("audio", "download")
    assert config == PretrainedConfig(path=str(tmp_path / "there"), pool_to="auto")
    assert why.startswith("pretrained openai/whisper-tiny (")
    assert "downloaded from the Hugging Face hub" in why
    assert asked == {
        "name": "openai/whisper-tiny", "revision": "abc", "allow_patterns": ["config.json", "model.safetensors"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("num_rows", "on_gpu", "tune", "why"),
    [
        (1_000_000, False, "frozen", "frozen on a CPU"),
        (4_999, True, "frozen", "frozen for fewer than 5,000 rows"),
        (5_000, True, 2, "its last 2 blocks tuned on a GPU with 5,000 rows"),
        (50_000, True, "full", "tuned on a GPU with 50,000 rows"),
    ],
)
def test_how_much_of_a_backbone_learns(tmp_path: Path, num_rows: int, on_gpu: bool, tune: Any, why: str) -> None:
    save_bert(tmp_path)
    config, reason = resolve("text", tmp_path, ENGLISH, num_rows=num_rows, on_gpu=on_gpu)
    assert isinstance(config, PretrainedConfig)
    assert config.tune == tune
    assert config.learning_rate_scale == 0.1
    assert reason.endswith(f"; {why}")


def test_what_is_chosen_can_be_built(models: Path) -> None:
    from polysense.modalities.text.record import TextColumn

    config, _ = resolve("text", models, ENGLISH)
    encoder = config.create(TextColumn(name="note", vocabulary_size=60), 8)
    assert not any(parameter.requires_grad for parameter in encoder.network.parameters())  # type: ignore[union-attr, operator]
    assert sum(parameter.numel() for parameter in encoder.parameters() if parameter.requires_grad) > 0
    assert torch.is_tensor(next(encoder.parameters()))
