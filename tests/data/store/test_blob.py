"""Values by key in a file that grows: whole or not there, whoever is killed when."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.data.store import blob as module
from polysense.data.store.blob import Blob, checksum

FIELDS = [("number", "<u4")]


def key(number: int) -> bytes:
    return number.to_bytes(8, "little") * 2


def opened(folder: Path) -> Blob:
    return Blob(folder / "data.bin", folder / "index.bin", FIELDS)


def filled(folder: Path, values: dict[int, bytes]) -> Blob:
    blob = opened(folder)
    with blob.appending():
        for number, value in values.items():
            blob.add(key(number), [value[:3], memoryview(value[3:])], [number])
    return blob


def value_of(blob: Blob, number: int) -> bytes | None:
    entry = blob.get(key(number), verify=True)
    if entry is None:
        return None
    assert int(entry[1]["number"]) == number
    return entry[0].tobytes()


VALUES = {1: b"one", 2: b"", 3: b"three" * 50}


@settings(max_examples=30, deadline=None)
@given(rounds=st.lists(st.dictionaries(st.integers(0, 6), st.binary(max_size=200), max_size=5), max_size=4))
def test_what_was_added_comes_back_and_the_last_value_of_a_key_counts(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[dict[int, bytes]]
) -> None:
    folder, expected = tmp_path_factory.mktemp("blob"), dict[int, bytes]()
    for values in rounds:
        blob = filled(folder, values)
        expected |= values
        for each in (blob, opened(folder), pickle.loads(pickle.dumps(blob))):
            assert {number: value_of(each, number) for number in range(7)} == {
                number: expected.get(number) for number in range(7)
            }
            assert len(each) == len(expected)
            assert sorted(each.keys()) == sorted(map(key, expected))
            assert all((key(number) in each) == (number in expected) for number in range(7))


def test_many_values_are_found_without_a_dictionary_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ADDED", 10)
    blob = opened(tmp_path)
    with blob.appending():
        for number in range(100):
            blob.add(key(number), [bytes([number])], [number])
            if number % 7 == 0:
                blob.commit(durable=True)
        assert len(blob._added) <= 20
    assert all(value_of(blob, number) == bytes([number]) for number in range(100))
    assert len(blob) == 100
    assert value_of(blob, 100) is None


def test_others_read_what_was_committed_and_nothing_else(tmp_path: Path) -> None:
    blob = opened(tmp_path)
    with blob.appending():
        blob.add(key(1), [b"one"], [1])
        assert value_of(opened(tmp_path), 1) is None
        blob.commit()
        assert value_of(opened(tmp_path), 1) == b"one"
        blob.add(key(2), [b"two"], [2])
        assert value_of(opened(tmp_path), 2) is None
    assert value_of(opened(tmp_path), 2) == b"two"


def test_an_error_within_leaves_what_was_added_before(tmp_path: Path) -> None:
    blob = opened(tmp_path)

    def interrupted() -> None:
        with blob.appending():
            blob.add(key(1), [b"one"], [1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert value_of(opened(tmp_path), 1) == b"one"


@pytest.mark.parametrize("file", ["data.bin", "index.bin"])
@pytest.mark.parametrize("lost", [1, 7, 40, 200])
def test_the_end_of_a_file_that_is_lost_takes_its_values_and_no_others(tmp_path: Path, file: str, lost: int) -> None:
    filled(tmp_path, VALUES)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-lost])
    there = {number: value_of(opened(tmp_path), number) for number in VALUES}
    assert all(value in (None, VALUES[number]) for number, value in there.items())
    assert there[3] is None
    again = filled(tmp_path, {3: b"new", 4: b"four"})
    for each in (again, opened(tmp_path)):
        assert value_of(each, 3) == b"new"
        assert value_of(each, 4) == b"four"
        assert all(value_of(each, number) == there[number] for number in (1, 2))


def test_what_a_killed_process_did_not_commit_is_written_over(tmp_path: Path) -> None:
    filled(tmp_path, VALUES)
    size = (tmp_path / "data.bin").stat().st_size
    with (tmp_path / "data.bin").open("ab") as file:
        file.write(b"x" * 5000)
    again = filled(tmp_path, {4: b"four"})
    assert (tmp_path / "data.bin").stat().st_size < size + 100
    assert {number: value_of(again, number) for number in VALUES} == VALUES


def test_a_flipped_bit_is_noticed_when_it_is_asked_for(tmp_path: Path) -> None:
    filled(tmp_path, VALUES)
    path = tmp_path / "data.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    blob = opened(tmp_path)
    entry = blob.get(key(3))
    assert entry is not None
    assert entry[0].tobytes() != VALUES[3]
    assert blob.get(key(3), verify=True) is None
    assert key(3) not in blob
    assert value_of(blob, 1) == b"one"


def test_keys_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    blob = opened(tmp_path)
    alike = [bytes(8) + number.to_bytes(8, "little") for number in range(5)]
    with blob.appending():
        for number, each in enumerate(alike):
            blob.add(each, [bytes([number])], [number])
    for number, each in enumerate(alike):
        entry = opened(tmp_path).get(each)
        assert entry is not None
        assert entry[0].tolist() == [number]
    assert bytes(8) + b"x" * 8 not in opened(tmp_path)


def test_values_begin_where_any_type_may_lie(tmp_path: Path) -> None:
    filled(tmp_path, {1: b"a", 2: np.arange(4, dtype=np.float64).tobytes()})
    entry = opened(tmp_path).get(key(2))
    assert entry is not None
    assert entry[0].view("<f8").tolist() == [0, 1, 2, 3]
    assert entry[0].view("<f8").flags.aligned


def test_files_that_are_not_there_hold_nothing(tmp_path: Path) -> None:
    blob = opened(tmp_path / "none")
    assert len(blob) == 0
    assert blob.get(key(1)) is None


def test_the_checksum_is_of_all_parts() -> None:
    assert checksum([b"ab", memoryview(b"c")]) == checksum([b"abc"]) != checksum([b"abd"])


def test_what_is_added_can_be_read_before_it_is_committed(tmp_path: Path) -> None:
    blob = opened(tmp_path)
    with blob.appending():
        blob.add(key(1), [b"one"], [1])
        assert value_of(blob, 1) == b"one"
        assert key(1) in blob
        assert list(blob.keys()) == [key(1)]
