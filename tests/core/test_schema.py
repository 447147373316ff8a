from __future__ import annotations

import pytest

from polysense.core.modality import Task
from polysense.core.schema import Column, Requirements, Schema, Target
from polysense.modalities.image.record import ImageColumn
from polysense.modalities.number.record import NumberColumn
from polysense.modalities.text.record import TextColumn, TextRequirements


def target(task: Task, num_classes: int = 0, columns: tuple[str, ...] = ("y",)) -> Target:
    return Target(name="y", task=task, columns=columns, classes=tuple(f"c{i}" for i in range(num_classes)))


def test_the_order_is_kept_and_names_are_found() -> None:
    columns = tuple(NumberColumn(name=name, mean=0.0, std=1.0) for name in ("z", "a", "m.n: o"))
    schema = Schema(columns=columns, targets=(target(Task.REGRESSION),))
    assert schema.names == ("z", "a", "m.n: o")
    assert list(schema) == list(columns)
    assert schema.column("a") is columns[1]
    assert schema.target("y").task is Task.REGRESSION


def test_two_columns_of_one_name_are_refused() -> None:
    column = TextColumn(name="a", vocabulary_size=10)
    with pytest.raises(AssertionError, match="duplicate column"):
        Schema(columns=(column, column), targets=())
    with pytest.raises(AssertionError, match="duplicate target"):
        Schema(columns=(), targets=(target(Task.REGRESSION), target(Task.REGRESSION)))


def test_a_column_is_read_as_the_record_that_it_is() -> None:
    column: Column = TextColumn(name="a", vocabulary_size=10)
    assert TextColumn.of(column).vocabulary_size == column.num_ids == 10
    with pytest.raises(AssertionError, match="'a': found TextColumn, expected ImageColumn"):
        ImageColumn.of(column)
    assert TextRequirements.of(Requirements()) == TextRequirements()
