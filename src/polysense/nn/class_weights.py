"""Weights of classes in a loss, by how many training rows each has.

"balanced" weighs classes by the inverse of their rows, so that all weigh the same in total. With thousands of rows of
one class and a handful of another that trusts the handful too far: rows of a class overlap, and the n-th one adds less
than the first. The effective number of n rows, (1 - beta^n) / (1 - beta), says how much they cover (Cui et al.,
"Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, section 3); beta 0 weighs all classes alike, and
towards 1 the effective number is n itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from polysense.errors import ConfigError

__all__ = ["balanced_weights", "effective_number", "effective_number_weights", "named_weights"]


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """A weight per class, inverse to its rows; the mean over the rows is 1. A class without rows weighs as one row's.

    Args:
        counts: Training rows of each class.
    """
    total = sum(counts)
    return [total / (len(counts) * max(count, 1)) for count in counts]


def effective_number(count: int, beta: float) -> float:
    """How many rows without overlap so many rows are worth, (1 - beta^n) / (1 - beta); of no row as of one."""
    # expm1 and log1p: with a beta of 1 - 1e-9 the difference of powers would be rounding alone.
    return 1.0 if beta == 0.0 else math.expm1(max(count, 1) * math.log(beta)) / (beta - 1.0)


def effective_number_weights(counts: Sequence[int], beta: float) -> list[float]:
    """A weight per class, inverse to its effective number of rows; they sum to the number of classes.

    Args:
        counts: Training rows of each class.
        beta: From 0, all alike, to below 1.
    """
    inverse = [1.0 / effective_number(count, beta) for count in counts]
    return [len(counts) * weight / sum(inverse) for weight in inverse]


def named_weights(where: str, weights: Mapping[str, float], classes: Sequence[str]) -> list[float]:
    """A weight per class from weights by name; a class that is not named weighs 1.

    Args:
        where: The key in the recipe, for the message.
        weights: By the class's name.
        classes: All of them, in order.

    Raises:
        ConfigError: There is no such class, or a weight is negative or not finite.
    """
    for name, weight in weights.items():
        if name not in classes:
            raise ConfigError(f"{where}: no class is named {name!r} (known: {', '.join(classes)})")
        if not 0 <= weight < math.inf:
            raise ConfigError(f"{where}.{name}: a weight is a number of at least 0; found {weight}")
    if classes and not any(weights.get(name, 1.0) for name in classes):
        raise ConfigError(f"{where}: every class weighs 0, so nothing would be learned; give one a weight above 0")
    return [float(weights.get(name, 1.0)) for name in classes]
