"""What every modality shares: absence, lists, sampling, saving."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.config.base import members
from polysense.config.codec import from_dict
from polysense.core.registry import modalities
from polysense.core.sample import SourceInfo
from polysense.data.column import ColumnConfig, ColumnProcessor, sampled
from polysense.errors import BundleError, ColumnError, DecodeError
from polysense.modalities.category.column import CategoryColumnConfig
from polysense.modalities.number.column import NumberColumnConfig, NumberProcessor

Fit = Callable[..., ColumnProcessor]


def test_the_family_has_a_member_for_each_modality() -> None:
    assert set(members("column")) == {spec.column_type for spec in modalities().values()}
    assert from_dict(ColumnConfig, {"type": "number"}) == NumberColumnConfig()


@pytest.mark.parametrize("kind", sorted(members("column")))
def test_an_empty_column_is_an_error(kind: str, fit: Fit) -> None:
    with pytest.raises(ColumnError, match=r"t\.csv, column 'c': all 2 training cells are missing"):
        fit(members("column")[kind](), [None, None])


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("audio", "gone.wav"),
        ("image", "gone.png"),
        ("video", "gone.mp4"),
        ("number", "twelve"),
        ("text", {}),
        ("category", b"a"),
    ],
)
def test_a_column_in_which_nothing_can_be_read_is_an_error_with_three_reasons(
    kind: str, cell: object, fit: Fit
) -> None:
    with pytest.raises(ColumnError, match=r"none of the 4 .* row 0: .*; row 1: .*; row 3: ") as caught:
        fit(members("column")[kind](), [cell, cell, None, cell, cell])
    assert "row 4" not in str(caught.value)


def test_a_few_unreadable_cells_do_not_matter_to_fitting(fit: Fit) -> None:
    assert fit(NumberColumnConfig(), ["1", "x", "3", None]).column.mean == 2.0


def test_lists_are_several_items(fit: Fit, source: SourceInfo) -> None:
    processor = fit(CategoryColumnConfig(), [["a", "b", "c"], ["a"], None, "b", []])
    assert processor.column.multiple
    assert processor.column.max_items == 3
    assert [item.tolist() for item in processor.transform(["b", None, "a"], source, Path())] == [[2], [1]]
    assert processor.transform(None, source, Path()) == []
    assert processor.transform([], source, Path()) == []
    with pytest.raises(DecodeError, match="item 1 of 2"):
        processor.transform(["a", b"?"], source, Path())
    assert not fit(CategoryColumnConfig(), ["a", ["b"]]).column.multiple


def test_a_list_that_is_much_longer_than_all_others_is_cut_and_told(
    fit: Fit, source: SourceInfo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = ["a"] * 3000
    processor = fit(CategoryColumnConfig(), [["a", "b"]] * 99 + [long])
    assert processor.column.max_items == 32
    loaded = ColumnProcessor.load(processor.save(tmp_path), tmp_path)
    assert len(loaded.transform(long, source, Path())) == 32
    assert "cut to max_items=32" in caplog.text
    assert "data.columns.c.max_items sets it" in caplog.text
    assert fit(CategoryColumnConfig(max_items=None), [["a", "b"]] * 99 + [long]).column.max_items == 3000
    assert fit(CategoryColumnConfig(), [["a"] * 40] * 20).column.max_items == 40


def test_nothing_is_learned_of_items_that_are_not_read(fit: Fit) -> None:
    cells = [["1.234", "1.5"]] * 99 + [["1.234"] * 32 + ["1,5"] * 2000]
    read = fit(NumberColumnConfig(), cells)
    assert read.column == fit(NumberColumnConfig(), [cell[:32] for cell in cells]).column
    assert isinstance(read, NumberProcessor)
    assert read.notation.decimal == "."


@given(st.integers(0, 3000), st.integers(1, 600))
def test_samples_are_in_order_distinct_and_always_the_same(num: int, limit: int) -> None:
    positions = list(range(5, 5 + num))
    found = list(sampled(positions, limit))
    assert found == sorted(set(found))
    assert set(found) <= set(positions)
    assert len(found) == min(num, limit)
    assert found == list(sampled(positions, limit))


@pytest.mark.parametrize(
    "state", [{}, {"config": {"type": "number"}, "column": {"nonsense": 1}}, {"column": {}, "config": 3}]
)
def test_a_broken_state_is_a_bundle_error(state: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        ColumnProcessor.load(json.loads(json.dumps(state)), tmp_path)


def test_a_state_that_contradicts_itself_is_a_bundle_error(fit: Fit, tmp_path: Path) -> None:
    state = fit(CategoryColumnConfig(), [["a", "b"]] * 20).save(tmp_path)
    assert ColumnProcessor.load(state, tmp_path).column.max_items == 2
    state["column"]["multiple"] = False
    with pytest.raises(BundleError, match="max_items: found 2, expected 1 where a cell holds one item"):
        ColumnProcessor.load(state, tmp_path)
