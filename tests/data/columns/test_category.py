"""One category, however its table spells it; an unseen one is unknown, not unreadable."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.sample import SourceInfo
from polysense.data.columns.base import ColumnProcessor
from polysense.data.columns.category import CategoryColumnConfig, CategoryProcessor, category_key
from polysense.errors import DecodeError

Fit = Callable[..., CategoryProcessor]
SOURCE = SourceInfo(table="t", row=0, column="c")


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
    assert processor.categories == (None, "3", "c", "a", "b")
    assert processor.column.num_categories == 5
    assert [number(processor, cell) for cell in ("a", 3.0, "c")] == [3, 1, 2]
    assert processor.num_unknown == 0


def test_the_unseen_and_the_rare_are_unknown_and_counted(fit: Fit) -> None:
    processor = fit(CategoryColumnConfig(min_count=2), ["a", "a", "b"])
    assert processor.column.num_categories == 2
    assert [number(processor, cell) for cell in ("a", "b", "z")] == [1, 0, 0]
    assert processor.num_unknown == 2
    assert processor.transform(" ", SOURCE, Path()) == []


def test_saving_and_loading_changes_nothing(fit: Fit, tmp_path: Path) -> None:
    processor = fit(CategoryColumnConfig(), ["x", "ü", "x", True, 4])
    loaded = ColumnProcessor.load(json.loads(json.dumps(processor.save(tmp_path))), tmp_path)
    assert isinstance(loaded, CategoryProcessor)
    assert loaded.column == processor.column
    assert loaded.categories == processor.categories
    assert [number(loaded, cell) for cell in ("x", "ü", "true", 4.0, "?")] == [
        number(processor, cell) for cell in ("x", "ü", "true", 4.0, "?")
    ]
