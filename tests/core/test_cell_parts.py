from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polysense.core.cell_parts import stretches


@given(st.integers(0, 300), st.integers(1, 50), st.integers(1, 20))
def test_stretches_cover_everything_once(length: int, most: int, shortest: int) -> None:
    result = stretches(length, most, shortest)
    assert 1 <= len(result) <= most
    assert [step for start, end in result for step in range(start, end)] == list(range(length))
    if length >= shortest:
        assert min(end - start for start, end in result) >= shortest
