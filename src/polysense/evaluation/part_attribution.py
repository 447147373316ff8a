"""Parts' shares of a number: what each part of a whole adds to it, on average over orders of removal.

A sampled Shapley value (Castro, Gómez and Tejada, "Polynomial calculation of the Shapley value based on sampling",
Computers & Operations Research 2009, section 3), with each order drawn beside its reverse. Along an order the parts'
shares are differences of neighbors, so they sum to the number with all parts less the number without any, exactly,
however few orders there are. Removing one part at a time, occlusion (Zeiler and Fergus, "Visualizing and
Understanding Convolutional Networks", ECCV 2014, section 4.1), is cheaper and sees nothing where one of two parts is
enough.

The test of a map is what it predicts (Petsiuk et al., "RISE", BMVC 2018, section 4.2): removing the parts that are said
to raise the number, the highest first, should lower it sooner than removing them in any order, and adding them should
raise it sooner. The orders that were drawn are the orders to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from polysense.core.random import permutation

__all__ = ["MapTest", "Removals", "area", "attribute", "draw_orders"]

Removals = Sequence[frozenset[int]]
"""Sets of parts that are removed together."""


@dataclass(frozen=True, kw_only=True)
class MapTest:
    """How well a map says what happens when parts are removed and added, as mean values of the explained number.

    Attributes:
        deletion: While parts are removed, the highest shares first; lower is better.
        insertion: While parts are added to nothing, the highest shares first; higher is better.
        random: While parts are removed in the orders that were drawn, on average; since each is there with its reverse,
            adding them has the same mean.
    """

    deletion: float
    insertion: float
    random: float

    @property
    def holds(self) -> bool:
        """Whether the map is better than chance both ways."""
        return self.deletion < self.random < self.insertion


def draw_orders(num_parts: int, pairs: int, seed: int) -> list[list[int]]:
    """Orders of removal: each drawn one and its reverse."""
    orders: list[list[int]] = []
    for pair in range(pairs):
        order = permutation(num_parts, seed, "parts", pair).tolist()
        orders += [order, order[::-1]]
    return orders


def attribute(
    num_parts: int,
    numbers: Callable[[Removals], np.ndarray],
    *,
    orders: Sequence[Sequence[int]] | None,
) -> tuple[np.ndarray, MapTest | None]:
    """Each part's share of a number, and the map's test.

    Args:
        num_parts: At least one.
        numbers: The number for each set of removed parts, float64 [sets]; asked for twice at most.
        orders: Of removal; None: one part is removed at a time, and nothing is tested.

    Returns:
        float64 [parts]; with orders they sum to the number with all parts less that without any.
    """
    nothing = frozenset[int]()
    if orders is None:
        removed = [nothing, *(frozenset({part}) for part in range(num_parts))]
        values = numbers(removed)
        return values[0] - values[1:], None
    paths = [_path(order) for order in orders]
    index = {removed: i for i, removed in enumerate(dict.fromkeys(each for path in paths for each in path))}
    values = numbers(list(index))
    curves = np.array([[values[index[removed]] for removed in path] for path in paths])
    shares = np.zeros(num_parts)
    for order, curve in zip(orders, curves, strict=True):
        shares[list(order)] += curve[:-1] - curve[1:]
    shares /= len(orders)
    highest_first = np.argsort(-shares, kind="stable").tolist()
    # Adding the highest first is removing the lowest first, backwards.
    deletion, insertion = _path(highest_first), _path(highest_first[::-1])
    missing = [each for each in dict.fromkeys([*deletion, *insertion]) if each not in index]
    if missing:
        values = np.concatenate([values, numbers(missing)])
        index |= {each: len(index) + i for i, each in enumerate(missing)}
    deleted, inserted = (np.array([values[index[each]] for each in path]) for path in (deletion, insertion))
    random = float(np.mean([area(curve) for curve in curves]))
    return shares, MapTest(deletion=area(deleted), insertion=area(inserted), random=random)


def area(curve: np.ndarray) -> float:
    """The mean height of a curve over equal steps, by trapezoids; of a single point its height."""
    if len(curve) == 1:
        return float(curve[0])
    return float((curve[:-1] + curve[1:]).sum() / 2 / (len(curve) - 1))


def _path(order: Sequence[int]) -> list[frozenset[int]]:
    """What is removed after each step of an order, from nothing on."""
    path = [frozenset[int]()]
    for part in order:
        path.append(path[-1] | {part})
    return path
