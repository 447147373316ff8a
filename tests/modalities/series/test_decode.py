from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.errors import DecodeError
from polysense.modalities.series import decode
from polysense.modalities.series.decode import is_numeric_list, read_series

NUMBERS = st.lists(st.none() | st.integers(-1000, 1000) | st.floats(-1e6, 1e6), min_size=1, max_size=30)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@given(NUMBERS)
def test_a_list_is_one_channel_and_null_is_missing(cell: list[float | None]) -> None:
    if all(value is None for value in cell):
        with pytest.raises(DecodeError, match="every step is missing"):
            read_series(cell, Path())
        return
    values = read_series(cell, Path()).values
    assert values.shape == (len(cell), 1)
    for value, expected in zip(values[:, 0], cell, strict=True):
        assert np.isnan(value) if expected is None else value == expected


def test_a_list_of_lists_is_a_channel_each() -> None:
    values = read_series([[1, 2, None], [4.5, 5, 6]], Path()).values
    np.testing.assert_array_equal(values, [[1, 4.5], [2, 5], [np.nan, 6]])


@pytest.mark.parametrize("shape", [(7,), (7, 1), (7, 3)])
@pytest.mark.parametrize("kind", ["path", "bytes", "array"])
def test_npy_has_steps_first(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    (tmp_path / "a.npy").write_bytes(npy(array))
    cell: object = {"path": "a.npy", "bytes": npy(array), "array": array}[kind]
    np.testing.assert_array_equal(read_series(cell, tmp_path).values, array.reshape(7, -1))


def test_a_file_has_named_channels_and_its_clock_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t (s),x,y z\n0.0,1,2\n0.02,,3\n0.04,5,6\n0.06,7,8\n")
    series = read_series("a.csv", tmp_path)
    assert series.channels == ("x", "y z")
    assert series.steps_per_second == pytest.approx(50)
    np.testing.assert_array_equal(series.values, [[1, 2], [np.nan, 3], [5, 6], [7, 8]])


@pytest.mark.parametrize("clock", ["time", "timestamp", "Time", "date", "index", "t s", "seconds"])
def test_clocks_are_known_by_their_names(tmp_path: Path, clock: str) -> None:
    pl.DataFrame({clock: [1, 2, 3], "tension": [1.0, 2.0, 3.0]}).write_csv(tmp_path / "a.csv")
    assert read_series("a.csv", tmp_path).channels == ("tension",)


def test_parquet_and_tsv_are_read_alike(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": [1.5, None, 3.0], "y": [4, 5, 6]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "a.tsv", separator="\t")
    first, second = (read_series(name, tmp_path) for name in ("a.parquet", "a.tsv"))
    assert first.channels == second.channels == ("x", "y")
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.values, [[1.5, 4], [np.nan, 5], [3, 6]])


def test_infinite_values_count_as_not_measured() -> None:
    np.testing.assert_array_equal(read_series([1.0, float("inf"), 2.0], Path()).values[:, 0], [1, np.nan, 2])


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([], "empty list"),
        ([[1, 2], [3]], "channels of 1 to 2 steps"),
        ([1, "two"], "found 'two', expected a number"),
        ([[1], 2], "channel 1: found 2, expected a list"),
        ([True, 1], "found True, expected a number"),
        ([10**400], "too large for a float"),
        (np.zeros((2, 2, 2)), r"the shape \[2, 2, 2\]"),
        (np.zeros((0, 2)), "at least one step"),
        (b"\x93NUMPY\x01\x00", "can't be read as a .npy file"),
        (b"PAR1 and no more", "can't be read as a Parquet file"),
        (b"\x00\x01\x02", "is a binary file"),
        (b"a,b\n", "holds no step"),
        (b"a,b\nx,1\n", "its column 1 of 2 holds String values, expected numbers"),
        (b"", "is empty"),
        ("nowhere.npy", "no such file"),
        (3.5, r"found 3\.5"),
    ],
)
def test_what_is_no_series_says_why(tmp_path: Path, cell: object, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        read_series(cell, tmp_path)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DecodeError, match=r"can't be read as a \.npy file"):
        read_series("a.npy", tmp_path)


