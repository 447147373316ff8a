"""Class weights, by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from polysense.errors import ConfigError
from polysense.nn.class_weights import balanced_weights, effective_number, effective_number_weights, named_weights


def test_balanced_weights_are_scikit_learns() -> None:
    counts = (70, 25, 5)
    labels = np.repeat([0, 1, 2], counts)
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 2]), y=labels)
    assert balanced_weights(counts) == pytest.approx(expected)


def test_the_effective_number_is_a_geometric_sum() -> None:
    for beta in (0.5, 0.9, 0.999):
        for count in (1, 2, 37):
            assert effective_number(count, beta) == pytest.approx(sum(beta**power for power in range(count)))
    assert effective_number(1_000_000, 1 - 1e-9) == pytest.approx(1e6, rel=1e-3)


def test_effective_number_weights_by_hand() -> None:
    # beta .9: one row is worth 1, two are worth 1.9; weights in proportion to 1 and 1 / 1.9 that sum to 2.
    first, second = effective_number_weights((1, 2), 0.9)
    assert (first, second) == pytest.approx((2 * 1.9 / 2.9, 2 * 1.0 / 2.9))
    assert effective_number_weights((1000, 3, 40), 0.0) == pytest.approx([1.0, 1.0, 1.0])


def test_towards_1_the_effective_number_is_balanced() -> None:
    counts = (900, 90, 10)
    almost, balanced = effective_number_weights(counts, 1 - 1e-9), balanced_weights(counts)
    assert np.array(almost) / almost[0] == pytest.approx(np.array(balanced) / balanced[0], rel=1e-5)


def test_a_class_without_rows_weighs_no_more_than_one_with_one() -> None:
    assert balanced_weights((8, 0, 1)) == pytest.approx([9 / 24, 3.0, 3.0])
    weights = effective_number_weights((8, 0, 1), 0.99)
    assert weights[1] == weights[2]


def test_weights_by_name() -> None:
    assert named_weights("here", {"b": 3.0}, ("a", "b")) == [1.0, 3.0]
    with pytest.raises(ConfigError, match=r"here: no class is named 'c' \(known: a, b\)"):
        named_weights("here", {"c": 1.0}, ("a", "b"))
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="a weight is a number of at least 0"):
            named_weights("here", {"a": bad}, ("a", "b"))
    with pytest.raises(ConfigError, match="every class weighs 0"):
        named_weights("here", {"a": 0.0, "b": 0.0}, ("a", "b"))
