"""The benchmark of uneven classes: every correction is a recipe's, and the rows of its table are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import imbalance
import polysense
from polysense.recipe import load_recipe


def table() -> pl.DataFrame:
    draws = np.random.default_rng(0)
    label = np.where(np.arange(120) % 6 == 0, "rare", "common")
    split = np.array(["train", "train", "train", "val", "test"])[np.arange(120) % 5]
    return pl.DataFrame({"x": draws.normal(size=120) + 3 * (label == "rare"), "label": label, "split": split})


def test_every_correction_is_one_of_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(polysense.new(table(), "label"), encoding="utf-8")
    variants = imbalance.variants("label")
    assert next(iter(variants)) == "nothing"
    heads = [load_recipe(recipe, [*imbalance.QUIET, *keys]).model.heads["label"] for keys in variants.values()]
    assert {head.type for head in heads} == {"classification"}
    assert len({(head, tuple(keys[1:])) for head, keys in zip(heads, variants.values(), strict=True)}) == len(variants)
    scores = imbalance.measure(
        str(recipe), table(), "label", ["training.epochs=2", *variants["class_weights: balanced"]], seed=0
    )
    assert set(scores) == {*imbalance.METRICS, "rare", "seconds"}
    assert 0 <= scores["rare"] <= 1


def test_gains_are_paired() -> None:
    keys = (*imbalance.METRICS, "rare", "seconds")
    plain = [dict.fromkeys(keys, value) for value in (0.1, 0.5, 0.9)]
    other = [dict.fromkeys(keys, value) for value in (0.2, 0.6, 1.0 + 1e-6)]
    cells = imbalance.line("x", other, plain).split(" | ")
    assert cells[1] == "0.600"
    assert cells[7] == "+0.100 (+0.100 to +0.100)"
    assert imbalance.line("x", plain, plain).count("(") == 0
    with pytest.raises(ValueError, match="zip"):
        imbalance.line("x", plain[:2], plain)
