"""Simple imputation: equal to scikit-learn's, fitted on training rows, beside the cells, the same after saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polysense.config.codec import from_dict, to_dict
from polysense.data.config import DataConfig
from polysense.data.imputation import IterativeConfig, NearestConfig, TableImputer
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table, read_table
from polysense.errors import ColumnError, ConfigError
from polysense.modalities.number.column import NumberColumnConfig


def holey(num: int = 40, seed: int = 0) -> np.ndarray:
    draws = np.random.default_rng(seed)
    numbers = draws.normal(size=(num, 4))
    numbers[:, 3] = numbers[:, 0] - 2 * numbers[:, 1] + 0.1 * draws.normal(size=num)
    numbers[draws.random((num, 4)) < 0.2] = np.nan
    return numbers


def as_table(numbers: np.ndarray) -> Table:
    names = [f"n{i}" for i in range(numbers.shape[1])]
    return read_table(
        {name: [None if v != v else v for v in col.tolist()] for name, col in zip(names, numbers.T, strict=True)}
    )


def test_nearest_rows_are_those_of_scikit_learn() -> None:
    from sklearn.impute import KNNImputer

    train, other = holey(), holey(12, seed=1)
    scale = np.nanstd(train, axis=0)
    expected = KNNImputer(n_neighbors=3).fit(train / scale).transform(other / scale) * scale
    names = ["n0", "n1", "n2", "n3"]
    numbers = dict.fromkeys(names, NumberColumnConfig().notation)
    imputer = TableImputer.fit(as_table(train), dict.fromkeys(names, NearestConfig(neighbors=3)), numbers)
    filled = imputer.fill(as_table(other))
    result = np.array([[filled.cell(i, name) for name in names] for i in range(len(other))], dtype=float)
    has_other = np.isfinite(other).any(axis=1)  # KNNImputer takes columns' means for empty rows too
    np.testing.assert_allclose(result[has_other], expected[has_other], rtol=1e-9)


def test_iterative_regression_is_that_of_scikit_learn() -> None:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    train, other = holey(60), holey(15, seed=2)
    reference = IterativeImputer(max_iter=10, random_state=0).fit(train)
    names = ["n0", "n1", "n2", "n3"]
    numbers = dict.fromkeys(names, NumberColumnConfig().notation)
    imputer = TableImputer.fit(as_table(train), dict.fromkeys(names, IterativeConfig()), numbers)
    filled = imputer.fill(as_table(other))
    result = np.array([[filled.cell(i, name) for name in names] for i in range(len(other))], dtype=float)
    np.testing.assert_allclose(result, reference.transform(other), rtol=1e-6, atol=1e-9)


CELLS = {
    "price": ["1.0", "", "3.0", "8.0", None, "4.0"],
    "size": ["1", "2", "3", "8", "5", "4"],
    "kind": ["a", "b", None, "b", "", "a"],
    "label": ["x", "y", "x", "y", "x", "y"],
}


def config(missing: Any, **columns: Any) -> DataConfig:
    kinds = {"price": {"type": "number"}, "size": {"type": "number"}, "kind": {"type": "category"}, **columns}
    targets = {"label": {"type": "classification"}}
    return from_dict(DataConfig, {"columns": kinds, "targets": targets, "missing": missing})


@pytest.mark.parametrize(
    ("missing", "column", "expected"),
    [
        ({"price": "mean"}, "price", [4.0, 4.0]),
        ({"price": "median"}, "price", [3.5, 3.5]),
        ({"price": {"type": "nearest", "neighbors": 1}}, "price", [1.0, 4.0]),
        ({"kind": "mode"}, "kind", ["a", "a"]),
    ],
)
def test_missing_cells_have_the_value_and_others_stay(missing: Any, column: str, expected: list[Any]) -> None:
    table = read_table(CELLS)
    processor = Processor.fit(table, config(missing))
    prepared = processor.prepared(table)
    cells = table.cells(column)
    lacking = [i for i, cell in enumerate(cells) if cell is None]
    assert [prepared.cell(i, column) for i in lacking] == expected
    assert [prepared.cell(i, column) for i in range(6) if i not in lacking] == [c for c in cells if c is not None]
    assert table.cells(column) == cells
    assert all(column in processor.transform(prepared, i, with_targets=True).values for i in range(6))
    kind = missing[column] if isinstance(missing[column], str) else "nearest"
    assert processor.cleaning_remarks() == [f"{column}: 2 missing training cells are imputed ({kind})"]


def test_it_is_saved_and_a_row_depends_on_itself_alone(tmp_path: Path) -> None:
    processor = Processor.fit(read_table(CELLS), config({"price": "nearest", "kind": "mode", "size": "iterative"}))
    processor.save(tmp_path)
    loaded = Processor.load(tmp_path)
    other = read_table({"price": [None, "2.0", None], "size": ["2", None, None], "kind": [None, None, "b"]})
    whole, alone = loaded.prepared(other), loaded.prepared(other.select([2]))
    for name in ("price", "size", "kind"):
        assert whole.cells(name) == processor.prepared(other).cells(name)
        assert alone.cell(0, name) == whole.cell(2, name)
    without = loaded.prepared(read_table({"kind": ["a"]}))
    assert without.imputations is not None
    assert without.imputations.cells["price"][0] == 4.0


def test_a_table_without_the_column_is_read_as_one_whose_cells_are_missing() -> None:
    processor = Processor.fit(read_table(CELLS), config({"price": "nearest", "kind": "mode"}))
    lacking, empty = read_table({"size": ["2"]}), read_table({"size": ["2"], "price": [None], "kind": [None]})
    values = [processor.transform(processor.prepared(each), 0, with_targets=False).values for each in (lacking, empty)]
    assert values[0] == values[1]
    assert values[0].keys() == {"price", "size", "kind"}


@pytest.mark.parametrize(
    ("cells", "column", "cleaning", "expected"),
    [
        # A number that the recipe names, and a word, are no numbers: neither learned from, nor left.
        (["1", "-999", "n.a.", "3", "5", "3"], {"missing": [-999]}, [], {1: 3.0, 2: 3.0}),
        # 2,000 g are 2 kg.
        (["1 kg", "2000 g", None, "3 kg", "2 kg", "2 kg"], {}, ["one_unit"], {2: "2.0 kg"}),
    ],
)
def test_cells_are_seen_as_they_are_read(
    cells: list[Any], column: Any, cleaning: list[str], expected: dict[int, Any], tmp_path: Path
) -> None:
    table = read_table({**CELLS, "price": cells})
    plain = to_dict(config({"price": "mean"}, price={"type": "number", **column}))
    processor = Processor.fit(table, from_dict(DataConfig, {**plain, "cleaning": {"price": cleaning}}))
    processor.save(tmp_path)
    for each in (processor, Processor.load(tmp_path)):
        prepared = each.prepared(table)
        assert prepared.imputations is not None
        assert prepared.imputations.cells["price"] == expected
        assert all("price" in each.transform(prepared, i, with_targets=False).values for i in range(len(table)))
    assert f"price: {len(expected)} missing training cells are imputed (mean)" in processor.cleaning_remarks()


def test_the_commonest_is_a_cell_that_can_be_read_and_may_be_a_list() -> None:
    table = read_table({**CELLS, "price": ["<5", "<5", None, "8", "5", "5"]})
    prepared = Processor.fit(table, config({"price": "mode"})).prepared(table)
    assert prepared.cells("price") == ["<5", "<5", "5", "8", "5", "5"]
    table = read_table({**CELLS, "kind": [["a", "b"], ["c"], None, ["a", "b"], [], ["c", "d"]]})
    processor = Processor.fit(table, config({"kind": "mode"}))
    assert processor.prepared(table).cell(2, "kind") == ["a", "b"]


@pytest.mark.parametrize("kind", ["mean", "median", "nearest", "iterative"])
def test_numbers_near_the_end_of_floats_are_no_error(kind: str) -> None:
    table = read_table({**CELLS, "price": [1e308, -1e308, 1e308, None, 1e308, 1.0], "size": [1e300, 2, 3, 4, 5, 6]})
    processor = Processor.fit(table, config({"price": kind}))
    others = read_table({"price": [None] * 3, "size": [1e308, -1e308, None]})
    for each in (table, others):
        cells = processor.prepared(each).cells("price")
        assert np.isfinite(np.array(cells, dtype=float)).all()


def test_a_unit_stays_the_columns_own() -> None:
    table = read_table({**CELLS, "price": ["1,5 kg", None, "2,5 kg", "3,5 kg", "2,5 kg", "2,5 kg"]})
    processor = Processor.fit(table, config({"price": "mean"}))
    prepared = processor.prepared(table)
    assert prepared.imputations is not None
    assert prepared.imputations.cells["price"][1] == "2,5 kg"
    assert not processor.transform(prepared, 1, with_targets=False).unreadable


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"nothing": "mean"}, "missing: there is no input column 'nothing'"),
        ({"kind": "mean"}, r"missing\.kind: 'mean' is of numbers, and the column is category"),
        ({"note": "mode"}, r"missing\.note: 'mode' is of numbers or categories, and the column is text"),
        ({"price": "average"}, "average"),
    ],
)
def test_what_cannot_be_imputed_so_is_refused(missing: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(missing, note={"type": "text"})


def test_a_column_without_a_cell_is_named() -> None:
    with pytest.raises(ColumnError, match="column 'price': no training cell to impute from"):
        Processor.fit(read_table({**CELLS, "price": [None] * 6}), config({"price": "mean"}))
