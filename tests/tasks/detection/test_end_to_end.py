"""Boxes from a table to a bundle and back: learned, evaluated, written in original pixels, drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from detection_pictures import SMALL, write_pictures
from model_helpers import row_arrays

import polysense
from polysense.bundle import Bundle
from polysense.cli.app import main
from polysense.data.augmentation.augment import augment
from polysense.data.batches.loader import PredictLoader
from polysense.modalities.image.augment import ImageTransformConfig
from polysense.tasks.detection.overlaps import overlaps


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detection")
    rows = write_pictures(folder, 48)
    lines = [json.dumps(row) for row in rows]
    (folder / "data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Any:
    overrides = [*SMALL, "training.epochs=14", "training.optimizer.lr=0.004", "data.split.test=0.2",
                 "data.targets.boxes.written_score=0.06"]  # fmt: skip
    return polysense.fit(
        folder / "data.jsonl", target="boxes", output=folder / "run", overrides=overrides, preset="fast",
        progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bundle(run: Any) -> Bundle:
    loaded: Bundle = run.bundle
    return loaded


def frame_of(folder: Path) -> pl.DataFrame:
    return pl.read_ndjson(folder / "data.jsonl")


def test_it_learns_more_than_the_usual_boxes(run: Any) -> None:
    evaluation, prior = run.evaluations["test"], run.baselines["test"]["constant"]
    assert evaluation.value("boxes", "map_50") > 0.4 > prior.value("boxes", "map_50")
    assert evaluation.value("boxes", "box_quality") > prior.value("boxes", "box_quality")
    assert evaluation.metrics["boxes"]["map"].has_bounds
    columns = {column.name: column for column in run.contributions.targets[0].columns}
    shares = {name: column.shapley["image_precision"].value for name, column in columns.items()}
    assert shares["photo"] > max(shares["note"], 0.1)


def test_boxes_are_written_in_original_pixels(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "predictions.csv"
    exports = ["--export", f"coco={tmp_path / 'r.json'}", "--export", f"drawn_boxes={tmp_path / 'drawn'}"]
    assert main(["predict", str(folder / "run"), str(folder / "data.jsonl"), "-o", str(output), *exports]) == 0
    written = [one for one in json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) if one["score"] >= 0.06]
    assert len(list((tmp_path / "drawn").iterdir())) == 48
    table, hits, num = pl.read_csv(output), 0, 0
    for cell, count, truth in zip(
        table["boxes"], table["boxes_count"], frame_of(folder)["boxes"].to_list(), strict=True
    ):
        boxes = json.loads(cell)
        assert len(boxes) == count
        assert [one["score"] for one in boxes] == sorted((one["score"] for one in boxes), reverse=True)
        assert all(one["score"] >= 0.06 and one["label"] in ("disk", "square") for one in boxes)
        if truth and boxes:
            iou = overlaps(*(np.array([one["box"] for one in side], dtype=float) for side in (boxes, truth)))
            hits += int((iou.max(axis=0) > 0.5).sum())
        num += len(truth)
    assert hits > 0.7 * num
    assert len(written) == table["boxes_count"].sum()


def test_a_row_without_its_photo_has_no_boxes(bundle: Bundle, folder: Path) -> None:
    frame = bundle.predict([{"photo": None, "note": "a"}, {"photo": str(folder / "photo_1.png"), "note": None}]).frame
    assert frame["boxes"].to_list()[0] is None
    assert frame["boxes_count"].to_list()[0] is None
    assert json.loads(frame["boxes"].to_list()[1]) is not None
    assert frame["missing"].to_list() == ["photo", "note"]


@pytest.mark.parametrize("columns", [["photo"], ["note"], []])
def test_masked_columns_are_as_if_they_had_never_been_there(bundle: Bundle, folder: Path, columns: list[str]) -> None:
    rows = frame_of(folder).head(6).with_columns(pl.lit(None, dtype=pl.String).alias("none"))
    missing = rows.with_columns(
        pl.lit(None, dtype=pl.String).alias(name) for name in ("photo", "note") if name not in columns
    ).drop("none")
    lacking = row_arrays(bundle, missing.select([*columns, "boxes"]), "boxes", folder)["values"]
    assert np.array_equal(row_arrays(bundle, missing, "boxes", folder)["values"], lacking)
    (batch,) = PredictLoader(bundle.dataset(rows, root=folder), bundle.schema)
    (subset,) = bundle.model.predict(batch, [columns])
    assert np.array_equal(subset["boxes"]["values"][: len(rows)].numpy(), lacking)


def test_a_row_depends_on_itself_alone(bundle: Bundle, folder: Path) -> None:
    rows = frame_of(folder).head(5)
    every = row_arrays(bundle, rows, "boxes", folder)["values"]
    for i in range(len(rows)):
        assert np.array_equal(row_arrays(bundle, rows[i : i + 1], "boxes", folder)["values"][0], every[i])


def test_a_loaded_bundle_predicts_the_same(bundle: Bundle, folder: Path) -> None:
    rows = frame_of(folder).head(5)
    loaded = polysense.load(folder / "run")
    assert loaded.predict(rows, root=folder).frame.equals(bundle.predict(rows, root=folder).frame)


def test_boxes_follow_their_photos(bundle: Bundle, folder: Path) -> None:
    """Things are yellow: whatever moves, they lie in their boxes; what has left the image is nothing to find."""
    rows = frame_of(folder)
    (batch, *_) = PredictLoader(bundle.dataset(rows, root=folder, with_targets=True), bundle.schema)
    column, target = bundle.schema.column("photo"), bundle.schema.target("boxes")
    moves = {"rotate_degrees": 25.0, "scale": 0.3, "translate": 0.3, "flip": True}
    still = {"erase_probability": 0.0, "brightness": 0.0, "contrast": 0.0}
    transforms = {"photo": ImageTransformConfig(**moves, **still).build(column)}  # type: ignore[arg-type]
    moved = augment(batch, bundle.schema, transforms, seed=0, epoch=0)
    before, after = batch.truths["boxes"], moved.truths["boxes"]
    assert torch.equal(after.originals, before.originals)  # type: ignore[attr-defined]
    boxes, red = after.boxes, moved.columns["photo"].values[:, 0, 0]  # type: ignore[attr-defined]
    assert not torch.equal(boxes, before.boxes)  # type: ignore[attr-defined]
    height, width = target.size  # type: ignore[attr-defined]
    assert (boxes >= 0).all()
    assert (boxes <= torch.tensor([width, height, width, height])).all()
    bright, covered, lost = 0, 0, 0
    for row in range(len(boxes)):
        own = boxes[row][(boxes[row, :, 2:] > boxes[row, :, :2]).all(dim=1)]
        lost += int((before.labels[row] >= 0).sum()) - len(own)  # type: ignore[attr-defined]
        within = torch.zeros(height, width, dtype=torch.bool)
        for left, top, right, bottom in own.round().int().tolist():
            within[top:bottom, left:right] = True
        things = red[row] > 180
        bright, covered = bright + int(things.sum()), covered + int((things & within).sum())
    assert covered > 0.95 * bright
    assert lost > 0  # of translations by nearly a third


def test_pages_show_boxes(run: Any, folder: Path) -> None:
    report = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "boxes: average precision by class" in report
    assert report.count("Worst images") == report.count("Best images") == 1
    assert report.count('alt="true boxes: ') >= 4
    assert "class-prior baseline" in report
    samples = (folder / "run" / "samples.html").read_text(encoding="utf-8")
    assert 'alt="predicted boxes: ' in samples


def test_a_recipe_trains_it_and_resumes_exactly(folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    assert main(["new", str(folder / "data.jsonl"), "--target", "boxes", "-o", str(recipe)]) == 0
    assert "type: detection" in recipe.read_text(encoding="utf-8")
    assert main(["check", str(recipe)]) == 0
    small = [*SMALL, "evaluation.report=false", "evaluation.contribution=false", "evaluation.samples=0",
             "training.schedule.type=constant", "training.schedule.warmup=0.0"]  # fmt: skip

    def fit(name: str, epochs: int) -> Any:
        return polysense.fit(
            folder / "data.jsonl", target="boxes", output=tmp_path / name, preset="fast", progress=False,
            overrides=[*small, f"training.epochs={epochs}"],
        )  # fmt: skip

    straight = fit("straight", 2)
    resumed = polysense.fit(fit("part", 1).folder, resume=True, overrides=["training.epochs=2"], progress=False)
    weights = [(run.folder / "bundle/weights.safetensors").read_bytes() for run in (straight, resumed)]
    assert weights[0] == weights[1]
    assert straight.metrics == resumed.metrics


def test_the_surest_box_of_a_class_is_explained(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    result = polysense.explain(bundle, folder / "data.jsonl", [1, 5], parts=4, pairs=2, donors=2, output=tmp_path)
    for row in result.rows:
        (target,) = row.targets
        assert target.title.startswith("score of the surest box of '")
        shares = {column.name: column.share for column in target.columns}
        assert sum(shares.values()) == pytest.approx(target.value - target.prior, abs=1e-5)
        assert shares["photo"] > abs(shares["note"])
