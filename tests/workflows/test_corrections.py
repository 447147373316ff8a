"""What is said of corrections of uneven classes: one in the plan, several in a warning that names them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from small_runs import SMALL

import polysense
from polysense.core.batch import Batch
from polysense.errors import ConfigError, TrainingInterrupted
from polysense.training.step import Step
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
        (["training.sampler=square_root"], ("training.sampler: square_root",)),
        (
            ["training.sampler=class_balanced", "class_weights=balanced"],
            ("training.sampler: class_balanced", "class_weights: balanced"),
        ),
        (["loss=logit_adjusted", "logit_adjustment=1"], ("loss: logit_adjusted (tau 1)", "logit_adjustment: 1")),
    ],
)
def test_the_plan_lists_them_and_several_are_warned_of(overrides: list[str], named: tuple[str, ...]) -> None:
    keys = [each if "." in each else f"model.heads.label.head.{each}" for each in overrides]
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


def test_a_sampler_draws_rare_rows_more_often(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = [
        "model.heads.label={type: classification}",
        "training.sampler=class_balanced",
        "training.accumulate=2",
        "training.batching.type=tokens",
    ]
    with caplog.at_level(logging.INFO, logger="polysense"):
        run = polysense.fit(table(), target="label", output=tmp_path / "run", overrides=[*SMALL, *keys], progress=False)
    # 108 of 120 rows are trained on, 18 of them rare: each class is drawn 54 times.
    assert "draws each of the 18 rows of 'rare' 3 times, and each of the 90 of 'common' 0.6 times" in caplog.text
    assert run.training.monitored == ("label/balanced_accuracy",)


def test_a_target_without_classes_has_no_sampler(tmp_path: Path) -> None:
    rows = table().with_columns(y=pl.col("x") * 2 + pl.col("z"))[["x", "z", "y"]]
    with pytest.raises(ConfigError, match="whose rows have no classes to draw them by"):
        polysense.fit(
            rows, target="y", output=tmp_path / "run", overrides=[*SMALL, "training.sampler=class_balanced"],
            progress=False,
        )  # fmt: skip


def test_mixup_is_the_same_however_batches_are_cut(tmp_path: Path) -> None:
    holes = table().with_columns(z=pl.when(pl.int_range(120) % 4 == 0).then(None).otherwise(pl.col("z")))
    keys = ["model.heads.label={type: classification}", "training.mixup=0.4", "training.sampler=square_root"]
    predictions = []
    for name, more in (("plain", []), ("cut", ["training.accumulate=4", "data.num_workers=1"])):
        run = polysense.fit(
            holes, target="label", output=tmp_path / name, overrides=[*SMALL, *keys, *more, "data.modality_dropout=0",
            "model.heads.label.dropout=0"], progress=False,
        )  # fmt: skip
        predictions.append(run.bundle.predict(holes[["x", "z"]]).frame)
    first, second = (each["label_probability"].to_numpy() for each in predictions)
    assert np.isfinite(first).all()
    assert first == pytest.approx(second, abs=1e-3)


def test_a_stopped_run_with_a_sampler_and_mixup_is_resumed_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [
        *SMALL,
        "model.heads.label={type: classification}",
        "training.epochs=2",
        "training.mixup=0.4",
        "training.sampler=class_balanced",
    ]
    whole = polysense.fit(table(), target="label", output=tmp_path / "whole", overrides=keys, progress=False)
    make_step, steps = Step.__call__, []

    def stopped(self: Step, batches: list[Batch], epoch: int, step: int, global_step: int) -> object:
        steps.append((epoch, step))
        if len(steps) == 10:  # of 7 steps an epoch, so in the middle of the second
            os.kill(os.getpid(), signal.SIGINT)
        return make_step(self, batches, epoch, step, global_step)

    monkeypatch.setattr(Step, "__call__", stopped)
    with pytest.raises(TrainingInterrupted):
        polysense.fit(table(), target="label", output=tmp_path / "cut", overrides=keys, progress=False)
    resumed = polysense.fit(tmp_path / "cut", data=table(), resume=True, progress=False)
    assert steps[9:11] == [(1, 2), (1, 3)]
    expected = whole.bundle.model.state_dict()
    for name, value in resumed.bundle.model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_mixup_of_what_can_not_be_mixed_is_refused(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {"x": np.arange(60.0) ** 2 % 7, "text": [f"a sentence of words number {i} is here" for i in range(60)]}
    )
    with pytest.raises(ConfigError, match=r"training\.mixup: the head of target 'text' can't learn from mixed rows"):
        polysense.fit(
            rows, target="text", output=tmp_path / "run", overrides=[*SMALL, "training.mixup=0.2"], progress=False,
            columns={"text": "generation"},
        )  # fmt: skip


@pytest.mark.slow
def test_two_processes_draw_and_mix_as_one_does(tmp_path: Path) -> None:
    """Each process has its own rows; their partners are rows of the whole epoch, whichever process has them."""
    holes = table().with_columns(z=pl.when(pl.int_range(120) % 4 == 0).then(None).otherwise(pl.col("z")))
    holes.write_csv(tmp_path / "table.csv")
    options = [
        str(tmp_path / "table.csv"), "--target", "label", *SMALL, "training.epochs=3", "training.num_threads=1",
        "training.optimizer={type: sgd, lr: 0.05}", "training.mixup=0.4", "training.sampler=class_balanced",
        "model.heads.label={type: classification, dropout: 0, class_weights: balanced, class_weights_from: 0.5}",
        "model.fusion.dropout=0",
    ]  # fmt: skip
    weights = []
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    for name, launch in (("one", ["-m"]), ("two", together)):
        done = subprocess.run(
            [sys.executable, *launch, "polysense", "train", *options, "-o", str(tmp_path / name)],
            capture_output=True, text=True, timeout=280, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        weights.append(dict(polysense.load(tmp_path / name).model.state_dict()))
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0, atol=2e-6, msg=name)
