"""Folds of rows: classes in proportion, groups whole.

Single rows are dealt out class by class, so that each class is in every fold to within one row. Groups differ in size
and content, so they are placed one by one, the largest first, each where the classes' shares stay the most even.
"""

from __future__ import annotations

import numpy as np

__all__ = ["stratified_folds"]


def stratified_folds(
    classes: np.ndarray, groups: np.ndarray | None, num_folds: int, generator: np.random.Generator
) -> np.ndarray:
    """The fold of each row, int64 [rows], from 0.

    Args:
        classes: int64 [rows], what is to be in proportion.
        groups: int64 [rows], what must stay together, numbered from 0; None: each row is on its own.
        num_folds: How many at most; there are fewer where there are fewer rows or groups.
        generator: Of what is drawn.
    """
    num = len(classes)
    shuffled = generator.permutation(num)
    result = np.zeros(num, dtype=np.int64)
    if groups is None:
        ordered = shuffled[np.argsort(classes[shuffled], kind="stable")]
        result[ordered] = np.arange(num) % min(num_folds, max(num, 1))
        return result
    num_groups = int(groups.max(initial=-1)) + 1
    _, classes = np.unique(classes, return_inverse=True)
    counts = np.zeros((num_groups, classes.max(initial=0) + 1))
    np.add.at(counts, (groups, classes), 1)
    total = counts.sum(axis=0)
    k = min(num_folds, num_groups)
    filled = np.zeros((k, counts.shape[1]))
    fold_of = np.zeros(num_groups, dtype=np.int64)
    random = generator.permutation(num_groups)
    for group in sorted(range(num_groups), key=lambda g: (-counts[g].sum(), random[g])):
        costs = ((2 * filled + counts[group]) * counts[group] / total).sum(axis=1)
        fold_of[group] = int(np.argmin(costs + 1e-9 * filled.sum(axis=1)))
        filled[fold_of[group]] += counts[group]
    of_rows: np.ndarray = fold_of[groups]
    return of_rows
