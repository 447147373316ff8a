"""Simple models beside a network: from a table to predictions of the saved bundle, resumed and without scikit-learn."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import polysense

OVERRIDES = [
    "model.width=16",
    "training.batch_size=32",
    "training.tensorboard=false",
    "training.early_stopping=null",
    "training.schedule.type=constant",
    "training.schedule.warmup=0.0",
    "evaluation.bootstrap=20",
    "data.split.test=0.2",
]
WEIGHTS = "bundle/weights.safetensors"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A number whose distance from 5 counts, which trees see and a line does not; and a note that says more."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("distance") / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["width", "color", "note", "label"])
        for index in range(240):
            width, color = generator.uniform(0, 10), str(generator.choice(["red", "green", "blue"]))
            good = abs(width - 5) < 2 if color != "blue" else generator.random() < 0.5
            note = f"it is {'fine' if good == (generator.random() < 0.9) else 'poor'} work number {index}"
            writer.writerow(["" if index % 17 == 0 else f"{width:.3f}", color, note, "yes" if good else "no"])
    return path


def train(table: Path, folder: Path, epochs: int) -> polysense.Run:
    overrides = [*OVERRIDES, f"training.epochs={epochs}"]
    columns = {"note": "text"}
    return polysense.fit(
        table, target="label", columns=columns, output=folder, preset="fast", overrides=overrides, progress=False
    )


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> polysense.Run:
    return train(table, tmp_path_factory.mktemp("estimators") / "run", 2)


def test_two_epochs_of_a_network_are_no_worse_than_simple_models(run: polysense.Run) -> None:
    assert run.evaluations["test"].as_flat()["label/accuracy"] > 0.7
    recipe = polysense.load_recipe(run.folder / "recipe.yaml")
    assert recipe.data.features
    assert "estimators" in (run.folder / "recipe.yaml").read_text(encoding="utf-8")


def test_a_loaded_bundle_predicts_the_same_without_scikit_learn(
    run: polysense.Run, table: Path, tmp_path: Path
) -> None:
    expected, written = tmp_path / "expected.jsonl", tmp_path / "predictions.jsonl"
    run.bundle.predict(table).write(expected)
    code = (
        "import sys, polysense\n"
        "polysense.load(sys.argv[1]).predict(sys.argv[2]).write(sys.argv[3])\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] == 'sklearn'))\n"
    )
    arguments = [sys.executable, "-c", code, str(run.folder), str(table), str(written)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert result.stdout.strip().splitlines()[-1] == "[]"
    assert written.read_bytes() == expected.read_bytes()


def test_a_resumed_run_has_the_same_files(run: polysense.Run, table: Path, tmp_path: Path) -> None:
    part = train(table, tmp_path / "part", 1)
    resumed = polysense.fit(part.folder, resume=True, overrides=["training.epochs=2"], progress=False)
    assert (resumed.folder / WEIGHTS).read_bytes() == (run.folder / WEIGHTS).read_bytes()
    assert resumed.metrics == run.metrics
