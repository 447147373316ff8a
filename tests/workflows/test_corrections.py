"""What is said of corrections of uneven classes: one in the plan, several in a warning that names them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_runs import SMALL

import polysense
from polysense.workflows.corrections import correction_lines, correction_warnings
from polysense.workflows.plan import plan_lines
from polysense.workflows.prepare import prepare


def table() -> pl.DataFrame:
    draws = np.random.default_rng(0)
    label = np.where(np.arange(120) % 6 == 0, "rare", "common")
    number = draws.normal(size=120) + (label == "rare")
    return pl.DataFrame({"x": number, "z": draws.normal(size=120), "label": label})


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ([], ()),
        (["class_weights=balanced"], ("class_weights: balanced",)),
        (["loss=focal"], ()),
        (["loss=logit_adjusted", "logit_adjustment=1"], ("loss: logit_adjusted (tau 1)", "logit_adjustment: 1")),
    ],
)
def test_the_plan_lists_them_and_several_are_warned_of(overrides: list[str], named: tuple[str, ...]) -> None:
    keys = [f"model.heads.label.head.{override}" for override in overrides]
    prepared = prepare(table(), target="label", overrides=keys)
    assert prepared.recipe.model.heads["label"].type == "ensemble"  # its experts' head is corrected
    plan = [line for line in plan_lines(prepared.recipe, {"train": prepared.table}) if "uneven" in line]
    assert plan == [f"plan: {line}" for line in correction_lines(prepared.recipe)]
    assert len(plan) == bool(named)
    warnings = correction_warnings(prepared.recipe)
    assert len(warnings) == (len(named) > 1)
    for text in (*plan, *warnings):
        assert ", ".join(named) in text


def test_a_run_warns_and_the_bundle_keeps_the_correction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = ["model.heads.label={type: classification, class_weights: balanced, logit_adjustment: 1}"]
    with caplog.at_level(logging.WARNING):
        run = polysense.fit(
            table()[["x", "label"]], target="label", output=tmp_path / "run", overrides=[*SMALL, *keys], progress=False
        )
    assert "2 corrections of uneven classes at once: class_weights: balanced, logit_adjustment: 1" in caplog.text
    assert run.training.monitored == ("label/balanced_accuracy",)
    bundle = polysense.load(tmp_path / "run")
    corrected = bundle.predict(table()[["x"]]).frame
    assert (corrected["label"] == "rare").mean() > 0.3
