from __future__ import annotations

import pytest

from polysense.core.modality import Modality, Task
from polysense.core.schema import Column, Schema, Target


def target(task: Task, num_classes: int = 0, columns: tuple[str, ...] = ("y",)) -> Target:
    return Target(name="y", task=task, columns=columns, classes=tuple(f"c{i}" for i in range(num_classes)))


def test_the_order_is_kept_and_names_are_found() -> None:
    columns = tuple(Column(name=name, modality=Modality.NUMBER) for name in ("z", "a", "m.n: o"))
    schema = Schema(columns=columns, targets=(target(Task.REGRESSION),))
    assert schema.names == ("z", "a", "m.n: o")
    assert list(schema) == list(columns)
    assert schema.column("a") is columns[1]
    assert schema.target("y").task is Task.REGRESSION


def test_two_columns_of_one_name_are_refused() -> None:
    column = Column(name="a", modality=Modality.TEXT)
    with pytest.raises(AssertionError, match="duplicate column"):
        Schema(columns=(column, column), targets=())
    with pytest.raises(AssertionError, match="duplicate target"):
        Schema(columns=(), targets=(target(Task.REGRESSION), target(Task.REGRESSION)))


def test_replace_completes_a_column_and_leaves_the_old_one() -> None:
    guess = Column(name="a", modality=Modality.IMAGE)
    fitted = guess.replace(image_size=(28, 32), num_channels=1, mean=(0.5,), std=(0.25,))
    assert guess.image_size is None
    assert (fitted.name, fitted.image_size, fitted.num_channels) == ("a", (28, 32), 1)


@pytest.mark.parametrize(
    ("made", "outputs", "binary"),
    [
        (target(Task.CLASSIFICATION, 2), 2, True),
        (target(Task.CLASSIFICATION, 3), 3, False),
        (target(Task.MULTILABEL, 2), 2, False),
        (target(Task.REGRESSION, columns=("a", "b", "c")), 3, False),
    ],
)
def test_outputs_and_binary(made: Target, outputs: int, binary: bool) -> None:
    assert made.num_outputs == outputs
    assert made.is_binary is binary
