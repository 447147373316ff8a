"""Preferences and rewards from a table to a bundle: what is resumed is as if never stopped, what is logged is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import polysense
from polysense.cli.app import main

COLORS = ("red", "green", "blue")
SETTINGS = [
    "model.width=16", "training.schedule=constant", "training.tensorboard=false", "evaluation.bootstrap=0",
    "evaluation.simple_baselines=false", "evaluation.contribution=false", "evaluation.generated_rows=8",
    "training.early_stopping=null", "data.split={type: fraction, validation: 0.2, test: 0.2}", "audit=off",
    "data.targets.say.tokens=words", "data.targets.say.min_frequency=1",
]  # fmt: skip
START = "init_from.parts=[encoders.color, fusion, heads.say]"
COLUMNS = {"color": "category", "say": "generation", "worse": "ignored"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preferences")
    rows = [
        {"color": color, "say": f"the {color} one", "worse": f"well it is {color}" if i % 3 else None}
        for i in range(20)
        for color in COLORS
    ]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def written(table: Path) -> Path:
    folder = table.parent / "written"
    overrides = [*SETTINGS, "training.epochs=8", "training.optimizer.lr=0.01"]
    polysense.fit(table, target="say", columns=COLUMNS, output=folder, overrides=overrides, progress=False)
    return folder


def train(table: Path, start: Path, folder: Path, *overrides: str, **options: Any) -> polysense.Run:
    return polysense.fit(
        table, target="say", columns=COLUMNS, output=folder, init_from=start,
        overrides=[*SETTINGS, START, *overrides], progress=False, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    "objective",
    [
        ["data.targets.say.rejected=worse", "model.objectives.more.type=preference"],
        [
            "model.objectives.more.type=policy_gradient",
            "model.objectives.more.reward={type: text_metric, metric: token_f1}",
        ],
    ],
    ids=["preference", "policy_gradient"],
)
def test_a_resumed_run_has_the_reference_of_its_start(
    table: Path, written: Path, tmp_path: Path, objective: list[str]
) -> None:
    whole = train(table, written, tmp_path / "whole", *objective, "training.epochs=2")
    train(table, written, tmp_path / "part", *objective, "training.epochs=1")
    resumed = train(table, written, tmp_path / "part", *objective, "training.epochs=2", resume=True)
    assert resumed.training.epochs == 2
    expected, given = whole.bundle.model.state_dict(), resumed.bundle.model.state_dict()
    assert expected.keys() == given.keys()
    assert all(torch.equal(expected[name], given[name]) for name in expected)
    assert [record["heads"] for record in resumed.training.history] == [
        record["heads"] for record in whole.training.history
    ]
    page = (tmp_path / "whole" / "report.html").read_text(encoding="utf-8")
    for name in whole.bundle.model.logged:
        assert f"{name} by epoch" in page
    sizes = [
        sum(file.stat().st_size for file in (each / "bundle").rglob("*.safetensors"))
        for each in (written, whole.folder)
    ]
    assert sizes[1] < 1.05 * sizes[0], "no second copy of the model is saved"


def test_a_planted_hack_is_stopped(table: Path, written: Path, tmp_path: Path) -> None:
    """A reward for each word makes texts long and wrong; what is monitored is whether they are right."""
    run = train(
        table, written, tmp_path / "hack", "model.heads.say.loss_weight=0", "training.epochs=30",
        "model.objectives.more={type: policy_gradient, reward: {type: rule, per_word: 1}, kl: 0, max_new_tokens: 12}",
        "training.optimizer.lr=0.02", "training.monitor=say/token_f1",
    )  # fmt: skip
    assert run.training.stop_reason is not None
    assert "more/reward grew" in run.training.stop_reason
    assert run.training.epochs < 30


def test_the_command_line(table: Path, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["train", str(table), "--target", "say", "-c", "say=generation", "-c", "worse=ignored", *SETTINGS]
    objective = ["model.objectives.more.type=policy_gradient", "training.epochs=1"]
    assert main([*line, *objective, "-o", str(tmp_path / "nothing")]) != 0
    assert "expected a trained model to start from" in capsys.readouterr().err
    # The rejected texts are no input.
    line = ["train", str(table), "--target", "say", "-c", "say=generation", "data.targets.say.rejected=worse"]
    assert main([*line, *SETTINGS, "training.epochs=1", "-o", str(tmp_path / "leak")]) != 0
    assert "'worse' is also a target" in capsys.readouterr().err


def test_a_bundle_judges(table: Path, written: Path, tmp_path: Path, trained: Callable[[str], polysense.Run]) -> None:
    """A regression bundle of the text's length raises the length."""
    rows = [
        {"text": " ".join(["the"] * count + [color]), "words": count + 0.1 * i}
        for i in range(4)
        for count in range(1, 9)
        for color in COLORS
    ]
    judge = polysense.fit(
        rows, target="words", output=tmp_path / "judge", progress=False,
        overrides=["training.epochs=1", "evaluation.bootstrap=0", "training.tensorboard=false", "audit=off"],
    )  # fmt: skip
    reward = f"{{type: bundle, path: {judge.folder}, column: text, output: words}}"
    run = train(
        table, written, tmp_path / "judged", "training.epochs=1",
        f"model.objectives.more={{type: policy_gradient, reward: {reward}}}",
    )  # fmt: skip
    assert run.training.history[0]["heads"]["more/reward"] != 0
