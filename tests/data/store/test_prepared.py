"""Decoded cells on disk: what comes back is what was decoded, or nothing."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from polysense.core.geometry import Placement
from polysense.core.stored import Cut, DecodedCell
from polysense.data.store.cell_keys import CellKeys
from polysense.data.store.features import FeatureStore
from polysense.data.store.prepared import PreparedColumn, PreparedShelf, PreparedStore, packed, unpacked
from polysense.errors import LockedError

KEY = b"k" * 16

items = st.sampled_from([np.uint8, np.int16, np.float32]).flatmap(
    lambda kind: arrays.arrays(kind, arrays.array_shapes(max_dims=3, min_side=0, max_side=5))
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
sizes = st.integers(1, 2**40)


def bytes_of(cell: DecodedCell) -> np.ndarray:
    return np.frombuffer(b"".join(bytes(part) for part in packed(cell)), np.uint8)


@given(
    values=st.lists(items, max_size=4),
    matrix=st.none() | st.lists(numbers, min_size=9, max_size=9),
    size=st.tuples(sizes, sizes),
    cuts=st.lists(st.tuples(st.text(), st.booleans()), max_size=2),
)
def test_a_cell_is_the_same_to_the_last_bit(
    values: list[np.ndarray], matrix: list[float] | None, size: tuple[int, int], cuts: list[tuple[str, bool]]
) -> None:
    placement = None if matrix is None else Placement(np.array(matrix).reshape(3, 3), size)
    cell = DecodedCell(tuple(values), placement, tuple(Cut(*cut) for cut in cuts))
    again = unpacked(bytes_of(cell))
    assert len(again.items) == len(cell.items)
    for mine, yours in zip(again.items, cell.items, strict=True):
        assert (mine.dtype, mine.shape, mine.tobytes()) == (yours.dtype, yours.shape, yours.tobytes())
        assert mine.flags.writeable
        assert mine.flags.owndata or mine.base is None or mine.base.nbytes == mine.nbytes
    assert (again.placement is None) == (cell.placement is None)
    assert again.placement is None or (cell.placement is not None and again.placement.same(cell.placement))
    assert again.cuts == cell.cuts


def test_an_array_in_another_order_is_kept_as_what_it_says() -> None:
    item = np.arange(24, dtype=np.uint8).reshape(2, 3, 4).transpose(2, 0, 1)
    assert np.array_equal(unpacked(bytes_of(DecodedCell((item,)))).items[0], item)


def kept(store: PreparedStore, cell: DecodedCell, name: str = "column") -> PreparedShelf:
    with store.writing(name) as shelf:
        shelf.cells.add(KEY, packed(cell))
    return shelf


def test_a_shelf_gives_whole_cells_or_none(tmp_path: Path) -> None:
    store, item = PreparedStore(tmp_path), np.arange(100, dtype=np.int16)
    shelf = kept(store, DecodedCell((item,)))
    for each in (shelf, store.reading("column"), pickle.loads(pickle.dumps(shelf))):
        cell = each.get(KEY)
        assert cell is not None
        assert np.array_equal(cell.items[0], item)
        assert each.get(b"x" * 16) is None
    path = shelf.folder / "cells.bin"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert store.reading("column").get(KEY) is None


def test_a_shelf_of_another_version_is_not_read_and_written_anew(tmp_path: Path) -> None:
    store = PreparedStore(tmp_path)
    shelf = kept(store, DecodedCell((np.zeros(3, np.uint8),)))
    (shelf.folder / "shelf.json").write_text('{"version": 0}')
    assert len(store.reading("column")) == 0
    assert len(kept(store, DecodedCell(()))) == 1


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    store = PreparedStore(tmp_path)
    with store.writing("column"), pytest.raises(LockedError), store.writing("column"):
        pass


def test_features_make_room_for_prepared_cells_and_not_the_other_way_round(tmp_path: Path) -> None:
    features, prepared = FeatureStore(tmp_path, max_bytes=4000), PreparedStore(tmp_path, max_bytes=4000)
    with features.writing("net", (4,)):
        pass
    (features.folder / "net" / "features.bin").write_bytes(bytes(3000))
    kept(prepared, DecodedCell((np.zeros(500, np.uint8),)))
    assert not features.make_room("other", 1000 + 2600)
    assert prepared.room("more") >= 3900
    assert features.has("net")
    prepared.kept.add("column")
    assert prepared.make_room("more", 2000)
    assert not features.has("net")
    assert prepared.has("column")


def test_a_column_finds_a_cell_by_what_its_file_holds(tmp_path: Path) -> None:
    store, keys = PreparedStore(tmp_path / "store"), CellKeys(is_media=True)
    (tmp_path / "a.png").write_bytes(b"a")
    key = keys.content("a.png", tmp_path)
    assert key is not None
    with store.writing("column") as shelf:
        shelf.cells.add(key, packed(DecodedCell((np.ones(2, np.uint8),))))
    column = PreparedColumn(shelf, keys)
    cell = column.read("a.png", tmp_path)
    assert cell is not None
    assert cell.items[0].tolist() == [1, 1]
    (tmp_path / "a.png").write_bytes(b"b")
    assert column.read("a.png", tmp_path) is None
    assert column.read("none.png", tmp_path) is None
