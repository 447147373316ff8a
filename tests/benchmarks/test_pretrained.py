"""The benchmark of frozen encoders chooses on validation rows or within the training rows, and scores the test rows."""

from __future__ import annotations

import numpy as np
import pytest

import pretrained


@pytest.mark.parametrize("has_validation", [True, False])
@pytest.mark.parametrize("num_classes", [2, 3])
def test_what_the_vectors_tell_is_scored_on_the_test_rows(has_validation: bool, num_classes: int) -> None:
    chance = np.random.default_rng(0)
    numbers = np.arange(120) % num_classes
    x = (np.eye(num_classes)[numbers] + chance.normal(0, 0.05, (120, num_classes))).astype(np.float32)
    part = np.arange(120) // 40
    is_training, is_test = part == 0, part == 2
    is_validation = (part == 1) & has_validation
    groups = np.array([str(row // 12) for row in range(120)])
    labels = np.array([f"c{number}" for number in numbers])
    line = pretrained._score(x, labels, is_training, is_validation, is_test, groups).split(" | ")
    assert line[:2] == ["1.000", "1.000"]
    assert line[2] == ("1.000" if num_classes == 2 else "")
    assert float(line[3]) in pretrained._STRENGTHS
    labels[is_test] = np.roll(labels[is_test], 1)
    worse = pretrained._score(x, labels, is_training, is_validation, is_test, groups).split(" | ")
    assert float(worse[0]) < 0.1


def test_each_table_names_its_rows() -> None:
    assert len({(trial.table, trial.column) for trial in pretrained.TRIALS}) == len(pretrained.TRIALS)
    assert all(trial.test[0] in ("split", trial.group) for trial in pretrained.TRIALS)
