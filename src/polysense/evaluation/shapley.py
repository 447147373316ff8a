"""Which subsets of the columns to try, and how their values add up to Shapley values.

A column's Shapley value is its marginal gain averaged over all orders in which the columns could have been added, the
only division of v(all) - v(none) that treats equal columns equally and gives nothing to a column that changes nothing
(Shapley 1953). It is linear in the subsets' values, so it is kept as a matrix: values per row, intervals by resampling
and permutation sampling all go through the same product.

Up to 6 columns every subset is tried (64 at most) and the value is exact. Beyond, orders are drawn, each with its
reverse (antithetic: a column that came early comes late, which takes most of the sampling noise out; Mitchell et al.,
"Sampling Permutations for Shapley Value Estimation", JMLR 2022, section 4). The sum stays exactly v(all) - v(none).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from polysense.core.random import permutation

__all__ = ["MAX_EXACT", "Coalitions", "coalitions"]

MAX_EXACT = 6
"""Columns up to which all 2^M subsets are tried."""

_MIN_PAIRS = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class Coalitions:
    """The subsets to try and the Shapley values' coefficients.

    Attributes:
        subsets: Always with the empty set (first), all columns (second), each column alone and all columns but one.
        coefficients: float64 [samples, columns, subsets]; their mean over the samples times the subsets' values is the
            Shapley value. One sample where it is exact, else one per pair of orders.
        exact: Whether every subset is there.
    """

    subsets: tuple[frozenset[str], ...]
    coefficients: np.ndarray
    exact: bool


def coalitions(columns: Sequence[str], *, max_subsets: int = 128, seed: int = 0) -> Coalitions:
    """Chooses the subsets.

    Args:
        columns: The columns' names.
        max_subsets: About how many subsets to try above 6 columns; at least two pairs of orders are drawn.
        seed: Of the orders.
    """
    names = tuple(columns)
    if len(names) <= MAX_EXACT:
        return _exact(names)
    fixed = 2 + 2 * len(names)
    # An order of M columns brings M - 1 subsets besides none and all; those of one and of M - 1 are there already.
    num_pairs = max(_MIN_PAIRS, (max_subsets - fixed) // (2 * (len(names) - 3)))
    orders = []
    for pair in range(num_pairs):
        order = permutation(len(names), seed, "shapley", pair).tolist()
        orders += [order, order[::-1]]
    index = {subset: i for i, subset in enumerate(_always(names))}
    steps = []
    for order in orders:
        before = frozenset[str]()
        for column in order:
            after = before | {names[column]}
            steps.append((column, index.setdefault(before, len(index)), index.setdefault(after, len(index))))
            before = after
    coefficients = np.zeros((num_pairs, len(names), len(index)))
    for i, (column, before_index, after_index) in enumerate(steps):
        pair = i // (2 * len(names))
        coefficients[pair, column, after_index] += 0.5
        coefficients[pair, column, before_index] -= 0.5
    return Coalitions(subsets=tuple(index), coefficients=coefficients, exact=False)


def _exact(names: tuple[str, ...]) -> Coalitions:
    """phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S))."""
    every = [frozenset(chosen) for size in range(len(names) + 1) for chosen in combinations(names, size)]
    subsets = tuple(dict.fromkeys([*_always(names), *every]))
    index = {subset: i for i, subset in enumerate(subsets)}
    coefficients = np.zeros((1, len(names), len(subsets)))
    for m, name in enumerate(names):
        for subset in subsets:
            if name not in subset:
                share = 1 / (len(names) * math.comb(len(names) - 1, len(subset)))
                coefficients[0, m, index[subset | {name}]] += share
                coefficients[0, m, index[subset]] -= share
    return Coalitions(subsets=subsets, coefficients=coefficients, exact=True)


def _always(names: tuple[str, ...]) -> tuple[frozenset[str], ...]:
    """None, all, each alone, all but one; without repetitions, in that order."""
    everything = frozenset(names)
    results = [frozenset[str](), everything, *(frozenset({name}) for name in names)]
    return tuple(dict.fromkeys([*results, *(everything - {name} for name in names)]))
