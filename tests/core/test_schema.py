from __future__ import annotations

import pytest

from polysense.core.schema import Column, Requirements, Schema, Target
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.record import NumberColumn
from polysense.modalities.text.record import TextColumn, TextRequirements
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.record import RegressionTarget

NUMBER = RegressionTarget(name="y", columns=("y",), mean=(1.0,), std=(2.0,))


def test_the_order_is_kept_and_names_are_found() -> None:
    columns = tuple(NumberColumn(name=name, mean=0.0, std=1.0) for name in ("z", "a", "m.n: o"))
    schema = Schema(columns=columns, targets=(NUMBER,))
    assert schema.names == ("z", "a", "m.n: o")
    assert list(schema) == list(columns)
    assert schema.column("a") is columns[1]
    assert schema.target("y").task == "regression"


def test_two_columns_of_one_name_are_refused() -> None:
    column = TextColumn(name="a", vocabulary_size=10)
    with pytest.raises(AssertionError, match="duplicate column"):
        Schema(columns=(column, column), targets=())
    with pytest.raises(AssertionError, match="duplicate target"):
        Schema(columns=(), targets=(NUMBER, NUMBER))


def test_a_column_is_read_as_the_record_that_it_is() -> None:
    column: Column = TextColumn(name="a", vocabulary_size=10)
    assert TextColumn.of(column).vocabulary_size == column.num_ids == 10
    with pytest.raises(AssertionError, match="'a': found TextColumn, expected ImageColumn"):
        ImageColumn.of(column)
    assert TextRequirements.of(Requirements()) == TextRequirements()


def test_a_target_is_read_as_the_record_that_it_is() -> None:
    target: Target = NUMBER
    assert RegressionTarget.of(target).std == (2.0,)
    assert (target.classes, target.members, target.typical_prompt) == ((), (), 0)
    with pytest.raises(AssertionError, match="'y': found RegressionTarget, expected ClassificationTarget"):
        ClassificationTarget.of(target)
