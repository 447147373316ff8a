"""The benchmark of loaders gives the same samples in every way, and says which libraries it lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import data_pipeline


def test_pictures_in_every_way(tmp_path: Path) -> None:
    folder = tmp_path / "grocery"
    folder.mkdir()
    draws = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(draws.integers(0, 255, (40, 30 + 4 * i, 3), dtype=np.uint8)).save(folder / f"{i}.jpg")
    (folder / "data.csv").write_text("\n".join(["image", *(f"{i}.jpg" for i in range(5))]))
    samples = data_pipeline.samples_of("image", tmp_path, 5)
    (tmp_path / "work").mkdir()
    result = data_pipeline.measure(samples, 1, tmp_path / "work")
    assert result["items"] == 5
    assert {"polysense_files", "polysense_store", "library", "plain"} <= result["items_per_second"].keys()
    assert {"polysense_files / library", "polysense_store / plain"} <= result["ratios"].keys()
    assert all(ratio > 0 for ratio in result["ratios"].values())
    missing = {"webdataset", "litdata"} - {name.partition("_")[0] for name in result["items_per_second"]}
    assert missing == result["skipped"].keys()
