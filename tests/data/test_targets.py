"""Targets are read the same from every container, and predictions are rendered as the table had them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.config.base import members
from polysense.config.codec import from_dict, to_dict
from polysense.core.registry import tasks
from polysense.data.tables.sources import Table, read_table
from polysense.data.target import TargetConfig, TargetProcessor
from polysense.errors import BundleError, ColumnError, ConfigError, DecodeError, TableError
from polysense.tasks.classification.target import ClassificationTargetConfig
from polysense.tasks.multilabel.target import MultilabelTargetConfig
from polysense.tasks.regression.target import RegressionTargetConfig


def table(**columns: list[Any]) -> Table:
    return read_table(columns, name="t")


def fit(config: TargetConfig, cells: list[Any]) -> TargetProcessor:
    processor = config.build("y")
    processor.fit(table(y=cells))
    return processor


def value(processor: TargetProcessor, cell: Any) -> Any:
    found = processor.transform(table(y=[cell]), 0)
    return None if found is None else found.tolist()


def reloaded(processor: TargetProcessor) -> TargetProcessor:
    found = TargetProcessor.load(json.loads(json.dumps(processor.save())))
    assert found.target == processor.target
    assert found.config == processor.config
    return found


def test_the_family_is_read_from_a_recipe() -> None:
    assert {*members("target")} == {"chat", *tasks()}
    config = ClassificationTargetConfig(classes=(0, "a", True))
    assert from_dict(TargetConfig, to_dict(config)) == config


@pytest.mark.parametrize(
    ("cells", "classes", "back"),
    [
        (["b", "a", "b"], ("a", "b"), ["a", "b"]),
        (["10", "9", "9"], ("9", "10"), ["9", "10"]),
        ([10, 9, 9], ("9", "10"), [9, 10]),
        ([1.0, 0.0, 0.0, math.nan], ("0", "1"), [0, 1]),
        ([0.5, 1.5, 0.5], ("0.5", "1.5"), ["0.5", "1.5"]),
        ([True, False, True], ("false", "true"), [False, True]),
        (["True", "False", "True"], ("False", "True"), ["False", "True"]),
        (["1", "x", "1"], ("1", "x"), ["1", "x"]),
        (["007", "7", "7"], ("007", "7"), ["007", "7"]),
        (["None", "NA", "None"], ("NA", "None"), ["NA", "None"]),
    ],
)
def test_classes_are_sorted_and_rendered_as_they_were(
    cells: list[Any], classes: tuple[str, ...], back: list[Any]
) -> None:
    processor = reloaded(fit(ClassificationTargetConfig(), cells))
    assert processor.target.classes == classes
    rendered = [processor.render(np.int64(position)) for position in range(len(classes))]
    assert rendered == back
    assert [type(item) for item in rendered] == [type(item) for item in back]
    assert sum(processor.target.class_counts) == processor.target.num_rows == sum(cell == cell for cell in cells)
    for cell in cells:
        if cell == cell:
            assert type(processor.transform(table(y=[cell]), 0)) is np.ndarray
            assert classes[value(processor, cell)].lower() == str(
                int(cell) if cell in (0, 1) else cell
            ).lower() or isinstance(cell, bool)


def test_a_class_is_found_in_any_container() -> None:
    processor = fit(ClassificationTargetConfig(), [0, 1, 1])
    assert [value(processor, cell) for cell in (1, 1.0, "1", "1.0", " 1 ")] == [1] * 5
    booleans = fit(ClassificationTargetConfig(), [True, False])
    assert [value(booleans, cell) for cell in (True, "true", "True", "FALSE")] == [1, 1, 1, 0]


def test_missing_and_unknown_labels_are_told_apart() -> None:
    processor = fit(ClassificationTargetConfig(), ["a", "b", "", None])
    assert processor.target.num_rows == 2
    assert value(processor, None) is None
    assert value(processor, "  ") is None
    assert processor.transform(table(x=[1]), 0) is None
    with pytest.raises(DecodeError, match=r"found the label 'z', which training did not know \(known: 'a', 'b'\)"):
        value(processor, "z")
    with pytest.raises(DecodeError, match=r"and 5 more"):
        value(fit(ClassificationTargetConfig(), [f"c{i}" for i in range(15)]), "z")


def test_stated_classes_fix_the_order() -> None:
    config = ClassificationTargetConfig(classes=("neg", "pos", "unseen"))
    target = fit(config, ["pos", "neg", "pos", "other"]).target
    assert target.classes == ("neg", "pos", "unseen")
    assert target.class_counts == (1, 2, 0)
    with pytest.raises(DecodeError):
        value(fit(config, ["pos", "neg"]), "other")
    ints = fit(ClassificationTargetConfig(classes=(1, 0)), [0, 1, "1.0"])
    assert value(ints, 1) == 0
    with pytest.raises(ColumnError, match="twice"):
        fit(ClassificationTargetConfig(classes=("1", 1.0)), [1, 0])


@pytest.mark.parametrize(
    ("config", "cells", "message"),
    [
        (ClassificationTargetConfig(), ["a", "a", None], r"t, target column 'y': all 2 .* of one class, 'a'"),
        (ClassificationTargetConfig(), [None, ""], "no training row has a label"),
        (
            ClassificationTargetConfig(classes=("a", "b")),
            ["x", "y"],
            r"no training row has one of the classes 'a', 'b'",
        ),
        (MultilabelTargetConfig(), [[], None], "no training row has a label"),
        (RegressionTargetConfig(), [1.5, 1.5], r"all 2 training values are 1\.5"),
        (RegressionTargetConfig(), ["a", "b"], r"no training row has a number; first t, row 0, column 'y': found 'a'"),
        (RegressionTargetConfig(), [1e200, -1e200, None], r"no training row has a number; .* at most 1e\+30"),
        (RegressionTargetConfig(), [1e-300, 2e-300], "nothing to learn"),
    ],
)
def test_what_teaches_nothing_is_an_error(config: TargetConfig, cells: list[Any], message: str) -> None:
    with pytest.raises(ColumnError, match=message):
        fit(config, cells)


def test_a_column_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TableError, match=r"no target column 'z'"):
        ClassificationTargetConfig(column="z").build("y").fit(table(y=[1, 2]))
    assert ClassificationTargetConfig(column="z").sources("y") == ("z",)


def test_multilabel_reads_lists_and_delimited_texts() -> None:
    for cells in ([["a", "b"], ["c"], []], ["a|b", "c", "c|c"], ["a; b", "c", "c ; "], ["a,b", "c", "c"]):
        processor = reloaded(fit(MultilabelTargetConfig(), cells))
        assert processor.target.classes == ("a", "b", "c")
        assert processor.target.class_counts == (1, 1, 1 if isinstance(cells[0], list) else 2)
        assert processor.target.num_rows == 3
        assert value(processor, cells[0]) == [1.0, 1.0, 0.0]
        assert processor.transform(table(y=[cells[0]]), 0).dtype == np.float32
        assert processor.render(np.array([True, False, True])) == ["a", "c"]
        assert value(processor, None) is None
        with pytest.raises(DecodeError, match="'z'"):
            value(processor, ["a", "z"])
    assert value(fit(MultilabelTargetConfig(), [["a"], ["b"]]), ["b", "b"]) == [0.0, 1.0]
    empty = fit(MultilabelTargetConfig(), [["a"], ["b"], []])
    assert empty.transform(table(y=[["a"], []]), 1).tolist() == [0.0, 0.0], "no label holds, which is a value"
    assert fit(MultilabelTargetConfig(delimiter=" "), ["a,b c", "c"]).target.classes == ("a,b", "c")
    assert fit(MultilabelTargetConfig(), [[1, 2], [2]]).render([True, True]) == [1, 2]


def test_classes_that_look_the_same_are_one() -> None:
    processor = fit(ClassificationTargetConfig(), ["caf\u00e9", "th\u00e9", "cafe\u0301"])
    assert reloaded(processor).target.classes == ("caf\u00e9", "th\u00e9")
    assert value(processor, "the\u0301") == 1
    assert processor.warnings[0].startswith("1 of 3 cells are written with other Unicode characters")
    labels = fit(MultilabelTargetConfig(), ["caf\u00e9|th\u00e9", "cafe\u0301"])
    assert labels.target.classes == ("caf\u00e9", "th\u00e9")


@pytest.mark.parametrize(("trained", "later"), [(["True", "False"], [1, 0]), ([1, 0], ["yes", "no"])])
def test_truth_values_are_the_same_class_however_they_are_written(trained: list[Any], later: list[Any]) -> None:
    processor = fit(ClassificationTargetConfig(), trained)
    assert [value(processor, cell) for cell in later] == [value(processor, cell) for cell in trained]


@pytest.mark.parametrize("cells", [["T", "N", "S"], ["yes", "nein"], ["J", "F"], ["ja", "n"], ["true", "0"]])
def test_words_of_two_pairs_are_no_truth_values(cells: list[Any]) -> None:
    processor = fit(ClassificationTargetConfig(), cells)
    for label in ("F", "no", "false", "1", "y"):
        if label not in cells:
            with pytest.raises(DecodeError, match="which training did not know"):
                value(processor, label)


def test_letters_beside_a_pair_of_letters_may_be_codes() -> None:
    processor = fit(ClassificationTargetConfig(), ["T", "F", "S"])
    assert value(processor, "false") == value(processor, "F")
    with pytest.raises(DecodeError, match="'N'"):
        value(processor, "N")


@pytest.mark.parametrize("empty", ["", "  ", math.nan])
def test_an_empty_name_is_no_class(empty: Any) -> None:
    with pytest.raises(ColumnError, match=r"y.*: classes holds an empty name, .*; leave it out"):
        fit(ClassificationTargetConfig(classes=("a", empty)), ["a", "b"])


@pytest.mark.parametrize(
    ("cells", "unit", "mean"),
    [(["23.9 kg", "1.5 kg", "900 g"], "kg", 12.7), (["$1,234.50", "$9.00", "#N/A"], "$", 621.75)],
)
def test_regression_targets_have_a_unit(cells: list[Any], unit: str, mean: float) -> None:
    processor = reloaded(fit(RegressionTargetConfig(), cells))
    assert processor.target.units == (unit,)
    assert processor.target.mean == pytest.approx((mean,))
    assert value(processor, cells[1]) == [float(cells[1].strip(" kg$"))]
    with pytest.raises(DecodeError, match="expected a number in"):
        value(processor, "3 lb")


def test_regression_keeps_the_tables_units() -> None:
    processor = reloaded(fit(RegressionTargetConfig(), ["1,5", "2,5", None, "3,5"]))
    assert processor.target.mean == (2.5,)
    assert processor.target.std == pytest.approx((math.sqrt(2 / 3),))
    assert processor.target.num_rows == 3
    assert value(processor, "1,125") == [1.125]
    assert value(processor, None) is None
    assert processor.render(np.float32([2.5])) == 2.5
    with pytest.raises(DecodeError, match="expected a number"):
        value(processor, "much")


def test_several_numbers_are_nan_where_unknown() -> None:
    processor = RegressionTargetConfig(columns=("a", "b")).build("y")
    processor.fit(table(a=[1, 2, None, None], b=[10.0, None, 30.0, None]))
    assert len(processor.target.columns) == 2
    assert processor.target.num_rows == 3
    rows = table(a=[1, None, 3, "x"], b=[None, None, 2, 1])
    assert np.array_equal(processor.transform(rows, 0), np.float32([1, np.nan]), equal_nan=True)
    assert processor.transform(rows, 1) is None
    assert processor.transform(table(b=[5]), 0).tolist()[1] == 5.0
    with pytest.raises(DecodeError, match=r"'a': found 'x'"):
        processor.transform(rows, 3)
    assert reloaded(processor).render([1.0, 2.0]) == {"a": 1.0, "b": 2.0}


@settings(max_examples=40)
@given(st.lists(st.text() | st.integers() | st.booleans() | st.floats(), min_size=2, max_size=20))
def test_any_labels_come_back_as_the_same_class(cells: list[Any]) -> None:
    rows = read_table({"y": cells}, name="t")
    processor = ClassificationTargetConfig().build("y")
    try:
        processor.fit(rows)
    except ColumnError:
        return
    loaded = reloaded(processor)
    for i in range(len(rows)):
        found = processor.transform(rows, i)
        assert np.array_equal(found, loaded.transform(rows, i)) or found is loaded.transform(rows, i) is None
        if found is not None:
            again = loaded.transform(table(y=[loaded.render(found)]), 0)
            assert again == found, "a rendered prediction is its own class"


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "classification", "classes": ["a"]},
        {"type": "multilabel", "delimiter": ""},
        {"type": "multilabel", "classes": []},
        {"type": "regression", "columns": []},
        {"type": "regression", "columns": ["a", "a"]},
        {"type": "ranking"},
    ],
)
def test_senseless_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        from_dict(TargetConfig, bad)


@pytest.mark.parametrize(
    "state", [{}, {"target": {}, "config": {}}, {"target": {"task": "x"}, "config": {"type": "regression"}}]
)
def test_a_broken_state_is_a_bundle_error(state: dict[str, Any]) -> None:
    with pytest.raises(BundleError):
        TargetProcessor.load(state)
