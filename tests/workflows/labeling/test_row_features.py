from __future__ import annotations

import numpy as np
import pytest

from polysense.errors import TableError
from polysense.workflows.labeling import row_features
from polysense.workflows.labeling.row_features import RowFeatures


def test_features_are_standardized_and_what_a_row_lacks_is_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_features, "_BLOCK", 7)
    values = np.random.default_rng(0).normal(size=(40, 3)) * [1.0, 100.0, 1e-3] + [5.0, -7.0, 0.0]
    values = np.concatenate([values, np.full((40, 1), 3.0)], axis=1)
    values[4, 1], values[5] = np.nan, np.inf
    scaled = RowFeatures(values).values
    known = np.isfinite(values)
    assert (scaled[~known] == 0).all()
    assert (scaled[:, 3] == 0).all()  # the same in all rows
    for column in range(3):
        assert scaled[known[:, column], column].mean() == pytest.approx(0.0, abs=1e-6)
        assert scaled[known[:, column], column].std() == pytest.approx(1.0, abs=1e-5)


def test_counts_that_are_mostly_0_are_not_blown_up() -> None:
    values = np.zeros((200, 40))
    values[np.arange(200), np.arange(200) % 39] = 1.0
    values[0, 39] = 1.0  # a word of one row
    scaled = RowFeatures(values).values
    assert np.abs(scaled[0, 39]) < 2 * np.abs(scaled).max(axis=0)[:39].max()


def test_far_outliers_and_huge_numbers_stay_finite_and_in_order() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=(5_000, 1)), [[1e6], [1e7]]])
    scaled = RowFeatures(np.concatenate([values, values**3], axis=1)).values
    assert np.isfinite(scaled).all()
    assert scaled[-1, 0] > scaled[-2, 0] > scaled[:-2, 0].max()
    assert scaled[-1, 0] < 100


def test_rows_with_the_very_same_features_share_a_number() -> None:
    values = np.random.default_rng(0).normal(size=(30, 5))
    values[7] = values[21]
    values[8] = values[21][[1, 0, 2, 3, 4]]  # the same numbers in another order
    copies = RowFeatures(values).copies
    assert copies[7] == copies[21]
    assert len(np.unique(copies)) == 29


def test_very_many_features_are_projected_without_moving_rows_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_features, "MOST_FEATURES", 20)
    monkeypatch.setattr(row_features, "_AXES", 6)
    generator = np.random.default_rng(0)
    values = generator.normal(size=(50, 5)) @ generator.normal(size=(5, 40))
    features = RowFeatures(values)
    assert features.values.shape == (50, 6)
    whole = (values - values.mean(axis=0)) / values.std(axis=0)
    np.testing.assert_allclose(
        np.linalg.norm(features.values[:9] - features.values[9], axis=1),
        np.linalg.norm(whole[:9] - whole[9], axis=1), rtol=1e-3,
    )  # fmt: skip
    np.testing.assert_allclose(features.transform(values[3:5]), features.values[3:5], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.ones((5, 2)), np.full((5, 2), np.nan)])
def test_features_that_tell_no_row_from_another_are_refused(values: np.ndarray) -> None:
    with pytest.raises(TableError, match="features: "):
        RowFeatures(values)
    with pytest.raises(TableError, match=r"expected \[rows, 2\]"):
        RowFeatures(np.eye(2)).transform(np.ones((3, 4)))
