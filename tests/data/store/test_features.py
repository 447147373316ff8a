"""The store of frozen features: by content, whole or not there, within a bound."""

from __future__ import annotations

import os
import pickle
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.geometry import Placement
from polysense.core.lock import locked
from polysense.core.stored import StoredItem
from polysense.data.store.features import CellRecord, FeatureShelf, FeatureStore, item_key


def item(seed: int, tokens: tuple[int, int] = (3, 2)) -> StoredItem:
    rng = np.random.default_rng(seed)
    return StoredItem(tuple(rng.normal(size=(num, 4)).astype(np.float32) for num in tokens), 7 + seed)


def filled(store: FeatureStore, keys: list[bytes], name: str = "net") -> FeatureShelf:
    with store.writing(name, (4, 4)) as shelf:
        for seed, key in enumerate(keys):
            if key not in shelf:
                shelf.add(key, item(seed))
    return shelf


def same(stored: StoredItem | None, expected: StoredItem) -> bool:
    return (
        stored is not None
        and stored.length == expected.length
        and all(map(np.array_equal, stored.layers, expected.layers))
    )


KEYS = [item_key(np.arange(n)) for n in range(3)]


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=6))
def test_what_was_added_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int]]
) -> None:
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    with store.writing("net", (4, 4)) as shelf:
        for seed, size in enumerate(sizes):
            shelf.add(item_key(np.array(seed)), item(seed, size))
            assert same(shelf.get(item_key(np.array(seed))), item(seed, size))
    again = FeatureShelf(store.folder / "net", (4, 4))
    copy = pickle.loads(pickle.dumps(again))
    for seed, size in enumerate(sizes):
        for each in (again, copy):
            assert same(each.get(item_key(np.array(seed)), verify=True), item(seed, size))


def test_keys_tell_values_types_and_shapes_apart() -> None:
    items = [
        np.zeros(4, np.uint8),
        np.ones(4, np.uint8),
        np.zeros(4, np.int8),
        np.zeros((2, 2), np.uint8),
        np.zeros(1, np.int32),
    ]
    assert len({item_key(each) for each in items}) == len(items)
    assert item_key(np.arange(6).reshape(2, 3).T) == item_key(np.ascontiguousarray(np.arange(6).reshape(2, 3).T))


@pytest.mark.parametrize("lost", [1, 3, 4, 21])
def test_a_kill_in_the_middle_of_writing_loses_the_last_item_alone(tmp_path: Path, lost: int) -> None:
    store = FeatureStore(tmp_path)
    shelf = filled(store, KEYS)
    path = shelf.folder / "features.bin"
    path.write_bytes(path.read_bytes()[:-lost])
    again = FeatureShelf(shelf.folder, (4, 4))
    assert [same(again.get(key, verify=True), item(seed)) for seed, key in enumerate(KEYS)] == [True, True, False]
    with store.writing("net", (4, 4)) as again:
        assert again.get(KEYS[2], verify=True) is None
        again.add(KEYS[2], item(2))
    assert [same(again.get(key, verify=True), item(seed)) for seed, key in enumerate(KEYS)] == [True] * 3


