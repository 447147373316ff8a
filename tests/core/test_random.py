from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.core.random import fold, generator, permutation, uniforms

MASK = (1 << 64) - 1
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def splitmix(state: int) -> int:
    """splitmix64's output for a state, in Python's own integers (Steele, Lea, Flood, 2014)."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def as_integer(coordinate: int | str) -> int:
    if isinstance(coordinate, str):
        data = coordinate.encode()
        return (zlib.crc32(data) << 32) | zlib.adler32(data)
    return coordinate & MASK


def folded(*coordinates: int | str) -> int:
    state = 0
    for coordinate in coordinates:
        state = splitmix(state ^ as_integer(coordinate))
    return state


def test_the_reference_is_splitmix64() -> None:
    # The first outputs of the published generator from seed 0; its state grows by the golden gamma.
    gamma = 0x9E3779B97F4A7C15
    outputs = [splitmix(step * gamma & MASK) for step in range(3)]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(st.lists(INT64 | st.text(max_size=12), min_size=1, max_size=5))
def test_fold_is_chained_splitmix64(coordinates: list[int | str]) -> None:
    assert int(fold(*coordinates)) == folded(*coordinates)


@given(st.lists(INT64, min_size=1, max_size=20), INT64, st.integers(0, 40))
def test_uniforms_are_the_top_bits_of_a_second_hash(rows: list[int], seed: int, num: int) -> None:
    draws = uniforms(num, seed, np.array(rows), "rotate")
    expected = [
        [(splitmix(folded(seed, row, "rotate") ^ splitmix(index)) >> 11) / 2**53 for index in range(num)]
        for row in rows
    ]
    assert draws.shape == (len(rows), num)
    assert draws.tolist() == expected


@given(st.permutations(range(12)), st.integers(1, 11))
def test_a_row_draws_the_same_in_every_batch(order: list[int], cut: int) -> None:
    whole = uniforms(4, 7, 3, np.arange(12), "scale")
    rows = np.array(order)
    for part in (rows[:cut], rows[cut:]):
        np.testing.assert_array_equal(uniforms(4, 7, 3, part, "scale"), whole[part])


def test_more_draws_do_not_change_the_first() -> None:
    np.testing.assert_array_equal(uniforms(16, 1, np.arange(5))[:, :3], uniforms(3, 1, np.arange(5)))


def test_uniforms_are_uniform_and_uncorrelated() -> None:
    # 400,000 draws. Kolmogorov's distance stays below 1.95 / sqrt(n) in 99.9% of uniform samples; the draws are
    # fixed, so this can't flicker.
    draws = uniforms(4, 0, 0, np.arange(100_000), "noise")
    flat = np.sort(draws.ravel())
    distance = np.abs(flat - (np.arange(flat.size) + 0.5) / flat.size).max()
    assert distance < 1.95 / np.sqrt(flat.size)
    assert flat[0] >= 0
    assert flat[-1] < 1
    correlation = np.corrcoef(np.vstack([draws.T, np.roll(draws, 1, axis=0).T]))
    assert np.abs(correlation - np.eye(8)).max() < 4 / np.sqrt(len(draws))


@pytest.mark.parametrize("other", [(1, 0, "a"), (0, 1, "a"), (0, 0, "b"), (0, 0), (0, "a", 0)])
def test_every_coordinate_counts(other: tuple[int | str, ...]) -> None:
    rows = np.arange(1000)
    ours, theirs = uniforms(1, 0, 0, "a", rows)[:, 0], uniforms(1, *other, rows)[:, 0]
    assert not np.isin(ours, theirs).any()
    assert abs(np.corrcoef(ours, theirs)[0, 1]) < 0.13


def test_rows_hash_without_collision() -> None:
    assert np.unique(fold(3, np.arange(200_000), "crop")).size == 200_000


def test_coordinates_broadcast() -> None:
    grid = fold(5, np.arange(3)[:, None], np.arange(4)[None, :])
    assert grid.shape == (3, 4)
    assert int(grid[2, 1]) == folded(5, 2, 1)


@given(INT64, INT64)
def test_a_generator_is_a_function_of_its_coordinates(seed: int, epoch: int) -> None:
    first, second = generator(seed, epoch).random(3), generator(seed, epoch).random(3)
    np.testing.assert_array_equal(first, second)


@given(st.integers(0, 300), INT64)
def test_a_permutation_is_one_and_repeats(num: int, seed: int) -> None:
    order = permutation(num, seed, "order", 2)
    assert sorted(order.tolist()) == list(range(num))
    assert order.dtype == np.int64
    np.testing.assert_array_equal(order, permutation(num, seed, "order", 2))


def test_epochs_are_permuted_differently() -> None:
    assert not np.array_equal(permutation(50, 0, 0), permutation(50, 0, 1))


def test_numpys_global_state_is_left_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[union-attr, index]
    uniforms(3, 0, np.arange(4))
    permutation(10, 1)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[union-attr, index]
