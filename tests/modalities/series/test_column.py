from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polysense
from polysense.core.sample import SourceInfo
from polysense.data.column import ColumnProcessor
from polysense.errors import ColumnError, DecodeError
from polysense.modalities.series.column import SeriesColumnConfig

Fit = Callable[..., ColumnProcessor]


def item(processor: ColumnProcessor, cell: object, root: Path = Path()) -> np.ndarray:
    (values,) = processor.transform(cell, SourceInfo(table="t.csv", row=0, column="c"), root)
    return values


def test_each_channel_is_scaled_by_itself(fit: Fit) -> None:
    steps = np.random.default_rng(0).normal(size=(200, 2)) * [1.0, 1000.0] + [5.0, -7.0]
    processor = fit(SeriesColumnConfig(scaling="standard"), [steps.T.tolist()])
    values = item(processor, steps.T.tolist())
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-5)


def test_a_spike_does_not_squeeze_the_rest(fit: Fit) -> None:
    cells = [[*np.linspace(-1, 1, 100).tolist(), 1e9]]
    assert np.abs(item(fit(SeriesColumnConfig(), cells), cells[0])[:100]).max() > 0.5


def test_missing_steps_stay_missing_and_count_in_no_statistic(fit: Fit) -> None:
    cells = [[1.0, None, 3.0, 5.0]]
    values = item(fit(SeriesColumnConfig(scaling="standard"), cells), cells[0])
    assert np.isnan(values[:, 0]).tolist() == [False, True, False, False]
    assert np.nanmean(values) == pytest.approx(0, abs=1e-6)


def test_channels_are_taken_by_name(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,x,y\n0,1,10\n1,2,20\n2,3,30\n")
    (tmp_path / "b.csv").write_text("t,y,x\n0,10,1\n1,20,2\n")
    (tmp_path / "c.csv").write_text("t,x\n0,1\n1,2\n")
    processor = fit(SeriesColumnConfig(scaling="none"), ["a.csv", "b.csv", "a.csv"])
    assert processor.column.channels == ("x", "y")  # type: ignore[attr-defined]
    np.testing.assert_array_equal(item(processor, "b.csv", tmp_path), [[1, 10], [2, 20]])
    with pytest.raises(DecodeError, match="has 1 channel, expected x, y; y is missing"):
        item(processor, "c.csv", tmp_path)
    only = fit(SeriesColumnConfig(channels=("y",), scaling="none"), ["a.csv"])
    np.testing.assert_array_equal(item(only, "a.csv", tmp_path), [[10], [20], [30]])
    with pytest.raises(ColumnError, match="no training series has the channels z"):
        fit(SeriesColumnConfig(channels=("z",)), ["a.csv"])


def test_the_sampling_rate_is_known(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t (s),x\n0,1\n0.1,2\n0.2,3\n")
    assert fit(SeriesColumnConfig(), ["a.csv"]).column.rate == pytest.approx(10)


def test_center_each_takes_the_level_out(fit: Fit) -> None:
    processor = fit(SeriesColumnConfig(center_each=True, scaling="none"), [[1.0, 3.0], [101.0, 103.0]])
    np.testing.assert_allclose(item(processor, [1.0, 3.0]), item(processor, [101.0, 103.0]))


@pytest.mark.parametrize("cell", [[1.0, 2.0], [[1.0, 2.0], [3.0, 4.0]]])
def test_a_list_of_numbers_is_one_series(fit: Fit, cell: list[Any]) -> None:
    processor = fit(SeriesColumnConfig(), [cell, cell])
    assert not processor.column.multiple
    assert item(processor, cell).shape[0] == 2


def test_a_list_of_files_is_several(fit: Fit, tmp_path: Path) -> None:
    for name, steps in (("a", 3), ("b", 5)):
        np.save(tmp_path / f"{name}.npy", np.arange(steps, dtype=float))
    processor = fit(SeriesColumnConfig(), [["a.npy", "b.npy"]])
    items = processor.transform(["a.npy", "b.npy"], SourceInfo(table="t", row=0, column="c"), tmp_path)
    assert [len(one) for one in items] == [3, 5]


def test_a_table_of_series_is_learned_by_default(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for i in range(80):
        period, kind = (2, "fast") if i % 2 else (5, "slow")
        rows.append({"wave": [math.sin(step / period + i) for step in range(60 + i % 7)], "kind": kind})
    rows[3]["wave"] = None
    options = ["training.epochs=12", "model.width=32", "training.tensorboard=false", "evaluation.bootstrap=20"]
    run = polysense.fit(rows, target="kind", output=tmp_path / "run", overrides=options, progress=False)
    assert run.metrics["validation"]["kind"]["accuracy"]["value"] >= 0.9
    predictions = polysense.load(tmp_path / "run").predict([{"wave": rows[0]["wave"]}, {"wave": None}, {}])
    assert len(predictions.frame) == 3


def test_a_series_that_is_much_longer_than_all_others_is_cut_and_told(
    fit: Fit, caplog: pytest.LogCaptureFixture
) -> None:
    short, long = [0.0, 1.0, 2.0], [0.0, 1.0] * 5_000
    processor = fit(SeriesColumnConfig(), [short] * 30 + [long])
    assert item(processor, long).shape == (4_096, 1)
    assert "cut to max_steps=4096" in caplog.text
    assert item(fit(SeriesColumnConfig(max_steps=2), [short]), short).shape == (2, 1)
    assert item(fit(SeriesColumnConfig(max_steps=None), [short]), long).shape == (10_000, 1)


def test_a_mark_for_steps_that_were_not_measured_is_named_and_read_as_missing_once_it_is_stated(fit: Fit) -> None:
    rng = np.random.default_rng(0)
    cells = [np.where(rng.uniform(size=50) < 0.1, -999.0, rng.normal(20, 3, 50)).tolist() for _ in range(8)]
    count = sum(cell.count(-999.0) for cell in cells)
    (warning,) = fit(SeriesColumnConfig(), cells).warnings
    assert f"-999 ({count} of 400)" in warning
    assert ".missing=[-999]" in warning
    processor = fit(SeriesColumnConfig(missing=(-999.0,)), cells)
    assert not processor.warnings
    assert np.isnan(item(processor, cells[0])[:, 0]).tolist() == [step == -999.0 for step in cells[0]]
    assert processor.column.mean[0] == pytest.approx(20, abs=1)  # type: ignore[attr-defined]
