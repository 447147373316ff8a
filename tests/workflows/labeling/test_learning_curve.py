from __future__ import annotations

import numpy as np
import pytest

from polysense.workflows.labeling.learning_curve import learning_curve, sizes_for


def drawn(shares: list[float], rows: int) -> np.ndarray:
    return np.array([np.arange(rows) < share * rows for share in shares], dtype=np.float64)


def test_the_points_end_at_all_labels() -> None:
    assert sizes_for(0) == sizes_for(1) == []
    assert sizes_for(5) == [5]
    assert sizes_for(11) == [10, 11]
    assert sizes_for(100) == [10, 16, 26, 41, 66, 100]
    assert sizes_for(110) == [10, 16, 26, 41, 66, 110]


def test_a_steep_curve_says_go_on_and_its_gain_is_the_power_laws() -> None:
    sizes = [10, 20, 40, 80]
    shares = [0.8 * (size / 10) ** -0.5 for size in sizes]
    curve = learning_curve(sizes, drawn(shares, 2000), is_share=True)
    expected = 0.8 * (8**-0.5 - 18**-0.5)
    assert curve.gain == pytest.approx(expected, abs=2e-3)
    assert curve.gain_interval[0] < expected < curve.gain_interval[1]
    assert curve.advice == "go on"
    assert all(point.interval[0] <= point.error <= point.interval[1] for point in curve.points)


def test_a_flat_curve_and_one_without_errors_say_stop() -> None:
    assert learning_curve([100, 200, 400], drawn([0.2, 0.2, 0.2], 100), is_share=True).advice == "stop"
    assert learning_curve([100, 200, 400], drawn([0, 0, 0], 100), is_share=True).advice == "stop"
    rising = learning_curve([100, 200, 400], drawn([0.2, 0.3, 0.4], 100), is_share=True)
    assert rising.gain == 0


def test_nothing_is_promised_of_a_few_rows() -> None:
    curve = learning_curve([10, 20, 40], drawn([0.5, 0.4, 0.3], 20), is_share=True)
    assert (curve.advice, curve.gain) == ("unknown", None)
    assert "10 more held-out rows" in curve.reason
    assert learning_curve([], np.zeros((0, 0)), is_share=False).points == ()