def test_text_in_a_file_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", np.array(["one", "two"]))
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(DecodeError, match="has values of the type <U3, expected numbers"):
        read_series("a.npy", tmp_path)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x93NUMPY", b"PAR1", b"a,b\n1,2\n"]))
def test_any_bytes_end_in_numbers_or_in_a_message(data: bytes, head: bytes) -> None:
    with contextlib.suppress(DecodeError):
        values = read_series(head + data, Path()).values
        assert values.ndim == 2
        assert not np.isinf(values).any()


@pytest.mark.parametrize(
    ("cell", "answer"),
    [
        ([1, 2.5, None], True),
        ([[1, 2], [3, None]], True),
        ([None, None], False),
        ([[1, 2], [3]], False),
        (["a.npy"], False),
        ([], False),
        ([[]], False),
        ("[1]", False),
        ([True], False),
    ],
)
def test_numeric_lists(cell: object, answer: bool) -> None:
    assert is_numeric_list(cell) is answer


_HEADER = b"{'descr': 'SECRET-TOKEN', 'fortran_order': False, 'shape': (3,), }"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("secret", b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/bin/sh\n"),
        ("secret.csv", b"user,SECRET-TOKEN\nroot,hunter2\n"),
        ("secret.csv", b'"SECRET-TOKEN\n1,2\n3'),
        ("secret.csv", b"a,b\n1,2,3,SECRET-TOKEN\n"),
        ("secret.npy", b"\x93NUMPY\x01\x00" + len(_HEADER).to_bytes(2, "little") + _HEADER),
        ("secret.npy", b"SECRET-TOKEN=1\n"),
        ("secret.parquet", b"SECRET-TOKEN=1\n"),
        ("secret.bin", b"SECRET-TOKEN\0\0"),
    ],
)  # fmt: skip
def test_what_a_file_holds_is_never_quoted(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DecodeError) as raised:
        read_series(name, tmp_path)
    for secret in ("SECRET", "root", "hunter2", "daemon"):
        assert secret not in str(raised.value)


def test_a_header_that_states_more_than_there_is_is_refused_before_room_is_made(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 100), }"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(800))
    with pytest.raises(DecodeError, match="cut short: its header states 1000000000 x 100 values"):
        read_series("a.npy", tmp_path)


def test_a_small_file_of_many_values_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.parquet"
    pl.DataFrame({f"c{i}": pl.zeros(1 << 22, dtype=pl.Float64, eager=True) for i in range(8)}).write_parquet(path)
    assert path.stat().st_size < 200_000
    monkeypatch.setattr(pl, "read_parquet", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(DecodeError, match=r"unpacks to 4,194,304 x 8 values from .* at most 25 a byte"):
        read_series("bomb.parquet", tmp_path)


def test_what_is_no_number_is_not_counted_and_what_is_stored_in_full_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_UNSUSPICIOUS", 100)
    values = np.random.default_rng(0).random(5_000)
    pl.DataFrame({"x": values}).write_parquet(tmp_path / "full.parquet")
    assert np.array_equal(read_series("full.parquet", tmp_path).values[:, 0], values)
    pl.DataFrame({"x": np.zeros(50_000)}).write_parquet(tmp_path / "zeros.parquet")
    with pytest.raises(DecodeError, match="unpacks to 50,000 x 1 values"):
        read_series("zeros.parquet", tmp_path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_hundred_thousand_channels_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    if kind == "csv":
        (tmp_path / "wide.csv").write_text(",".join(f"c{i}" for i in range(100_000)) + "\n" + "1," * 99_999 + "1\n")
    else:
        pl.DataFrame({f"c{i}": [1.0] for i in range(20_001)}).write_parquet(tmp_path / "wide.parquet")
    with pytest.raises(DecodeError, match=r"channels, expected at most 20,000"):
        read_series(f"wide.{kind}", tmp_path)
