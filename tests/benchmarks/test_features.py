"""The benchmark of features reads a table's own split and scores each kind of features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import features


@pytest.mark.slow
def test_a_texts_label_is_told_from_its_words(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    labels = ["apple", "pear", "plum"] * 30
    texts = [f"{chance.choice(['a', 'one', 'some'])} {label} here, number {i}" for i, label in enumerate(labels)]
    texts[4] = ""
    folder = tmp_path / "fruit"
    folder.mkdir()
    split = ["train", "train", "val", "test", "train"] * 18
    pl.DataFrame({"text": texts, "label": labels, "split": split}).write_csv(folder / "data.csv")
    trial = features.Trial(table="fruit", column="text", target="label", column_type="text", settings={})
    lines = [line.split(" | ") for line in features.measure(trial, tmp_path)]
    assert [line[1] for line in lines] == ["word_tfidf", "character_tfidf", "all of them"]
    assert all(float(line[3]) == 1.0 for line in lines), "the linear model of each"
