"""Tables of many rows: their cells and their parts are those of a table that is all in memory."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.data.tables import table as module
from polysense.data.tables.column_cells import ColumnCells
from polysense.data.tables.table import Imputations, Table

CELLS = st.one_of(
    st.none(), st.sampled_from(["NA", " ", '["a", "b"]', "[1]", "x", "#N/A"]), st.text("ab ,[]", max_size=8)
)


@pytest.fixture(autouse=True)
def large() -> Iterator[None]:
    """Every table is a large one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_COPIED_CELLS", 0)
        patch.setattr(module, "_LISTED_ROWS", 0)
        patch.setattr(module, "_CELLS_AT_ONCE", 3)
        patch.setattr(module, "_FILES_AT_ONCE", 2)
        yield


def _table(texts: list[Any]) -> Table:
    frame = pl.DataFrame({
        "t": pl.Series(texts, dtype=pl.String),
        "f": pl.Series([float("nan") if i % 3 == 1 else i / 2 for i in range(len(texts))], dtype=pl.Float64),
        "l": pl.Series([[str(i), None] if i % 2 else None for i in range(len(texts))], dtype=pl.List(pl.String)),
    })  # fmt: skip
    imputations = Imputations(by=None, cells={"t": {0: "imputed", 5: "also"}})
    rows = np.arange(len(texts)) * 5
    return Table(
        name="t", frame=frame, root=Path("r"), rows=rows, spelled=frozenset("t"), imputations=imputations, key="t"
    )


@given(texts=st.lists(CELLS, min_size=1, max_size=20), data=st.data())
def test_a_part_has_the_cells_of_a_copy(texts: list[str | None], data: st.DataObject) -> None:
    table = _table(texts)
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=20))
    part = table.select(chosen)
    copied = replace(table, frame=table.frame[chosen], rows=table.rows[chosen])
    assert part.held.positions is not None
    assert copied.held.positions is None
    assert len(part) == len(copied)
    assert part.frame.equals(copied.frame)
    assert replace(part, name="other").frame.equals(copied.frame)
    assert part.changed(name="other").held is part.held
    assert part.names == copied.names
    for name in part.names:
        assert part.column(name).equals(copied.column(name))
        for literal in (False, True):
            cells = part.cells(name, literal=literal)
            one_by_one = [copied.cell(i, name, literal=literal) for i in range(len(copied))]
            assert isinstance(cells, ColumnCells)
            assert [*cells] == one_by_one
            assert [*cells] == one_by_one  # a second time
            assert [cells[i] for i in range(len(cells))] == one_by_one
            assert [*cells[1:4]] == one_by_one[1:4]
            assert [*cells[::-2]] == one_by_one[::-2]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, "_LISTED_ROWS", 100)
                assert copied.cells(name, literal=literal) == one_by_one
        assert part.some_cells(np.array([0]), name) == copied.some_cells(np.array([0]), name)
    assert [part.source(i, "f") for i in range(len(part))] == [copied.source(i, "f") for i in range(len(copied))]
    assert part.select([0]).select([0]).frame.equals(copied.frame[:1])
    sent = pickle.loads(pickle.dumps(part))
    assert sent.frame.equals(copied.frame)
    assert sent.rows.tolist() == copied.rows.tolist()


@given(texts=st.lists(CELLS, min_size=1, max_size=20), data=st.data())
def test_cells_that_are_read_ahead_are_the_same(texts: list[str | None], data: st.DataObject) -> None:
    table, ahead = _table(texts), _table(texts)
    start = data.draw(st.integers(0, len(texts) - 1))
    ahead.read_ahead(start, data.draw(st.integers(start + 1, len(texts))))
    for name in table.names:
        for i in range(len(table)):
            for literal in (False, True):
                assert ahead.cell(i, name, literal=literal) == table.cell(i, name, literal=literal)
    part = table.select([len(texts) - 1])
    part.read_ahead(0, 1)
    assert part.cell(0, "t") == table.cell(len(texts) - 1, "t")
    assert table.view(np.array([0])).cell(0, "t") == table.cell(0, "t")


def test_a_table_is_made_of_a_frame() -> None:
    with pytest.raises(TypeError, match="frame"):
        Table(name="t", root=Path(), rows=np.arange(0))  # type: ignore[call-arg]


def test_small_parts_are_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COPIED_CELLS", 6)
    table = _table(["a", "b", "c"])
    assert table.select([0, 1]).held.positions is None
    assert table.select([0, 1, 2]).held.positions is not None
