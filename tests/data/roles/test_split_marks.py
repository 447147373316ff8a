"""Columns that mark folds and training rows, and columns of such names that do not."""

from __future__ import annotations

import pytest

from polysense.core.role import Role
from polysense.data.roles.infer import ColumnGuess, infer
from polysense.data.tables.sources import read_table


def guess(name: str, cells: list[object]) -> ColumnGuess:
    return infer(read_table({name: cells, "x": [i % 7 / 4 for i in range(len(cells))]}), [])[0]


FOLDS = [
    "fold",
    "Fold",
    "cv_fold",
    "kfold",
    "fold_id",
    "CV",
    "partition",
    "split",
    "subset",
    "set",
    "train_fold",
    "fold5",
]


@pytest.mark.parametrize("name", FOLDS)
@pytest.mark.parametrize(
    "values", [range(5), range(1, 11), ["fold1", "fold2", "fold3"], ["A", "B", "C"], [0.0, 1.0, 2.0]], ids=str
)
def test_folds(name: str, values: list[object]) -> None:
    found = guess(name, [list(values)[i % len(values)] for i in range(120)])
    assert found.role is Role.IGNORED
    assert f"marks {len(values)} folds" in found.reason
    assert f"data.split.column={name}" in found.reason


@pytest.mark.parametrize(
    "name",
    [
        "is_train",
        "isTrain",
        "istest",
        "trainmask",
        "in_training",
        "train_mask",
        "is_test",
        "used_for_training",
        "holdout_flag",
    ],
)
@pytest.mark.parametrize("values", [[0, 1, 1], [False, True, True], ["no", "yes", "yes"], ["0", "1", "1"]], ids=str)
def test_flags(name: str, values: list[object]) -> None:
    found = guess(name, [values[i % 3] for i in range(120)])
    assert found.role is Role.IGNORED
    assert "marks the t" in found.reason
    assert "data.split.train=[" in found.reason


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("split", ["vertical", "horizontal"]),
        ("fold_change", [1, 2, 3]),
        ("train", [0, 1]),
        ("test", [0, 1]),
        ("set", [1, 1, 1, 1, 1, 1, 1, 1, 2, 3]),
        ("phase", [0.1, 0.4, 0.7]),
        ("is_valid", [0, 1]),
        ("size_set", ["small", "big"]),
    ],
)
def test_others(name: str, values: list[object]) -> None:
    assert guess(name, [values[i % len(values)] for i in range(120)]).role is Role.INPUT


def test_one_split_and_the_rest_is_no_input() -> None:
    names = ["train", "train", "val", "test"]
    cells = [names[i % 4] for i in range(80)]
    rows = {
        "split": cells,
        "fold": [i % 5 for i in range(80)],
        "subset": cells[::-1],
        "x": [i % 7 / 4 for i in range(80)],
    }
    found = {each.name: each for each in infer(read_table(rows), [])}
    assert [name for name, each in found.items() if each.role is Role.SPLIT] == ["split"]
    assert found["fold"].role is found["subset"].role is Role.IGNORED
    assert "the split is 'split'" in found["subset"].reason
    stated = {each.name: each.role for each in infer(read_table(rows), [], overrides={"subset": "split"})}
    assert (stated["subset"], stated["split"]) == (Role.SPLIT, Role.IGNORED)
