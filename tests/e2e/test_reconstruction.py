"""Columns restored from one code, from a table to predictions."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from model_helpers import row_arrays
from PIL import Image

import polysense
from polysense import api
from polysense.errors import ColumnError, ConfigError
from polysense.training.step import Step

COLORS = {"red": (210, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "white": (230, 230, 230)}
SMALL = [
    "model.width=32",
    "training.tensorboard=false",
    "training.ema=null",
    "training.optimizer.lr=0.005",
    "evaluation.bootstrap=20",
    "evaluation.samples=2",
    "data.transforms={}",
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of one color with its name, a number and a place; the place is one with the number."""
    folder = tmp_path_factory.mktemp("colors")
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for index in range(64):
        name, rgb = list(COLORS.items())[index % 4]
        pixels = np.clip(np.array(rgb) + generator.normal(0, 5, (12, 12, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        place = index % 3
        number = 10 * place + generator.normal(0, 1)
        rows.append(
            {
                "photo": f"{index}.png",
                "text": f"a picture all {name}",
                "size": f"{number:.2f}",
                "place": ("north", "south", "east")[place],
                "split": "test" if index >= 48 else "train",
            }
        )
    rows[3]["photo"], rows[5]["text"], rows[50]["size"], rows[60]["photo"] = "nowhere.png", "", "", ""
    rows[7] |= dict.fromkeys(("photo", "text", "size", "place"), "")
    with (folder / "colors.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "colors.csv"


def test_it_beats_the_mean_predictor(trained: Callable[[str], polysense.Run]) -> None:
    run = trained("reconstruction")
    found = run.evaluations["test"]
    assert found.value("reconstruction", "skill") > 0.6
    assert run.baselines["test"]["constant"].value("reconstruction", "skill") == pytest.approx(0, abs=1e-6)
    # Each column from the others.
    assert found.value("reconstruction", "imputed_skill") > 0.3


def test_predictions_are_the_same_after_saving(trained: Callable[[str], polysense.Run]) -> None:
    run = trained("reconstruction")
    table = polysense.read_table(run.folder.parent / "data.csv").frame[:8].with_row_index()
    empty = pl.col("index") == 7
    frame = table.select(
        *(pl.when(empty | ((pl.col("index") == 3) & (name == "photo"))).then(None).otherwise(pl.col(name)).alias(name)
          for name in table.columns[1:])
    )  # fmt: skip
    loaded, root = polysense.load(run.folder), run.folder.parent
    one, other = run.bundle.predict(frame, root=root), loaded.predict(frame, root=root)
    assert one.frame.equals(other.frame)
    assert len(one) == 8
    errors = row_arrays(loaded, frame, "reconstruction", root)["errors"]
    assert np.isnan(errors[7]).all()
    members = run.bundle.schema.target("reconstruction").members
    assert np.isnan(errors[3]).tolist() == [name == "photo" for name in members]
    few = row_arrays(loaded, [{"note": "one", "price": None}], "reconstruction")
    assert np.isfinite(few[f"column_{members.index('price')}"]).all()


def test_micro_batches_change_nothing(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 x 8 and 4 x 2 rows a step, with cells hidden, masks and noise: the same losses and weights."""
    seen: list[list[float]] = [[], []]
    original = Step.__call__
    weights = []
    for index, accumulate in enumerate((1, 4)):

        def watched(self: Step, batches: Any, epoch: int, step: int, global_step: int, index: int = index) -> Any:
            result = original(self, batches, epoch, step, global_step)
            seen[index].append(float(result[0]))
            return result

        monkeypatch.setattr(Step, "__call__", watched)
        found = polysense.fit(
            table,
            task="reconstruction",
            columns={"text": "text"},
            preset="fast",
            output=tmp_path / str(index),
            overrides=[
                *SMALL,
                "training.epochs=1",
                "training.batch_size=8",
                f"training.accumulate={accumulate}",
                "model.heads.reconstruction={type: reconstruction, cell_mask_rate: 0.3, mask: 0.3, noise: 0.1, "
                "replace: 0.1}",
                *(f"model.{part}.dropout=0.0" for part in ("fusion", "encoders.text", "encoders.photo")),
            ],
            progress=False,
        )
        weights.append(found.bundle.model.state_dict())
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-3)
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-2, atol=2e-3, msg=name)


def test_some_columns_are_restored_from_all(table: Path) -> None:
    generated = api.new(table, ["photo"], task="reconstruction", columns={"text": "text"})
    assert "type: reconstruction" in generated
    with pytest.raises(ColumnError, match="'nobody' can't be reconstructed"):
        api.new(table, ["nobody"], task="reconstruction")
    with pytest.raises(ConfigError, match="retrieval, ranking and reconstruction"):
        api.new(table, None, task="generation")


@pytest.mark.slow
def test_two_processes_equal_one(table: Path, tmp_path: Path) -> None:
    """Missing cells, a missing file and hidden cells among them; each process has its own rows."""
    options = [
        str(table), "--task", "reconstruction", "-c", "text=text", "--preset", "fast", *SMALL, "training.epochs=2",
        "training.batch_size=16", "training.num_threads=1", "training.optimizer={type: sgd, lr: 0.05}",
        "data.num_workers=0", "model.fusion.dropout=0", "model.encoders.photo.dropout=0",
        "model.encoders.text.dropout=0", "evaluation.report=false", "evaluation.contribution=false",
    ]  # fmt: skip
    options.remove("training.optimizer.lr=0.005")
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
        torch.testing.assert_close(weights[1][name], tensor, rtol=0, atol=2e-6)
