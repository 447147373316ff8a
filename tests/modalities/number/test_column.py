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
from polysense.data.numbers import decimal_mark, is_number, parse_number
from polysense.errors import DecodeError
from polysense.modalities.number.column import NumberColumnConfig
from polysense.modalities.number.record import NumberRequirements

Fit = Callable[..., ColumnProcessor]
SOURCE = SourceInfo(table="t", row=0, column="c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1), (" -2.5 ", -2.5), ("+3", 3), ("1,5", 1.5), ("0,123", 0.123), ("1 000", 1000),
        ("1\u202f000,25", 1000.25),
        ("1'000", 1000), ("1,234,567", 1234567), ("1.234.567", 1234567), ("1,234.5", 1234.5), ("1.234,5", 1234.5),
        ("1,234", 1234), ("1.234", 1.234), ("50%", 50), ("50 %", 50), ("1e3", 1000), ("1.5E-2", 0.015), ("−7", -7),
        (".5", 0.5), (",5", 0.5), ("5.", 5), ("007", 7),
    ],
)  # fmt: skip
def test_texts_are_read_as_meant(text: str, expected: float) -> None:
    assert parse_number(text) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("cell", [None, math.nan, "", " ", "NA", "NaN", "null"])
def test_missing_spellings_are_absent(cell: object) -> None:
    assert parse_number(cell) is None


@pytest.mark.parametrize(
    "cell",
    ["twelve", "inf", "-inf", "1e999", "1,2,3", "1 2", "0x10", "1_000", "--1", math.inf, 10**400, [1, 2], {}, b"1"],
)
def test_what_is_no_finite_number_is_refused(cell: object) -> None:
    with pytest.raises(DecodeError, match="expected a"):
        parse_number(cell)


def test_the_columns_decimal_mark_settles_what_a_cell_leaves_open(fit: Fit) -> None:
    assert decimal_mark(["1,234", "0,5"]) == ","
    assert decimal_mark(["1,234", "2.5"]) == "."
    assert decimal_mark(["1.234,5"]) == ","
    assert decimal_mark(["1,234.50"]) == "."
    assert decimal_mark(["1,234", "5", 2.5, None, "x"]) is None
    assert decimal_mark(["0,5", "0.5"]) is None
    assert parse_number("1,234", ",") == 1.234
    assert parse_number("1.234", ",") == 1234
    assert fit(NumberColumnConfig(), ["1,234", "1,5", "1,3"]).column.mean == 1.3
    assert fit(NumberColumnConfig(), ["1,234", "1500", "1,300"]).column.mean == 1300.0


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([".", ","]))
def test_what_python_writes_is_read_back(value: float, mark: str) -> None:
    assert parse_number(value) == value
    if is_number(repr(value)):
        assert parse_number(repr(value).replace(".", mark), mark) == value


@given(st.text("0123456789.,- %eE'+\u00a0", max_size=12))
def test_inference_and_preprocessing_agree_on_what_is_a_number(text: str) -> None:
    if is_number(text) and "e" not in text.lower():
        assert parse_number(text) is not None
    elif not is_number(text) and text.strip():
        with pytest.raises(DecodeError):
            parse_number(text)


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
    for cell in ("1,234", "1.234", 7):
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
