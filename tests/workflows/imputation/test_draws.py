"""Cells drawn from a variational model: rows of a label alone become made-up rows of that class, each another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import polysense
from polysense.cli.app import main
from polysense.errors import ConfigError

SMALL = [
    "model.width=32", "training.epochs=16", "training.batch_size=16", "training.tensorboard=false",
    "evaluation.bootstrap=0", "evaluation.report=false", "evaluation.samples=0", "data.split.test=0.1",
]  # fmt: skip
HEAD = "model.heads.reconstruction={{type: reconstruction, memory: code, cell_mask_rate: 0.4, variational: {}}}"


def table(num_rows: int = 240) -> pl.DataFrame:
    draws = np.random.default_rng(0)
    label = np.where(np.arange(num_rows) % 3 == 0, "low", "high")
    x = np.where(label == "low", -4.0, 4.0) + draws.normal(size=num_rows)
    return pl.DataFrame({"x": x, "y": x + 0.3 * draws.normal(size=num_rows), "label": label})


def trained(folder: Path, variational: bool, *more: str) -> polysense.Run:
    return polysense.fit(
        table(), task="reconstruction", output=folder, progress=False,
        overrides=[*SMALL, HEAD.format(str(variational).lower()), *more],
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> polysense.Run:
    return trained(tmp_path_factory.mktemp("run"), True)


def requested() -> pl.DataFrame:
    label = ["low"] * 40 + ["high"] * 40
    return pl.DataFrame(
        {"x": [None] * 80, "y": [None] * 80, "label": label}, schema_overrides={"x": pl.Float64, "y": pl.Float64}
    )


def test_rows_of_a_label_alone_become_different_rows_of_its_class(run: polysense.Run) -> None:
    mean = polysense.impute(run.bundle, requested()).frame
    assert mean["x"].n_unique() == 2  # one for each label
    first, again, other = (polysense.impute(run.bundle, requested(), draw=seed).frame for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first["x"].equals(other["x"])
    assert first["x"].n_unique() == 80
    assert first["label"].equals(requested()["label"])
    low, high = (first.filter(pl.col("label") == name) for name in ("low", "high"))
    assert (low["x"] < 0).mean() > 0.9
    assert (high["x"] > 0).mean() > 0.9
    # The columns of a row belong together: one code decides both.
    for rows in (low, high):
        assert np.corrcoef(rows["x"], rows["y"])[0, 1] > 0.5


def test_a_rows_draw_is_its_number_s_and_no_other_row_s(run: polysense.Run) -> None:
    whole = polysense.impute(run.bundle, requested(), draw=3).frame
    fewer = polysense.impute(run.bundle, requested().head(7), draw=3).frame
    assert fewer.equals(whole.head(7))
    there = requested().with_columns(x=pl.when(pl.int_range(80) == 5).then(1.25).otherwise(pl.col("x")))
    assert polysense.impute(run.bundle, there, draw=3).frame["x"][5] == 1.25


def test_the_command_draws(run: polysense.Run, tmp_path: Path) -> None:
    requested().write_csv(tmp_path / "requested.csv")
    arguments = ["impute", str(run.folder), str(tmp_path / "requested.csv"), "--draw", "0"]
    assert main([*arguments, "-o", str(tmp_path / "made.csv")]) == 0
    made = pl.read_csv(tmp_path / "made.csv")
    assert made["x"].n_unique() > 60
    assert made["imputed"].n_unique() == 1


def test_a_model_without_a_distribution_is_refused(tmp_path: Path) -> None:
    run = trained(tmp_path, False, "training.epochs=1")
    with pytest.raises(ConfigError, match=r"no distribution to draw from.*reconstruction\.variational=true"):
        polysense.impute(run.bundle, requested(), draw=0)
