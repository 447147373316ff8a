"""One category, however its table spells it; an unseen one is unknown, not unreadable."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.sample import SourceInfo
from polysense.data.column import ColumnProcessor
from polysense.data.values.category_key import category_key
from polysense.errors import ColumnError, DecodeError
from polysense.modalities.category.column import CategoryColumnConfig, CategoryProcessor, hashed_ids

Fit = Callable[..., CategoryProcessor]
SOURCE = SourceInfo(table="t", row=0, column="c")
WRITTEN = (545, 514)


def number(processor: ColumnProcessor, cell: object) -> int:
    (found,) = processor.transform(cell, SOURCE, Path())
    assert found.shape == (1,)
    return int(found[0])


@pytest.mark.parametrize(
    ("same", "other"),
    [
        ((1, 1.0, "1", "1.0", " 1 ", "1.00"), ("01", "1.5", True)),
        ((0, -0.0, "0", "-0.0"), ("00", False)),
        ((True, "True", "true", "TRUE"), (1, "yes")),
        (("007",), (7, "7")),
        (("1.50",), (1.5,)),
        (("Cat", " Cat"), ("cat", "CAT")),
    ],
)
def test_one_value_has_one_key(same: tuple[object, ...], other: tuple[object, ...]) -> None:
    keys = {category_key(value) for value in same}
    assert len(keys) == 1
    assert not keys & {category_key(value) for value in other}


def test_no_value_has_no_key() -> None:
    assert category_key(None) is None
    assert category_key(math.nan) is None
    assert category_key("  ") is None
    for cell in (b"a", ["a"], {"a": 1}):
        with pytest.raises(DecodeError, match="expected one category"):
            category_key(cell)


@given(st.text() | st.integers() | st.floats() | st.booleans())
def test_a_key_is_its_own_key(value: object) -> None:
    key = category_key(value)
    assert key is None or category_key(key) == key


def test_ids_go_by_frequency_then_name(fit: Fit) -> None:
    processor = fit(CategoryColumnConfig(), ["b", "c", "a", "c", None, 3, "3.0", "3"])
    assert processor.column.categories == ("3", "c", "a", "b")
    assert processor.column.num_categories == 5
    assert [number(processor, cell) for cell in ("a", 3.0, "c")] == [3, 1, 2]


def test_the_unseen_and_the_rare_are_unknown_and_told(fit: Fit) -> None:
    processor = fit(CategoryColumnConfig(min_count=2), ["a", "a", "b"])
    assert processor.column.num_categories == 2
    assert [number(processor, cell) for cell in ("a", "b", "z")] == [1, 0, 0]
    told = processor.unfamiliar(["a", "b", "z", "z", None])
    assert told == "3 of 4 cells hold categories that training did not know ('z', 'b')"
    assert processor.unfamiliar(["a", None]) is None
    assert "they differ in capitals alone" in str(processor.unfamiliar(["A"]))
    assert processor.transform(" ", SOURCE, Path()) == []


@pytest.mark.parametrize(
    ("trained", "later"),
    [
        (["True", "False"], [1, 0]),
        ([True, False], ["1.0", "0.0"]),
        ([1, 0], ["true", "FALSE"]),
        (["yes", "no"], [True, False]),
        (["Y", "N"], ["yes", "no"]),
        (["ja", "nein"], ["J", "n"]),
        (["yes", "no", "unknown"], [1, 0]),
    ],
)
def test_truth_values_are_the_same_however_they_are_written(fit: Fit, trained: list[Any], later: list[Any]) -> None:
    processor = fit(CategoryColumnConfig(), trained)
    assert [number(processor, cell) for cell in later] == [number(processor, cell) for cell in trained[:2]]
    assert processor.unfamiliar(later) is None


@pytest.mark.parametrize("trained", [[0, 1, 2], ["1", "0", "x"], ["yes", "maybe"], ["no", "nein"], [1, 0, "yes"]])
def test_other_columns_are_no_truth_values(fit: Fit, trained: list[Any]) -> None:
    processor = fit(CategoryColumnConfig(), trained)
    assert number(processor, "on") == 0
    told = processor.unfamiliar(["on"] * 120)
    assert told == "all 120 cells hold categories that training did not know ('on')"


def test_texts_that_look_the_same_are_the_same(fit: Fit) -> None:
    cells = ["caf\u00e9", "cafe\u0301", "New York", "New\u00a0York", "New York\u200b"]
    processor = fit(CategoryColumnConfig(), cells)
    assert processor.column.categories == ("New York", "caf\u00e9")
    (warning,) = processor.warnings
    assert warning.startswith("3 of 5 cells are written with other Unicode characters than they look like")


def test_saving_and_loading_changes_nothing(fit: Fit, tmp_path: Path) -> None:
    processor = fit(CategoryColumnConfig(), ["x", "ü", "x", True, 4])
    loaded = ColumnProcessor.load(json.loads(json.dumps(processor.save(tmp_path))), tmp_path)
    assert isinstance(loaded, CategoryProcessor)
    assert loaded.column == processor.column
    assert loaded.column.categories == processor.column.categories
    assert [number(loaded, cell) for cell in ("x", "ü", "true", 4.0, "?")] == [
        number(processor, cell) for cell in ("x", "ü", "true", 4.0, "?")
    ]


def test_the_hash_is_the_same_everywhere() -> None:
    # Written down: another value here would break every saved model.
    assert hashed_ids("Zürich", 1000, 2) == WRITTEN
    code = "from polysense.modalities.category.column import hashed_ids; print(hashed_ids('Z\\u00fcrich', 1000, 2))"
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == str(WRITTEN)


@given(st.text(), st.integers(2, 10_000), st.integers(1, 8))
def test_hashes_lie_in_range(key: str, buckets: int, hashes: int) -> None:
    found = hashed_ids(key, buckets, hashes)
    assert len(found) == hashes
    assert all(1 <= bucket <= buckets for bucket in found)


def test_hashing_gives_an_id_to_every_value(fit: Fit) -> None:
    processor = fit(CategoryColumnConfig(hash_buckets=100), [f"user {i}" for i in range(50)])
    assert (processor.column.num_categories, processor.column.num_hashes) == (101, 1)
    assert processor.column.categories == ()
    seen, unseen = number(processor, "user 7"), number(processor, "never seen")
    assert 1 <= unseen <= 100
    assert (number(processor, " user 7 "), number(processor, "never seen")) == (seen, unseen)
    assert processor.unfamiliar(["never seen"]) is None
    assert processor.transform(" ", SOURCE, Path()) == []
    two = fit(CategoryColumnConfig(), ["a", 1, True], hash_buckets=64, num_hashes=3)
    (found,) = two.transform(1.0, SOURCE, Path())
    assert found.tolist() == list(hashed_ids("1", 64, 3))
    assert two.column.num_hashes == 3


@pytest.mark.parametrize(("distinct", "buckets", "hashes"), [(3000, 4096, 1), (2000, 50, 2), (40, 1_000_000, 1)])
def test_the_collision_rate_is_counted_and_as_expected(
    distinct: int, buckets: int, hashes: int, fit: Fit, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [f"key {i}" for i in range(distinct)]
    with caplog.at_level(logging.INFO, logger="polysense.data.columns"):
        processor = fit(CategoryColumnConfig(hash_buckets=buckets, num_hashes=hashes), [*keys, *keys[:10], None])
    ids = {key: tuple(processor.transform(key, SOURCE, Path())[0].tolist()) for key in keys}
    exact = sum(any(ids[key] == ids[other] for other in keys if other != key) for key in keys) / distinct
    assert processor.column.collision_rate == pytest.approx(exact)
    expected = 1 - (1 - buckets**-hashes) ** (distinct - 1)
    # Values that collide come in pairs and more: three standard deviations of twice the binomial variance.
    assert exact == pytest.approx(expected, abs=3 * math.sqrt(2 * expected * (1 - expected) / distinct) + 2 / distinct)
    assert f"{distinct} distinct categories hashed into {buckets} buckets by {hashes} function(s)" in caplog.text
    assert f"(expected {100 * expected:.2f}%)" in caplog.text
    assert fit(CategoryColumnConfig(), keys).column.collision_rate is None


def test_hashing_is_set_in_one_place(fit: Fit) -> None:
    assert fit(CategoryColumnConfig(hash_buckets=64), ["a"], hash_buckets=64).column.num_categories == 65
    with pytest.raises(ColumnError, match=r"hashes into 32 buckets with 2 function\(s\), data.columns says 64 with 1"):
        fit(CategoryColumnConfig(hash_buckets=64), ["a"], hash_buckets=32, num_hashes=2)
    with pytest.raises(ColumnError, match="min_count is 2, but hashed categories are not counted"):
        fit(CategoryColumnConfig(min_count=2), ["a"], hash_buckets=32)
    with pytest.raises(ValueError, match="hash_buckets"):
        CategoryColumnConfig(hash_buckets=1)
    with pytest.raises(ValueError, match="num_hashes"):
        CategoryColumnConfig(num_hashes=9)


def test_a_saved_hash_still_hashes(fit: Fit, tmp_path: Path) -> None:
    processor = fit(CategoryColumnConfig(), ["x", "y"], hash_buckets=77, num_hashes=2)
    loaded = ColumnProcessor.load(json.loads(json.dumps(processor.save(tmp_path))), tmp_path)
    assert loaded.column == processor.column
    for cell in ("x", "new"):
        assert loaded.transform(cell, SOURCE, Path())[0].tolist() == list(hashed_ids(cell, 77, 2))
