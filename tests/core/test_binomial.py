from __future__ import annotations

import pytest
from scipy.stats import binom

from polysense.core.binomial import binomial_interval


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (10, 10), (7, 10), (450, 500)])
def test_the_binomial_interval_is_exact(hits: int, total: int) -> None:
    low, high = binomial_interval(hits, total)
    assert low == 0.0 if hits == 0 else binom.sf(hits - 1, total, low) == pytest.approx(0.025)
    assert high == 1.0 if hits == total else binom.cdf(hits, total, high) == pytest.approx(0.025)


def test_forty_of_forty_is_no_certainty() -> None:
    assert binomial_interval(40, 40) == (pytest.approx(0.9119, abs=1e-4), 1.0)
    assert binomial_interval(0, 40) == (0.0, pytest.approx(0.0881, abs=1e-4))
