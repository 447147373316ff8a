"""Pretrained first, from the command to the bundle: what is chosen, where that is said, and what stays without it."""

from __future__ import annotations

import json
import shutil
import wave
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from backbone_folders import save_bert, save_language_model, save_recognizer, save_vit
from PIL import Image

import polysense
from polysense.errors import ConfigError, WeightsError
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.nn.pretrained import PretrainedConfig
from polysense.tasks.classification.heads.classification import ClassificationHeadConfig
from polysense.tasks.generation.heads.decoder import GenerationHeadConfig
from polysense.tasks.generation.heads.language_model import LanguageModelHeadConfig
from polysense.tasks.generation.heads.pretrained_decoder import PretrainedDecoderHeadConfig
from polysense.tasks.generation.heads.recognizer import RecognizerHeadConfig
from polysense.workflows.comparison.sweep import make_variants
from polysense.workflows.prepare import prepare, pretrained_override

WORDS = ["the cat sat on the mat", "it was not amused", "to be or not to be", "the mat was on it"]
QUICK = [
    "training.epochs=1", "training.tensorboard=false", "evaluation.bootstrap=20", "model.width=8",
]  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = {"note": [f"{WORDS[i % 4]} {'cat' if i % 3 else 'mat'}" for i in range(40)], "label": list("ab") * 20}
    path = tmp_path / "data" / "t.csv"
    path.parent.mkdir()
    pl.DataFrame(rows).write_csv(path)
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    save_bert(tmp_path / "models" / "sentences", sentences=True)
    return tmp_path / "models"


KINDS = {"note": "text"}


def test_a_run_says_what_it_took_and_needs_it_no_more(
    table: Path, models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="polysense")
    run = polysense.fit(
        table,
        target="label",
        columns=KINDS,
        output=tmp_path / "run",
        pretrained=models,
        overrides=QUICK,
        progress=False,
    )
    reason = "pretrained sentences (transformers, 0.0 million parameters), from the folder models; frozen on a CPU"
    assert f"column 'note': {reason}" in caplog.text
    assert run.bundle.info["encoders"] == {"note": reason}
    card = (tmp_path / "run" / "bundle" / "README.md").read_text()
    assert "pretrained sentences" in card
    assert "pretrained sentences" in (tmp_path / "run" / "report.html").read_text()
    # The recipe holds what was chosen, so that resuming looks for nothing.
    again = polysense.fit(tmp_path / "run", resume=True, progress=False)
    assert again.bundle.info["encoders"] == {"note": reason}
    before = polysense.predict(run.bundle, table).frame
    shutil.rmtree(models)
    after = polysense.predict(tmp_path / "run", table).frame
    assert after.equals(before)


def test_a_recipe_names_it_from_its_own_folder(table: Path, models: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "pretrained: ./models\n"
        "data:\n  table: data/t.csv\n  columns: {note: text}\n  targets: {label: classification}\n"
        "model:\n  encoders: {note: auto}\n  heads: {label: classification}\n"
    )
    prepared = prepare(recipe)
    assert prepared.recipe.model.encoders["note"] == PretrainedConfig(path=str(models / "sentences"), pool_to="auto")
    assert prepared.recipe.pretrained == str(models)
    assert "pretrained: models\n" in prepared.recipe.relative_to(tmp_path).to_yaml()
    off = prepare(recipe, overrides=["pretrained=off"])
    assert off.recipe.model.encoders["note"] == TextTransformerConfig()
    assert off.encoders["note"] == "text_transformer, trained from scratch: pretrained is off"


def test_a_written_recipe_has_the_encoder_and_the_reason(table: Path, models: Path) -> None:
    text = polysense.api.new(table, "label", columns=KINDS, pretrained=models)
    assert "# pretrained sentences (transformers, 0.0 million parameters), from the folder models; frozen on" in text
    assert f"path: {models / 'sentences'}\n" in text
    text = polysense.api.new(table, "label", columns=KINDS)
    assert "# text_transformer, trained from scratch: POLYSENSE_PRETRAINED is off\n" in text
    assert "\npretrained: auto\n" in text


