"""Features within a time: what the clock shows while they are made decides how many rows have some."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.random import permutation
from polysense.training.time_plan import Deadline
from polysense.workflows.feature_time import NumRows, keep_num_rows, kept_num_rows, store_in_time


@given(
    seconds=st.floats(1, 1000), guessed=st.floats(1e-3, 1), slower=st.floats(0.2, 20), rows=st.integers(1, 3000),
    validation=st.integers(0, 500), test=st.integers(0, 500), views=st.integers(0, 3),
)  # fmt: skip
def test_features_end_in_time_however_slow_the_machine_becomes(
    seconds: float, guessed: float, slower: float, rows: int, validation: int, test: int, views: int
) -> None:
    now, stored, pace = [0.0], list[int](), guessed * slower
    deadline = Deadline(seconds, lambda: now[0])

    def store(chosen: np.ndarray) -> None:
        stored.extend(chosen.tolist())
        now[0] += pace * len(chosen)

    numbers = store_in_time(deadline, rows, validation, test, guessed, store, seed=1, views=views)
    assert len(set(stored)) == len(stored)
    assert set(permutation(rows, 1, "features")[: numbers.train].tolist()) <= set(stored)
    part = max(8, math.ceil(rows / 10))
    assert now[0] <= 0.5 * seconds + pace * max(part, 32) + 1e-6
    # What is still to come fits as well, where there are more rows than the fewest.
    if numbers.train > max(part, 32):
        assert now[0] + pace * views * numbers.train <= 0.5 * seconds + pace * part + 1e-6
    assert numbers.validation <= validation
    assert (numbers.validation == 0) is (validation == 0)
    listed = "; ".join(deadline.left_out)
    assert (f"of {rows:,} training rows" in listed) is (numbers.train < rows)
    assert (f"of {validation:,} validation rows" in listed) is (numbers.validation < validation)
    assert deadline.left <= max(0.0, seconds - now[0])
    if slower <= 1 and guessed * ((1 + views) * rows + validation + test) <= 0.2 * seconds:
        assert numbers == NumRows(train=rows, validation=validation), "there is time for all"


def test_a_run_that_is_resumed_has_the_rows_that_it_had(tmp_path: Path) -> None:
    assert kept_num_rows(tmp_path).train > 10**9
    keep_num_rows(tmp_path, NumRows(train=40, validation=12))
    assert kept_num_rows(tmp_path) == NumRows(train=40, validation=12)
