"""Masks from a table to a bundle and back: learned, evaluated, written as files, shown."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from model_helpers import row_arrays
from PIL import Image
from segmentation_pictures import SMALL, write_pictures

import polysense
from polysense.bundle import Bundle
from polysense.cli.app import main
from polysense.data.augmentation.augment import augment
from polysense.data.batches.loader import PredictLoader
from polysense.errors import ConfigError
from polysense.modalities.image.augment import ImageTransformConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmentation")
    rows = write_pictures(folder, 48)
    pl.DataFrame([{key: row[key] for key in ("photo", "note", "mask")} for row in rows]).write_csv(folder / "data.csv")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Any:
    overrides = [*SMALL, "training.epochs=12", "data.split.test=0.2"]
    return polysense.fit(
        folder / "data.csv", target="mask", output=folder / "run", overrides=overrides, preset="fast", progress=False
    )


@pytest.fixture(scope="module")
def bundle(run: Any) -> Bundle:
    loaded: Bundle = run.bundle
    return loaded


def test_it_learns_more_than_the_majority(run: Any) -> None:
    evaluation, majority = run.evaluations["test"], run.baselines["test"]["constant"]
    assert evaluation.value("mask", "mean_iou") > 0.6 > 0.4 > majority.value("mask", "mean_iou")
    assert evaluation.value("mask", "iou/3") > 0.4
    assert evaluation.value("mask", "log_loss") < majority.value("mask", "log_loss")
    assert majority.value("mask", "iou/3") == 0
    assert evaluation.metrics["mask"]["mean_iou"].has_bounds
    photo, note = (
        next(c for c in run.contributions.targets[0].columns if c.name == name) for name in ("photo", "note")
    )
    assert photo.shapley["log_loss"].low > max(note.shapley["log_loss"].value, 0.0)


def test_large_pictures_are_read_by_windows(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    """A picture put together from four: windows of their size, without overlap, say of each what it gets alone."""
    parts = [np.array(Image.open(folder / f"photo_{i}.png").convert("RGB").resize((40, 32))) for i in range(4)]
    large = np.concatenate([np.concatenate(parts[:2], axis=1), np.concatenate(parts[2:], axis=1)])

    def png(pixels: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()

    rows = [{"photo": cell, "note": None} for cell in [*map(png, [large, *parts]), None]]

    def masks(*settings: str) -> list[Any]:
        cells = bundle.predict(rows, decoding=list(settings)).frame["mask"]
        return [None if cell is None else np.array(Image.open(io.BytesIO(cell["bytes"]))) for cell in cells]

    whole, cut, smooth = masks(), masks("head.window=[32, 40]", "head.overlap=0"), masks("head.window=[32,40]")
    assert [mask.shape for mask in cut[:5]] == [(64, 80), *[(32, 40)] * 4]
    for before, after in zip(whole[1:5], cut[1:5], strict=True):
        np.testing.assert_array_equal(before, after)
    together = np.concatenate([np.concatenate(whole[1:3], axis=1), np.concatenate(whole[3:5], axis=1)])
    assert (cut[0] == together).mean() > 0.97  # logits are interpolated, not the nearest class
    assert whole[5] is cut[5] is None
    assert (smooth[0] == together).mean() > (whole[0] == together).mean()
    np.testing.assert_array_equal(masks("head.window=[64, 80]")[0], whole[0])
    with pytest.raises(ConfigError, match="expected a height and a width"):
        masks("head.window=[0, 4]")


def test_masks_are_written_in_original_pixels(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "predictions.csv"
    drawn = ["--export", f"drawn_masks={tmp_path / 'drawn'}"]
    assert main(["predict", str(folder / "run"), str(folder / "data.csv"), "-o", str(output), *drawn]) == 0
    table, right = pl.read_csv(output), []
    for index, path in enumerate(table["mask"]):
        with Image.open(tmp_path / path) as image, Image.open(folder / f"mask_{index}.png") as truth:
            assert image.mode == "P"
            assert image.size == truth.size
            values, true = np.array(image), np.array(truth)
        assert set(np.unique(values)) <= {0, 3, 9}
        with Image.open(folder / f"photo_{index}.png") as photo, Image.open(tmp_path / f"drawn/{index}.jpg") as shown:
            assert shown.size == photo.size
            change = np.abs(np.asarray(shown.convert("RGB")).astype(int) - np.asarray(photo.convert("RGB")))
        assert change[values == 3].mean() > 25
        right.append((values == true)[true != 255].mean())
    assert np.mean(right) > 0.9
    shares = table.select("mask_share[0]", "mask_share[3]", "mask_share[9]").sum_horizontal()
    assert shares.to_list() == pytest.approx([1.0] * len(table))


def test_a_row_without_its_photo_has_no_mask_and_the_prior(bundle: Bundle, folder: Path) -> None:
    rows = [{"photo": None, "note": "thing 1"}, {"photo": str(folder / "photo_1.png"), "note": None}, {"note": None}]
    frame = bundle.predict(rows).frame
    files = frame["mask"].to_list()
    assert files[0] is None
    assert files[2] is None
    with Image.open(io.BytesIO(files[1]["bytes"])) as image:
        assert image.size == (30, 36)
    assert frame["mask_share[0]"].to_list()[::2] == [1.0, 1.0]
    assert frame["missing"].to_list() == ["photo", "note", "photo, note"]


@pytest.mark.parametrize("columns", [["photo"], ["note"], []])
def test_masked_columns_are_as_if_they_had_never_been_there(bundle: Bundle, folder: Path, columns: list[str]) -> None:
    """In every pixel, whether a cell is missing or the whole column."""
    rows = pl.read_csv(folder / "data.csv").head(6)
    missing = rows.with_columns(
        pl.lit(None, dtype=pl.String).alias(name) for name in ("photo", "note") if name not in columns
    )
    lacking = row_arrays(bundle, missing.select([*columns, "mask"]), "mask", folder)["values"]
    assert np.array_equal(row_arrays(bundle, missing, "mask", folder)["values"], lacking)
    (batch,) = PredictLoader(bundle.dataset(rows, root=folder), bundle.schema)
    (subset,) = bundle.model.predict(batch, [columns])
    assert np.array_equal(subset["mask"]["values"][: len(rows)].numpy(), lacking)


def test_a_row_depends_on_itself_alone(bundle: Bundle, folder: Path) -> None:
    rows = pl.read_csv(folder / "data.csv").head(5)
    every = row_arrays(bundle, rows, "mask", folder)["values"]
    for i in range(len(rows)):
        assert np.array_equal(row_arrays(bundle, rows[i : i + 1], "mask", folder)["values"][0], every[i])


def test_a_loaded_bundle_predicts_the_same(bundle: Bundle, folder: Path) -> None:
    rows = pl.read_csv(folder / "data.csv").head(5)
    loaded = polysense.load(folder / "run")
    assert loaded.predict(rows, root=folder).frame.equals(bundle.predict(rows, root=folder).frame)


def test_masks_follow_their_photos(bundle: Bundle, folder: Path) -> None:
    """Things are bright: whatever moves, bright pixels keep their class; what comes in from outside is void."""
    rows = pl.read_csv(folder / "data.csv")[::2]  # without void edges
    (batch, *_) = PredictLoader(bundle.dataset(rows, root=folder, with_targets=True), bundle.schema)
    column, target = bundle.schema.column("photo"), bundle.schema.target("mask")
    moves = {"rotate_degrees": 40.0, "scale": 0.3, "translate": 0.2, "flip": True}
    still = {"erase_probability": 0.0, "brightness": 0.0, "contrast": 0.0}
    transforms = {"photo": ImageTransformConfig(**moves, **still).build(column)}  # type: ignore[arg-type]
    moved = augment(batch, bundle.schema, transforms, seed=0, epoch=0)
    before, after = batch.truths["mask"].values, moved.truths["mask"].values
    assert after.dtype is before.dtype
    assert (after != before).float().mean() > 0.02
    light = moved.columns["photo"].values[:, 0].float().mean(dim=1)
    there = moved.truths["mask"].present
    for value, bright in ((0, False), (1, True), (2, True)):
        pixels = light[there][after[there] == value]
        assert ((pixels > 150) == bright).float().mean() > 0.9
    assert (after[there] == target.void).any()  # type: ignore[attr-defined]


def test_pages_show_masks(run: Any, folder: Path) -> None:
    report = (folder / "run" / "report.html").read_text()
    assert "mask: IoU by class" in report
    assert report.count("Worst images") == report.count("Best images") == 1
    assert report.count('alt="true mask"') >= 6
    assert "IoU of the majority-class baseline" in report
    samples = (folder / "run" / "samples.html").read_text()
    assert 'alt="predicted mask"' in samples
    line = json.loads((folder / "run" / "samples.jsonl").read_text().splitlines()[0])
    assert "%" in line["predicted"]


def test_a_recipe_trains_it_too(folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    assert main(["new", str(folder / "data.csv"), "--target", "mask", "-o", str(recipe)]) == 0
    assert "type: segmentation" in recipe.read_text()
    assert main(["check", str(recipe)]) == 0
    small = [*SMALL, "training.epochs=1", "evaluation.report=false", "evaluation.contribution=false"]
    assert main(["train", str(recipe), "-o", str(tmp_path / "run"), *small]) == 0
    assert main(["evaluate", str(tmp_path / "run"), str(folder / "data.csv"), "--split", "validation"]) == 0


def test_a_stopped_run_goes_on_exactly(folder: Path, tmp_path: Path) -> None:
    small = [*SMALL, "evaluation.report=false", "evaluation.contribution=false", "evaluation.samples=0",
             "training.schedule.type=constant", "training.schedule.warmup=0.0"]  # fmt: skip

    def fit(name: str, epochs: int) -> Any:
        return polysense.fit(
            folder / "data.csv", target="mask", output=tmp_path / name, preset="fast", progress=False,
            overrides=[*small, f"training.epochs={epochs}"],
        )  # fmt: skip

    straight = fit("straight", 2)
    resumed = polysense.fit(fit("part", 1).folder, resume=True, overrides=["training.epochs=2"], progress=False)
    weights = [(run.folder / "bundle/weights.safetensors").read_bytes() for run in (straight, resumed)]
    assert weights[0] == weights[1]
    assert straight.metrics == resumed.metrics


def test_a_mask_is_explained_by_how_probable_the_model_finds_it(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    names = bundle.schema.target("mask").classes
    for choice in ("all pixels", names[-1]):
        result = polysense.explain(
            bundle, folder / "data.csv", [0, 5], choices={"mask": choice}, parts=4, pairs=2, donors=2, output=tmp_path
        )
        for row in result.rows:
            (target,) = row.targets
            assert target.answer is None
            assert ("where it is" in target.title) == (choice != "all pixels")
            shares = {column.name: column.share for column in target.columns}
            assert sum(shares.values()) == pytest.approx(target.value - target.prior, abs=1e-5)
            assert target.value <= 0
            photo = target.columns[0]
            assert photo.map is not None
            assert photo.map.without is not None
            assert float(sum(photo.map.shares)) == pytest.approx(target.value - photo.map.without, abs=1e-4)
            if choice == "all pixels":
                assert shares["photo"] > 0.05
                assert shares["photo"] > abs(shares["note"])
    record = json.loads((tmp_path / "explanation.json").read_text(encoding="utf-8"))
    assert len(record["rows"]) == 2
