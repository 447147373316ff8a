"""The choice among published models, where POLYSENSE_REAL_WEIGHTS names a folder of some."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.image.encoders.timm import TimmConfig
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.nn.auto_encoder import AutoEncoderConfig
from polysense.nn.circumstances import Circumstances
from polysense.nn.encoder import EncoderConfig
from polysense.nn.pretrained import PretrainedConfig

pytestmark = pytest.mark.real_data

ENGLISH = ["the cat sat on the mat and it was not amused", "to be or not to be"] * 5
GERMAN = ["der Hund und die Katze sind nicht im Haus", "das ist ein Haus mit Garten"] * 5


@pytest.fixture
def weights() -> Path:
    folder = os.environ.get("POLYSENSE_REAL_WEIGHTS")
    if not folder:
        pytest.skip("POLYSENSE_REAL_WEIGHTS names no folder of pretrained models")
    return Path(folder)


def resolve(modality: str, root: Path, cells: list[str] | None = None) -> tuple[EncoderConfig, str]:
    return AutoEncoderConfig().resolve(modality, cells or (), Circumstances(pretrained=str(root)))


def test_each_modality_takes_its_model(weights: Path) -> None:
    text, why = resolve("text", weights, ENGLISH)
    assert text == PretrainedConfig(path=str(weights / "all-MiniLM-L6-v2"), pool_to="auto")
    assert why == (
        f"pretrained all-MiniLM-L6-v2 (transformers, 22.7 million parameters), from the folder {weights.name}; frozen "
        "on a CPU"
    )
    assert resolve("image", weights)[0] == TimmConfig(name=str(weights / "mobilenet_v2_timm"))
    assert resolve("audio", weights)[0] == PretrainedConfig(path=str(weights / "whisper-tiny-en"), pool_to="auto")


def test_english_vocabularies_are_not_for_german(weights: Path) -> None:
    config, why = resolve("text", weights, GERMAN)
    assert config == TextTransformerConfig()
    assert "all-MiniLM-L6-v2: its vocabulary does not know the language of these texts" in why
    assert "smollm2-135m-instruct: it is a causal language model" in why


def test_a_language_model_alone_serves_no_column(weights: Path) -> None:
    folder = weights / "smollm2-135m-instruct"
    assert resolve("text", folder, ENGLISH)[0] == TextTransformerConfig()
    assert resolve("audio", folder)[0] == AudioCNNConfig()
