"""Interpolation within series: lines between measured steps, nothing beyond them, and missing cells stay masked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.config.codec import from_dict
from polysense.data.column_fingerprint import decoding_fingerprint, items_fingerprint
from polysense.data.config import DataConfig
from polysense.data.processor import Processor
from polysense.data.tables.sources import read_table
from polysense.errors import ConfigError
from polysense.modalities.series.cleaning import InterpolateSteps, InterpolateStepsConfig, Steps

NAN = np.nan


def filled(values: Any, longest: int | None = None) -> np.ndarray:
    steps = Steps(np.array(values, dtype=float).reshape(len(values), -1))
    result = InterpolateSteps(InterpolateStepsConfig(longest=longest)).clean(steps)
    assert isinstance(result, Steps)
    return result.values


def test_gaps_are_on_the_line_between_their_ends_and_each_channel_is_its_own() -> None:
    values = [[NAN, 5], [1, NAN], [NAN, NAN], [NAN, 8], [4, NAN], [NAN, NAN]]
    expected = [[NAN, 5], [1, 6], [2, 7], [3, 8], [4, NAN], [NAN, NAN]]
    np.testing.assert_array_equal(filled(values), expected)
    np.testing.assert_array_equal(filled([1, NAN, NAN, 4, NAN, 6], longest=1).ravel(), [1, NAN, NAN, 4, 5, 6])


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(NAN)), min_size=1, max_size=30))
def test_it_is_numpys_interpolation_between_the_first_and_the_last_measured_step(values: list[float]) -> None:
    steps, known = np.arange(len(values)), np.flatnonzero(~np.isnan(values))
    result = filled(values).ravel()
    if len(known) < 2:
        np.testing.assert_array_equal(result, values)
        return
    inside = slice(known[0], known[-1] + 1)
    expected = np.interp(steps, known, np.array(values)[known])
    np.testing.assert_allclose(result[inside], expected[inside], rtol=1e-9, atol=1e-6)
    assert np.isnan(result[: known[0]]).all()
    assert np.isnan(result[known[-1] + 1 :]).all()
    np.testing.assert_array_equal(result[known], np.array(values)[known])


@pytest.mark.parametrize("asked", [{"missing": {"s": "interpolate"}}, {"cleaning": {"s": ["interpolate_steps"]}}])
def test_a_recipe_asks_for_it_either_way_and_a_missing_cell_stays_missing(asked: Any, tmp_path: Path) -> None:
    cells = [[0.0, None, 2.0, 3.0], [1.0, 2.0, None, 4.0], None, [2.0, -999.0, 4.0, 5.0]]
    table = read_table({"s": cells, "label": ["a", "b", "a", "b"]})
    column = {"type": "series", "scaling": "none", "missing": [-999]}
    plain = {"columns": {"s": column}, "targets": {"label": {"type": "classification"}}}
    processor = Processor.fit(table, from_dict(DataConfig, {**plain, **asked}))
    masked = Processor.fit(table, from_dict(DataConfig, plain))
    for fingerprint in (items_fingerprint, decoding_fingerprint):  # what is stored is another thing
        assert fingerprint(masked.columns["s"]) != fingerprint(processor.columns["s"])
    processor.save(tmp_path)
    for each in (processor, Processor.load(tmp_path)):
        prepared = each.prepared(table)
        samples = [each.transform(prepared, i, with_targets=False) for i in range(4)]
        values = [[item.ravel().tolist() for item in sample.values.get("s", [])] for sample in samples]
        assert values == [[[0, 1, 2, 3]], [[1, 2, 3, 4]], [], [[2, 3, 4, 5]]]
    (remark,) = processor.cleaning_remarks()
    assert remark.startswith("s: cleaning interpolate_steps changed 3 of 3 training cells tried")


def test_other_columns_are_refused() -> None:
    plain = {"columns": {"x": {"type": "number"}}, "missing": {"x": "interpolate"}}
    with pytest.raises(ConfigError, match=r"missing\.x: 'interpolate' is of series, and the column is number"):
        from_dict(DataConfig, plain)