def test_an_override_of_the_scratch_encoder_chooses_it(table: Path, models: Path) -> None:
    named = pretrained_override(models)
    own = prepare(table, target="label", columns=KINDS, overrides=[*named, "model.encoders.note.num_heads=2"])
    encoder = own.recipe.model.encoders["note"]
    assert isinstance(encoder, TextTransformerConfig)
    assert encoder.num_heads == 2
    tuned = prepare(table, target="label", columns=KINDS, overrides=[*named, "model.encoders.note.tune=full"])
    assert tuned.recipe.model.encoders["note"] == PretrainedConfig(
        path=str(models / "sentences"), tune="full", pool_to="auto"
    )
    typed = prepare(table, target="label", columns=KINDS, overrides=[*named, "model.encoders.note.type=text_cnn"])
    assert typed.recipe.model.encoders["note"].type == "text_cnn"
    assert typed.encoders == {}


def test_a_column_whose_encoder_is_frozen_is_augmented_on_request_only(table: Path, models: Path) -> None:
    def augmented(*overrides: str) -> list[str]:
        named = pretrained_override(models)
        return [*prepare(table, target="label", columns=KINDS, overrides=[*named, *overrides]).recipe.data.transforms]

    assert augmented() == []
    assert augmented("data.store=off") == ["note"]
    assert augmented("model.encoders.note.tune=full") == ["note"]
    assert augmented("data.transforms.note.probability=0.2") == ["note"]
    assert [*prepare(table, target="label", columns=KINDS).recipe.data.transforms] == ["note"]


def test_variants_may_differ_in_it(table: Path, models: Path) -> None:
    prepared = prepare(table, target="label", columns=KINDS)
    variants = make_variants(prepared.recipe, [("pretrained", ["off", str(models)])], prepared.vary)
    types = [variant.recipe.model.encoders["note"].type for variant in variants if variant.recipe is not None]
    assert types == ["text_transformer", "pretrained"]


