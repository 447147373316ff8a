"""Speech recognition, from recordings to a bundle and back: letters are tones, and words are written."""

from __future__ import annotations

import itertools
import json
import logging
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import polysense
from polysense import api
from polysense.errors import ConfigError

TONES = {"a": 400, "b": 900, "c": 1600, "d": 2600}
WORDS = ("abc", "bad", "cab", "dab", "add", "baa", "cad", "dad")
SMALL = [
    "model.width=32",
    "model.encoders.sound.num_layers=1",
    "model.encoders.sound.channels=8",
    "model.encoders.sound.num_mels=40",
    "model.encoders.sound.dropout=0",
    "model.encoders.sound.max_frequency_warp=0",
    "model.heads.said.dropout=0",
    "model.heads.said.label_smoothing=0",
    "model.heads.said.num_layers=1",
    "training.batch_size=8",
    "training.optimizer.lr=0.004",
    "training.tensorboard=false",
    "training.ema=null",
    "evaluation.bootstrap=0",
    "data.modality_dropout=0",
    "data.transforms={}",
    "data.split.validation=0",
]


def speak(path: Path, word: str, seed: int) -> None:
    """A tone for each letter, of 120 to 200 ms, with a pause after it."""
    generator, pieces = np.random.default_rng(seed), [np.zeros(400)]
    for letter in word:
        time = np.arange(generator.integers(960, 1600)) / 8000
        pieces += [np.sin(2 * np.pi * TONES[letter] * generator.uniform(0.97, 1.03) * time), np.zeros(400)]
    samples = np.concatenate(pieces)
    samples = 8000 * (samples + 0.01 * generator.standard_normal(len(samples)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.astype("<i2").tobytes())


def spoken(folder: Path, num_rows: int, seed: int = 0, words: Sequence[str] = WORDS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(num_rows):
        said = words[index % len(words)]
        speak(folder / f"{index}.wav", said, seed + index)
        rows.append({"sound": f"{index}.wav", "said": said})
    (folder / "table.json").write_text(json.dumps(rows))
    return folder / "table.json"


def test_words_are_learned_and_written_in_every_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = spoken(tmp_path / "train", 48)
    with caplog.at_level(logging.INFO, logger="polysense"):
        run = polysense.fit(
            table,
            target="said",
            columns={"said": "generation"},
            output=tmp_path / "run",
            overrides=[*SMALL, "training.epochs=16"],
            progress=False,
        )
    assert "a language model of" in caplog.text
    fresh = spoken(tmp_path / "test", 16, seed=1000)
    loaded = polysense.load(tmp_path / "run")
    for decoding in (None, "best_path", "prefix_beam", ["decoding.language_model_weight=0"], "beam"):
        scores = api.evaluate(loaded, fresh, bootstrap=0, decoding=decoding)
        assert scores.evaluation.value("said", "cer") < 0.15, decoding
        assert scores.evaluation.value("said", "wer") < 0.4, decoding
        assert scores.baselines["shuffled inputs"].value("said", "wer") > 0.6
    # Loaded, the language model too, in another order, and one at a time: the same bits.
    found = run.bundle.predict(fresh).frame
    again = loaded.predict(pl.read_json(fresh).reverse(), root=fresh.parent).frame
    assert again.reverse().drop("row").equals(found.drop("row"))
    alone = loaded.predict({"sound": "3.wav"}, root=fresh.parent).frame
    assert alone.drop("row").equals(found[3:4].drop("row"))
    both = loaded.predict(fresh, decoding={"type": "prefix_beam", "num_texts": 3}).frame
    assert both["said_alternatives"].list.len().max() == 2
    # No recording: the frames say nothing.
    nothing = loaded.predict([{"sound": None}, {"sound": "nowhere.wav"}], root=fresh.parent, decoding="best_path").frame
    assert nothing["said"].to_list() == ["", ""]


@pytest.mark.slow
def test_words_that_were_never_seen_are_written(tmp_path: Path) -> None:
    """As the preset decides how to write: the language model, which knows other words only, must not forbid them."""
    words = ["".join(letters) for length in (2, 3, 4) for letters in itertools.product(TONES, repeat=length)]
    order = np.random.default_rng(0).permutation(len(words))
    known, unseen = [words[i] for i in order[40:]], [words[i] for i in order[:40]]
    run = polysense.fit(
        spoken(tmp_path / "train", 240, words=known),
        target="said",
        columns={"said": "generation"},
        output=tmp_path / "run",
        overrides=[*SMALL, "training.batch_size=16", "training.epochs=14", "model.heads.said.label_smoothing=0.1"],
        progress=False,
    )
    fresh = spoken(tmp_path / "test", 40, seed=9999, words=unseen)
    for decoding in (None, ["decoding.language_model_weight=0"], "best_path", "prefix_beam"):
        assert api.evaluate(run.bundle, fresh, bootstrap=0, decoding=decoding).evaluation.value("said", "wer") < 0.15


def test_texts_that_are_too_long_are_said_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = spoken(tmp_path, 8)
    rows = json.loads(table.read_text())
    rows[5]["said"] = "abcd" * 30
    table.write_text(json.dumps(rows))
    with caplog.at_level(logging.WARNING, logger="polysense"):
        run = polysense.fit(
            table,
            target="said",
            columns={"said": "generation"},
            output=tmp_path / "run",
            overrides=[*SMALL, "training.epochs=2"],
            progress=False,
        )
    assert "training row 5 has 120 tokens and takes 120 frames" in caplog.text
    assert "1 training rows are too short for their texts" in caplog.text
    assert np.isfinite(api.evaluate(run.bundle, table, bootstrap=0).evaluation.value("said", "log_loss"))
    with pytest.raises(ConfigError, match="nowhere"):
        polysense.fit(
            table,
            target="said",
            columns={"said": "generation"},
            output=tmp_path / "other",
            overrides=[*SMALL, "model.heads.said.column=nowhere"],
            progress=False,
        )