def test_half_a_record_is_not_there(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    shelf = filled(store, KEYS)
    path = shelf.folder / "index.bin"
    path.write_bytes(path.read_bytes()[:-5])
    again = filled(store, KEYS)
    assert [same(again.get(key, verify=True), item(seed)) for seed, key in enumerate(KEYS)] == [True] * 3


def test_a_flipped_bit_is_noticed_and_only_its_item_is_gone(tmp_path: Path) -> None:
    shelf = filled(FeatureStore(tmp_path), KEYS)
    path = shelf.folder / "features.bin"
    data = bytearray(path.read_bytes())
    data[130] ^= 1  # an item has 80 bytes, and begins at a multiple of 64
    path.write_bytes(data)
    again = FeatureShelf(shelf.folder, (4, 4))
    assert [same(again.get(key, verify=True), item(seed)) for seed, key in enumerate(KEYS)] == [True, False, True]
    assert KEYS[1] not in again


def test_another_networks_shelf_is_not_read(tmp_path: Path) -> None:
    shelf = filled(FeatureStore(tmp_path), KEYS)
    assert len(FeatureShelf(shelf.folder, (4, 4))) == 3
    assert len(FeatureShelf(shelf.folder, (4, 8))) == 0


def test_the_oldest_shelves_make_room(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, max_bytes=1500)
    for name in ("first", "second"):
        os.utime(filled(store, KEYS, name).folder / "shelf.json", (100 + len(name), 100 + len(name)))
    filled(store, KEYS, "first")  # used again
    with store.writing("third", (4, 4)) as shelf:
        assert not store.make_room("third", 1500)
        assert sorted(path.name for path in store.folder.iterdir()) == ["first", "second", "third"]
        assert store.make_room("third", 700)
        shelf.add(KEYS[0], item(0))
    assert sorted(path.name for path in store.folder.iterdir()) == ["first", "third"]
    sizes = [path.stat().st_size for path in store.folder.rglob("*") if path.is_file()]
    assert sum(sizes) <= 1500
    store.kept.add("first")
    assert not store.make_room("third", 1000)


def test_a_shelf_that_is_written_to_makes_no_room(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, max_bytes=1000)
    filled(store, KEYS, "first")
    with locked(store.folder / "first"):
        assert not store.make_room("second", 700)
    assert len(FeatureShelf(store.folder / "first", (4, 4))) == 3
    assert store.make_room("second", 700)


def test_another_writer_is_waited_for_and_one_that_stands_still_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    filled(store, KEYS[:1])
    monkeypatch.setattr("polysense.data.store.features._PATIENCE", 0.0)
    with locked(store.folder / "net"), store.writing("net", (4, 4)) as shelf:
        assert shelf.folder != store.folder / "net"
        shelf.add(KEYS[1], item(1))
    assert same(shelf.get(KEYS[1]), item(1))
    assert len(FeatureShelf(store.folder / "net", (4, 4))) == 1
    monkeypatch.setattr("polysense.data.store.features._PATIENCE", 60.0)
    entered = threading.Event()

    def write() -> None:
        with store.writing("net", (4, 4)) as shelf:
            entered.set()
            time.sleep(0.3)
            shelf.add(KEYS[2], item(2))

    other = threading.Thread(target=write)
    other.start()
    entered.wait()
    with store.writing("net", (4, 4)) as shelf:
        assert shelf.folder == store.folder / "net"
        assert same(shelf.get(KEYS[2]), item(2))
    other.join()


def test_a_cell_is_known_by_its_items_and_a_broken_one_is_not_there(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    placed = CellRecord((KEYS[0], KEYS[1]), Placement(np.array([[0.1, 0, 2], [0, 1 / 3, 4], [0, 0, 1]]), (7, 5)))
    with store.writing("net", (4, 4)) as shelf:
        shelf.add_cell(b"a" * 16, placed)
        shelf.add_cell(b"b" * 16, CellRecord((KEYS[2],), None))
    path = shelf.folder / "cells.bin"
    again = FeatureShelf(shelf.folder, (4, 4)).cell(b"a" * 16)
    assert again is not None
    assert again.placement is not None
    assert again.items == placed.items
    assert again.placement.same(placed.placement)
    path.write_bytes(path.read_bytes()[:-4])
    assert FeatureShelf(shelf.folder, (4, 4)).cell(b"b" * 16) is None
    with store.writing("net", (4, 4)) as shelf:
        shelf.add_cell(b"c" * 16, CellRecord((KEYS[2],), None))
    again = FeatureShelf(shelf.folder, (4, 4))
    assert [again.cell(letter * 16) is not None for letter in (b"a", b"b", b"c")] == [True, False, True]
    path.write_bytes(path.read_bytes().replace(b"0.1", b"0.2"))
    assert FeatureShelf(shelf.folder, (4, 4)).cell(b"a" * 16) is None


def test_a_shelf_that_has_gone_gives_nothing(tmp_path: Path) -> None:
    shelf = FeatureShelf(filled(FeatureStore(tmp_path), KEYS).folder, (4, 4))
    shutil.rmtree(shelf.folder)
    assert shelf.get(KEYS[0]) is None


def test_the_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSENSE_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("POLYSENSE_CACHE_BYTES", "123")
    store = FeatureStore()
    assert (store.folder, store.max_bytes) == (tmp_path / "mine" / "features", 123)
    monkeypatch.delenv("POLYSENSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert FeatureStore().folder == tmp_path / "xdg" / "polysense" / "features"