def test_a_folder_of_which_nothing_is_used_is_warned_of(
    table: Path, models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(models / "sentences")
    prepared = prepare(table, target="label", columns=KINDS, overrides=pretrained_override(models))
    assert prepared.recipe.model.encoders["note"].type == "text_transformer"
    assert f"no column uses a model of {models}" in caplog.text
    assert "the folder models holds no text backbone (it holds no model's folder" in caplog.text


def test_what_names_no_folder_is_refused_before_the_table_is_read(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pretrained: names nothing"):
        polysense.fit(table, target="label", columns=KINDS, pretrained="")
    for named in ("Auto", "none", tmp_path / "nowhere"):
        with pytest.raises(WeightsError, match="no such folder; pretrained is auto, download or off, or a folder"):
            polysense.fit("no_table.csv", target="label", pretrained=named)


def test_a_recognizer_at_hand_writes_the_transcripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("POLYSENSE_CACHE", str(tmp_path / "cache"))
    caplog.set_level("INFO", "polysense")
    save_recognizer(tmp_path / "models" / "recognizer")
    rows = []
    for index in range(16):
        samples = (3000 * np.random.default_rng(index).standard_normal(4000)).astype("<i2")
        with wave.open(str(tmp_path / f"{index}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(samples.tobytes())
        rows.append({"sound": f"{index}.wav", "said": f"the {'red' if index % 2 else 'blue'} one is number {index}"})
    table = tmp_path / "rows.json"
    table.write_text(json.dumps(rows))
    columns = {"sound": "audio", "said": "generation"}
    scratch = prepare(table, target="said", columns={"sound": "audio"}, overrides=["pretrained=off"])
    assert scratch.recipe.model.heads["said"].type == "ctc_attention"
    assert scratch.encoders["said"] == (
        "ctc_attention, trained from scratch: no input column has a recognizer's encoder"
    )
    folder = tmp_path / "models"
    prepared = prepare(table, target="said", columns=columns, overrides=pretrained_override(folder))
    assert prepared.recipe.model.heads["said"] == PretrainedDecoderHeadConfig(
        path=str(folder / "recognizer"), column="sound"
    )
    assert prepared.encoders["said"] == "the decoder of recognizer, whose encoder column 'sound' has"
    assert (prepared.recipe.training.epochs, scratch.recipe.training.epochs) == (200, 600), "in steps of 8 rows"
    # An override of what only the one from scratch has is a vote for that one.
    voted = [*pretrained_override(folder), "model.heads.said.ctc_weight=0.5"]
    assert prepare(table, target="said", columns=columns, overrides=voted).recipe.model.heads["said"].ctc_weight == 0.5  # type: ignore[attr-defined]
    settings = ["training.epochs=1", "evaluation.bootstrap=0", "model.encoders.sound.padding=full"]

    def written(name: str, *overrides: str) -> pl.DataFrame:
        """What a model writes that was trained."""
        run = polysense.fit(
            table, target="said", columns=columns, pretrained=folder, output=tmp_path / name, progress=False,
            overrides=[*settings, *overrides],
        )  # fmt: skip
        frame = run.bundle.predict(rows, root=tmp_path).frame
        assert polysense.load(tmp_path / name).predict(rows, root=tmp_path).frame.equals(frame)
        return frame

    # The decoder's states come from the store of features or from the network: the same bits.
    stored = written("stored")
    assert any("'sound': frozen features of" in message for message in caplog.messages)
    page = (tmp_path / "stored" / "report.html").read_text()
    assert "head of said" in page
    assert "encoder of said" not in page
    assert written("live", "data.store=off").equals(stored)
    with pytest.raises(ConfigError, match="`recognizer` stands for another head"):
        RecognizerHeadConfig().requirements("said")
    with pytest.raises(ConfigError, match="scratch: classification writes no text"):
        RecognizerHeadConfig(scratch=ClassificationHeadConfig())


def test_a_language_model_at_hand_generates_captions(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("POLYSENSE_CACHE", str(tmp_path / "cache"))
    caplog.set_level("INFO", "polysense")
    models = tmp_path / "models"
    save_vit(models / "eye")
    rows = []
    captions = [f"the {color} one is number {i}" for i, color in enumerate(["red", "green", "blue", "yellow"] * 4)]
    save_language_model(models / "speaker", captions)
    for index, caption in enumerate(captions):
        color = caption.split()[1]
        Image.new("RGB", (32, 32), color).save(tmp_path / f"{index}.png")
        rows.append({"photo": f"{index}.png", "caption": [caption, f"the one is {color}"]})
    table = tmp_path / "rows.json"
    table.write_text(json.dumps(rows))
    kinds = {"photo": "image", "caption": "generation"}
    named = pretrained_override(models)
    head = prepare(table, target="caption", columns=kinds, overrides=named).recipe.model.heads["caption"]
    assert isinstance(head, LanguageModelHeadConfig)
    assert head.path == str(models / "speaker")
    scratch = prepare(table, target="caption", columns=kinds, overrides=["pretrained=off"])
    assert isinstance(scratch.recipe.model.heads["caption"], GenerationHeadConfig)
    assert scratch.encoders["caption"] == "generation, trained from scratch: pretrained is off"
    # An override of what only the one from scratch has is a vote for that one; of what both have, for neither.
    voted = prepare(table, target="caption", columns=kinds, overrides=[*named, "model.heads.caption.num_layers=3"])
    own = voted.recipe.model.heads["caption"]
    assert isinstance(own, GenerationHeadConfig)
    assert own.num_layers == 3
    settings = ["training.epochs=1", "evaluation.bootstrap=0"]
    run = polysense.fit(
        table, target="caption", columns=kinds, pretrained=models, output=tmp_path / "run", progress=False,
        overrides=settings,
    )  # fmt: skip
    assert "column 'caption': pretrained speaker (transformers, 0.0 million parameters)" in caplog.text
    assert any("'photo': frozen features of" in message for message in caplog.messages)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "head of caption" in page
    before = run.bundle.predict(rows, root=tmp_path).frame
    shutil.rmtree(models)
    assert polysense.load(tmp_path / "run").predict(rows, root=tmp_path).frame.equals(before)


def test_texts_of_texts_alone_start_from_no_language_model(table: Path, models: Path) -> None:
    save_language_model(models / "speaker")
    kinds = {"note": "text", "label": "generation"}
    head = prepare(table, target="label", columns=kinds, overrides=pretrained_override(models))
    assert isinstance(head.recipe.model.heads["label"], GenerationHeadConfig)
