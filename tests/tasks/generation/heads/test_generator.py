"""The choice of a text's head: a language model that is at hand, suits and is affordable; else one from scratch."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backbone_folders import save_bert, save_language_model, save_recognizer, save_timm

from polysense.errors import ConfigError
from polysense.modalities.image.encoders.resnet import ResNetConfig
from polysense.modalities.image.encoders.timm import TimmConfig
from polysense.nn.circumstances import Circumstances
from polysense.nn.decoding.beam import BeamSearchConfig
from polysense.nn.head import HeadConfig
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.generation.heads.decoder import GenerationHeadConfig
from polysense.tasks.generation.heads.generator import GeneratorHeadConfig
from polysense.tasks.generation.heads.language_model import LanguageModelHeadConfig

LanguageModel = Callable[[str], Path]
PHOTOS = {"photo": TimmConfig(name="resnet10t")}
SENTENCES = ["amused sat the cat", "the cat was not amused"] * 3


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Models that generate no text, and a language model among them."""
    root = tmp_path / "models"
    save_bert(root / "a_masked_model")
    save_recognizer(root / "a_recognizer")
    save_timm(root / "a_photo_model")
    save_language_model(root / "speaker")
    return root


def resolve(root: Path | str, cells: Any = (), encoders: Any = PHOTOS, **settings: Any) -> tuple[HeadConfig, str]:
    here = {name: settings.pop(name) for name in ("num_rows", "on_gpu") if name in settings}
    config = GeneratorHeadConfig(**settings)
    return config.resolve(encoders, Circumstances(pretrained=str(root), **here), cells)


def test_of_a_folder_of_models_the_causal_one_generates(models: Path) -> None:
    head, why = resolve(models)
    assert isinstance(head, LanguageModelHeadConfig)
    assert Path(head.path).name == "speaker"
    adapted = importlib.util.find_spec("peft") is not None
    assert head.tune == ("lora" if adapted else "frozen")
    assert why.startswith("pretrained speaker (transformers, ")
    assert why.endswith("from the folder models; " + ("frozen but for low-rank adapters" if adapted else "frozen"))


def test_the_decoders_strategy_and_exclusions_come_along(models: Path) -> None:
    scratch = GenerationHeadConfig(decoding=BeamSearchConfig(beam_size=3), exclude=("note",))
    config = GeneratorHeadConfig(scratch=scratch)
    head, _ = config.resolve(PHOTOS, Circumstances(pretrained=str(models)))
    assert head.strategy == BeamSearchConfig(beam_size=3)
    assert head.excluded == config.excluded == ("note",)


def test_without_one_it_is_trained_from_scratch_and_every_reason_is_said(models: Path) -> None:
    scratch = GenerationHeadConfig(num_layers=3)
    shutil.rmtree(models / "speaker")
    head, why = resolve(models, scratch=scratch)
    assert head == scratch
    assert why.startswith("generation, trained from scratch: the folder models holds no causal language model (")
    assert "a_masked_model: it is no causal language model (BertModel)" in why
    assert "a_recognizer: it is no causal language model (WhisperForConditionalGeneration)" in why
    assert "a_photo_model: it is the timm model resnet10t, which takes images" in why
    assert resolve("off", scratch=scratch) == (scratch, "generation, trained from scratch: pretrained is off")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"num_rows": 5_001}, "on a CPU a language model is too slow for more than 5,000 rows"),
        ({"encoders": {"photo": ResNetConfig()}}, "no input column has a pretrained encoder"),
    ],
)
def test_where_it_would_not_pay_it_is_left_out(models: Path, settings: dict[str, Any], reason: str) -> None:
    head, why = resolve(models, **settings)
    assert head.type == "generation"
    assert reason in why


def test_a_gpu_bears_many_rows(models: Path) -> None:
    assert resolve(models, num_rows=5_001, on_gpu=True)[0].type == "language_model"


def test_its_vocabulary_must_know_the_language_of_sentences(models: Path) -> None:
    assert resolve(models, SENTENCES)[0].type == "language_model"
    foreign = [["ein großer Hund läuft über die Wiese"], ["два кота спят на крыше дома"]] * 3
    head, why = resolve(models, foreign)
    assert head.type == "generation"
    assert "its vocabulary does not know the language of these texts" in why
    # Answers of a word say nothing of it.
    assert resolve(models, ["ja", "nein", None, 3])[0].type == "language_model"


def test_a_broken_one_is_passed_over(models: Path, language_model: LanguageModel) -> None:
    shutil.rmtree(models / "speaker")
    broken = models / "broken"
    broken.mkdir()
    for file in language_model("llama").iterdir():
        if file.name != "tokenizer.json":
            (broken / file.name).write_bytes(file.read_bytes())
    head, why = resolve(models)
    assert head.type == "generation"
    assert "broken: it has no tokenizer.json" in why
    settings = json.loads((broken / "config.json").read_text())
    (broken / "tokenizer.json").write_text("{}")
    (broken / "config.json").write_text(json.dumps({**settings, "model_type": "unheard_of"}))
    assert "broken: " in resolve(models)[1]


def test_a_path_names_one_whatever_is_at_hand(language_model: LanguageModel) -> None:
    path = str(language_model("gpt2"))
    head, why = resolve("off", encoders={}, path=path, tune="full", num_rows=9_999)
    assert head == LanguageModelHeadConfig(path=path, tune="full", connector="none")
    assert why == f"{path}, since path names it; tuned"


def test_a_choice_is_no_head() -> None:
    with pytest.raises(ConfigError, match="`generator` stands for another head"):
        GeneratorHeadConfig().requirements("caption")
    with pytest.raises(ConfigError, match="scratch: classification writes no text"):
        GeneratorHeadConfig(scratch=ClassificationHeadConfig())
