"""Things with masks from a table to a bundle and back: learned, evaluated, written, drawn, explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from instance_pictures import SMALL, write_pictures
from model_helpers import row_arrays
from PIL import Image

import polysense
from polysense.cli.app import main
from polysense.tasks.instance_segmentation.instances import read_instances


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("instances")
    pl.DataFrame(write_pictures(folder, 40)).write_csv(folder / "data.csv")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Any:
    return polysense.fit(
        folder / "data.csv", target="things", columns={"things": "instance_segmentation"}, output=folder / "run",
        overrides=[*SMALL, "training.epochs=6", "data.split.test=0.2"], preset="fast",
        progress=False,
    )  # fmt: skip


def test_it_is_measured_beside_its_baseline_and_shown(run: Any, folder: Path) -> None:
    evaluation, baseline = run.evaluations["test"], run.baselines["test"]["constant"]
    assert evaluation.metrics["things"]["map_50"].has_bounds
    assert 0 <= baseline.value("things", "map") < 0.5
    assert evaluation.value("things", "mask_quality") > 0
    report = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "things: average precision by class" in report
    assert 'alt="true masks:' in report


def test_predictions_are_codes_of_the_original_and_can_be_drawn(run: Any, folder: Path, tmp_path: Path) -> None:
    frame = run.bundle.predict(folder / "data.csv", root=folder).frame
    for index, (cell, count) in enumerate(zip(frame["things"], frame["things_count"], strict=True)):
        with Image.open(folder / f"photo_{index}.png") as photo:
            size = (photo.height, photo.width)
        assert len(read_instances(cell, folder, size)) == count
        assert all(thing["score"] >= 0.3 for thing in json.loads(cell))
    output = ["-o", str(tmp_path / "p.csv"), "--export", f"drawn_instances={tmp_path / 'drawn'}"]
    assert main(["predict", str(folder / "run"), str(folder / "data.csv"), *output]) == 0
    with Image.open(tmp_path / "drawn" / "1.jpg") as drawn, Image.open(folder / "photo_1.png") as photo:
        assert drawn.size == photo.size


def test_a_row_depends_on_itself_alone_and_without_its_photo_has_no_masks(run: Any, folder: Path) -> None:
    rows = pl.read_csv(folder / "data.csv").head(4)
    missing = rows.with_columns(photo=pl.when(pl.int_range(pl.len()) == 2).then(None).otherwise("photo"))
    every = row_arrays(run.bundle, missing, "things", folder)
    for name in ("values", "masks"):
        for i in range(len(rows)):
            alone = row_arrays(run.bundle, missing[i : i + 1], "things", folder)
            assert np.array_equal(alone[name][0], every[name][i])
    assert not every["values"][2].any()
    frame = run.bundle.predict(missing, root=folder).frame
    assert frame["things"][2] is None
    assert polysense.load(folder / "run").predict(missing, root=folder).frame.equals(frame)


def test_the_surest_thing_is_explained(run: Any, folder: Path, tmp_path: Path) -> None:
    result = polysense.explain(
        run.bundle, folder / "data.csv", [1], parts=4, pairs=1, donors=1, output=tmp_path
    )  # fmt: skip
    (target,) = result.rows[0].targets
    assert target.title.startswith("score of the surest")
    shares = sum(column.share for column in target.columns)
    assert shares == pytest.approx(target.value - target.prior, abs=1e-5)


def test_files_for_each_thing_are_recognized_and_codes_where_it_is_stated(folder: Path) -> None:
    rows = pl.read_csv(folder / "data.csv")
    files = rows.filter(pl.col("things").str.contains("mask") & ~pl.col("things").str.contains("polygon"))
    files.write_csv(folder / "files.csv")
    recipe = polysense.new(folder / "files.csv", "things")
    assert "type: instance_segmentation" in recipe
    assert "type: query_masks" in recipe
