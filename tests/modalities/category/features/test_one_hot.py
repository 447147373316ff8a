"""Indicators and frequencies of categories."""

from __future__ import annotations

import numpy as np

from polysense.modalities.category.features.one_hot import OneHotConfig
from polysense.modalities.category.record import CategoryColumn

COLUMN = CategoryColumn(name="x", num_categories=4, categories=("a", "b", "c"))


def ids(*values: int) -> list[np.ndarray]:
    return [np.array([value], dtype=np.int64) for value in values]


def test_an_indicator_for_each_and_the_share() -> None:
    extractor = OneHotConfig().create(COLUMN)
    extractor.fit([], [ids(1), ids(1, 2), ids(3)])
    assert extractor.extract(None, ids(1)).tolist() == [1, 0, 0, 0.5]
    assert extractor.extract(None, ids(3)).tolist() == [0, 0, 1, 0.25]
    assert extractor.extract(None, ids(0)).tolist() == [0, 0, 0, 0], "training did not hold it"
    assert extractor.extract(None, ids(1, 2)).tolist() == [0.5, 0.5, 0, 0.375]


def test_rare_categories_share_no_indicator() -> None:
    extractor = OneHotConfig(max_categories=2).create(COLUMN)
    extractor.fit([], [ids(1), ids(2), ids(3), ids(1)])
    assert extractor.num_features == 3
    assert extractor.extract(None, ids(3)).tolist() == [0, 0, 0.25]


def test_hashed_categories_have_one_for_each_bucket() -> None:
    column = CategoryColumn(name="x", num_categories=5, num_hashes=2, collision_rate=0.0)
    extractor = OneHotConfig(max_categories=3).create(column)
    extractor.fit([], [[np.array([1, 4])], [np.array([2, 3])]])
    assert extractor.extract(None, [np.array([4, 2])]).tolist() == [1, 1, 0, 0]
    assert extractor.extract(None, [np.array([2, 3])]).tolist() == [0, 1, 1, 0.5]
