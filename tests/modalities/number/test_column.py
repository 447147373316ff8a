"""Numbers as people write them, and a scale that one outlier does not move."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.sample import SourceInfo
from polysense.core.schema import Requirements
from polysense.data.column import ColumnProcessor
from polysense.errors import DecodeError
from polysense.modalities.number.column import NumberColumnConfig
from polysense.modalities.number.record import NumberRequirements

Fit = Callable[..., ColumnProcessor]
SOURCE = SourceInfo(table="t", row=0, column="c")


def test_the_columns_decimal_mark_settles_what_a_cell_leaves_open(fit: Fit) -> None:
    assert fit(NumberColumnConfig(), ["1,234", "1,5", "1,3"]).column.mean == 1.3
    assert fit(NumberColumnConfig(), ["1,234", "1500", "1,300"]).column.mean == 1300.0
    assert fit(NumberColumnConfig(decimal=","), ["1,234", "1,300", "1,500"]).column.mean == 1.3


def test_a_later_table_in_another_notation_is_read_rightly_or_refused(fit: Fit) -> None:
    prices = [f"{value / 100:.2f}" for value in range(150, 900, 25)]
    processor = fit(NumberColumnConfig(scaling="none"), prices)
    assert processor.transform("2,50", SOURCE, Path())[0].tolist() == [2.5]
    for cell in ("1.234", "1,234"):
        with pytest.raises(DecodeError, match=r"can be read as 1\.?234 or as 1\.?234"):
            processor.transform(cell, SOURCE, Path())
    with pytest.raises(DecodeError, match="expected a number without unit"):
        processor.transform("2.50 kg", SOURCE, Path())


def test_numbers_with_a_unit_are_read_in_it_alone(fit: Fit) -> None:
    processor = fit(NumberColumnConfig(scaling="none"), ["23.9 kg", "1.5 kg", "900 g", "2 kg"])
    assert processor.notation.unit == "kg"
    assert processor.transform("1.5 KG", SOURCE, Path())[0].tolist() == [1.5]
    with pytest.raises(DecodeError, match="found '900 g', expected a number in kg"):
        processor.transform("900 g", SOURCE, Path())
    (warning,) = processor.warnings
    assert "1 in g: those are unreadable" in warning
    assert processor.restore(np.array(1.5)) == "1.5 kg"


def test_numbers_without_the_columns_unit_or_far_off_are_told(fit: Fit) -> None:
    processor = fit(NumberColumnConfig(), [f"{value} kg" for value in range(20, 40)])
    assert processor.unfamiliar(["25 kg"] * 20) is None
    assert processor.unfamiliar([25.0] * 20) == "20 of 20 cells have no unit and are read as kg"
    assert "is it another unit?" in str(processor.unfamiliar(["25000 kg"] * 20))


def test_words_that_recur_among_numbers_are_missing(fit: Fit) -> None:
    processor = fit(NumberColumnConfig(), ["zu alt"] * 5 + [f"{value}.5" for value in range(20)])
    assert processor.transform("zu alt", SOURCE, Path()) == []
    assert processor.transform("?", SOURCE, Path()) == []
    assert "'zu alt' in 20%, which is missing" in processor.column.reading
    with pytest.raises(DecodeError, match="expected a number"):
        processor.transform("gestohlen", SOURCE, Path())


def test_an_outlier_does_not_move_the_scale(fit: Fit) -> None:
    values = np.random.default_rng(0).normal(50, 10, 2001).tolist()
    column = fit(NumberColumnConfig(), [*values, 1e9]).column
    assert column.mean == pytest.approx(50, abs=1)
    assert column.std == pytest.approx(10, abs=0.6)
    standard = fit(NumberColumnConfig(scaling="standard"), values).column
    assert standard.mean == pytest.approx(np.mean(values))
    assert standard.std == pytest.approx(np.std(values))
    assert fit(NumberColumnConfig(scaling="none"), values).column.mean == 0.0


def test_without_a_range_the_deviation_and_without_that_one(fit: Fit) -> None:
    mostly_zero = [0.0] * 8 + [10.0, 20.0]
    assert fit(NumberColumnConfig(), mostly_zero).column.std == pytest.approx(np.std(mostly_zero))
    assert fit(NumberColumnConfig(), [3, 3]).column.std == 1.0
    assert fit(NumberColumnConfig(), [True, False, "1"]).column.mean == 1.0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.data())
def test_values_come_out_standardized_and_finite(values: list[float], data: st.DataObject) -> None:
    processor = NumberColumnConfig().build("c")
    column = processor.fit(values, [SOURCE] * len(values), Path(), Requirements())
    assert math.isfinite(column.mean)
    assert 0 < column.std < math.inf
    value = data.draw(st.sampled_from(values) | st.floats(allow_nan=False))
    try:
        (found,) = processor.transform(value, SOURCE, Path())
    except DecodeError:
        return
    assert found.dtype == np.float32
    assert found.shape == (1,)
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx((value - column.mean) / column.std, rel=1e-6, abs=1e-30)


def test_saving_and_loading_changes_nothing(fit: Fit, tmp_path: Path) -> None:
    processor = fit(NumberColumnConfig(), ["1,234", "0,5", "2,25"])
    loaded = ColumnProcessor.load(json.loads(json.dumps(processor.save(tmp_path))), tmp_path)
    assert loaded.column == processor.column
    for cell in ("1,234", "1.234,5", 7):
        assert loaded.transform(cell, SOURCE, Path()) == processor.transform(cell, SOURCE, Path())


def test_quantiles_only_if_asked_for(fit: Fit) -> None:
    assert fit(NumberColumnConfig(), [1, 2, 3]).column.quantiles is None
    values = np.random.default_rng(0).normal(50, 10, 1000)
    column = fit(NumberColumnConfig(), values.tolist(), num_quantiles=8).column
    scaled = (values - column.mean) / column.std
    np.testing.assert_allclose(column.quantiles, np.quantile(scaled, np.linspace(0, 1, 9)))
    counts, _ = np.histogram(scaled, column.quantiles)
    assert counts.min() >= 124
    assert counts.max() <= 126


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.integers(1, 10))
def test_edges_ascend_so_that_float32_tells_them_apart(values: list[float], num: int) -> None:
    processor = NumberColumnConfig().build("c")
    column = processor.fit(values, [SOURCE] * len(values), Path(), NumberRequirements(num_quantiles=num))
    assert column.quantiles is not None
    edges = np.array(column.quantiles, dtype=np.float32)
    assert 2 <= len(edges) <= num + 1
    assert np.isfinite(edges).all()
    assert (np.diff(edges) > 0).all()
