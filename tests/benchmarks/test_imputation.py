"""The benchmark of filling hides what was there, the same cells each time, and never all of a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benchmark_scripts import load

from polysense.data.tables.sources import read_table
from polysense.evaluation.bootstrap import Interval


@pytest.fixture(scope="module")
def script() -> Any:
    return load("imputation")


def test_hidden_cells_were_there_and_a_row_keeps_one(script: Any) -> None:
    draws = np.random.default_rng(0)
    rows = [{"a": str(i), "b": None if draws.random() < 0.3 else i, "c": "x"} for i in range(200)]
    table = read_table(rows)
    fewer, hidden = script.cell_mask_rate(table, ["a", "b"], 0.5, 3)
    for name in ("a", "b"):
        before, after = table.cells(name), fewer.cells(name)
        lost = [i for i in range(200) if before[i] is not None and after[i] is None]
        assert lost == hidden[name].tolist()
        assert all(before[i] == after[i] for i in range(200) if i not in set(lost))
        assert 40 < len(lost) < 110
    assert all(a is not None or b is not None for a, b in zip(fewer.cells("a"), fewer.cells("b"), strict=True))
    assert fewer.cells("c") == table.cells("c")
    again = script.cell_mask_rate(table, ["a", "b"], 0.5, 3)[1]
    assert all(np.array_equal(hidden[name], again[name]) for name in hidden)


def test_the_table_is_markdown(script: Any) -> None:
    one = Interval(0.5, 0.4, 0.6)
    result = script.Result(column="a|b", measured=True, num_cells=1200, model=one, simple=Interval(1.0), gone=one)
    assert script.markdown([result]).splitlines()[-1] == (
        "| a\\|b | 1,200 | squared error | 0.500 | 1.000 | 50% (40 to 60) |"
    )


def test_what_looks_at_other_numbers_fills_by_them(script: Any) -> None:
    from polysense.workflows.fitted_data import fit_data
    from polysense.workflows.prepare import prepare

    draws = np.random.default_rng(0).normal(size=120)
    rows = [{"a": float(x), "b": float(3 * x + 1), "c": "xy"[i % 2]} for i, x in enumerate(draws)]
    table = read_table(rows)
    processor = fit_data(prepare(rows, task="reconstruction").recipe, {"train": table}).processor
    fewer = read_table([row | ({"b": None} if i < 20 else {}) for i, row in enumerate(rows)])
    found = script.by_other_numbers(processor.columns, table, fewer)
    assert list(found) == ["5 nearest", "ridge"]
    for imputed in found.values():
        truth = (np.array([row["b"] for row in rows]) - 1) / 3
        said = imputed["b"][:20]
        assert np.corrcoef(truth[:20], said)[0, 1] > 0.98
    alone = {"a": processor.columns["a"], "c": processor.columns["c"]}
    assert script.by_other_numbers(alone, table, fewer) == {}


def test_the_mean_picture_is_of_rows_from_all_over_the_table(script: Any) -> None:
    """A sorted table begins with one class: the mean of its first rows would be easy to beat."""

    class Pictures:
        is_media = True

    table = read_table([{"photo": "a.png", "label": str(i // 3000)} for i in range(9000)])
    chosen = script._seen(Pictures(), table, 0)
    assert len(chosen) == len(set(chosen)) == 2000
    counts = np.bincount([row // 3000 for row in chosen])
    assert counts.min() > 550
    Pictures.is_media = False
    assert script._seen(Pictures(), table, 0) == list(range(9000))
