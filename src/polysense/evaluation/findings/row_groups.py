"""Row groups: rows that are equal or nearly so, which several detectors ask for.

Rows are equal where all their input cells are. In a table of a few categories that happens by chance, so equal rows
count only where a cell is of a kind that does not recur (`CheckedColumn.is_distinct`), or where they are far more than
independent columns would give. Near copies are found among the decoded cells of a column by their signatures (see
`core.likeness`): two that agree as far as the modality says, and far more than the column's cells usually do with the
one that is nearest to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Int

from polysense.core.likeness import agreement
from polysense.core.random import fold
from polysense.core.unsupported import Unsupported
from polysense.evaluation.findings.checked import CheckedColumn, CheckedTable

__all__ = ["connected", "equal_rows", "groups_of_keys", "near_cells", "near_rows", "row_keys"]

_BY_CHANCE = 1e-4  # probability of as many equal rows, were the columns independent
_EXPECTED = 0.01  # equal rows of one group by chance, from which it may be one
_DEVIATIONS = 5.0  # of the agreement with the nearest cell, beyond the median
_CERTAIN = 0.97  # agreement that is enough, however alike the column's cells are
_FEWEST = 30  # cells from which the usual agreement is known
_ALIKE = 0.02  # of all pairs that agree so far: then the column's cells are of one kind, and no copies
_BLOCK = 1_000
_MOST_PAIRS = 50_000  # of a column all of whose cells are alike

_NEAR: WeakKeyDictionary[CheckedColumn, Int[np.ndarray, "pairs 2"]] = WeakKeyDictionary()
"""The near cells of columns that were asked for, which costs a second."""


def groups_of_keys(keys: Int[np.ndarray, " rows"]) -> list[Int[np.ndarray, " group"]]:
    """Positions that share a key, of every key that several have; -1 is none."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    edges = np.flatnonzero(np.diff(ordered)) + 1
    parts = np.split(order, edges)
    return sorted((part for part in parts if len(part) > 1 and keys[part[0]] != -1), key=lambda part: int(part[0]))


def row_keys(columns: Sequence[CheckedColumn], num_rows: int) -> Int[np.ndarray, " rows"]:
    """Per row what equal rows share, by chance others once in 2^63; -1 for a row in which nothing is there or a cell
    that is there is not known."""
    if not columns:
        return np.full(num_rows, -1, dtype=np.int64)
    state = np.zeros(num_rows, dtype=np.int64)
    anything = np.zeros(num_rows, dtype=bool)
    unknown = np.zeros(num_rows, dtype=bool)
    for column in columns:
        state = fold(state, column.keys).view(np.int64)
        anything |= ~column.missing
        unknown |= (column.keys == -1) & ~column.missing
    state = state & np.int64(2**63 - 1)
    return np.where(anything & ~unknown, state, -1)


def equal_rows(checked: CheckedTable) -> list[Int[np.ndarray, " group"]]:
    """Groups of rows whose inputs are all equal, beyond what chance makes of values that recur."""
    columns = _contents(checked.columns)
    groups = groups_of_keys(row_keys(columns, len(checked)))
    if not groups:
        return []
    first = np.array([group[0] for group in groups])
    distinct = np.zeros(len(groups), dtype=bool)
    for column in columns:
        distinct |= column.is_distinct[first]
    certain = [group for group, is_sure in zip(groups, distinct, strict=True) if is_sure]
    others = [group for group, is_sure in zip(groups, distinct, strict=True) if not is_sure]
    return sorted([*certain, *_beyond_chance(columns, others, len(checked))], key=lambda group: int(group[0]))


def _contents(columns: Sequence[CheckedColumn]) -> list[CheckedColumn]:
    """One input of each column of the table: several may read the same one."""
    return list({column.source: column for column in columns}.values())


def _beyond_chance(
    columns: Sequence[CheckedColumn], groups: Sequence[np.ndarray], num_rows: int
) -> list[Int[np.ndarray, " group"]]:
    """Those groups that independent columns would not have made."""
    if not groups:
        return []
    once = np.ones(num_rows, dtype=bool)
    for group in groups:
        once[group[1:]] = False
    num = int(once.sum())
    log_pairs = math.log(max(num * (num - 1) / 2, 1))
    first = np.array([group[0] for group in groups])
    log_share = np.zeros(len(groups))
    for column in columns:
        values, counts = np.unique(column.keys[once], return_counts=True)
        shares = counts / num
        # Of a column without two equal cells half a pair, lest nothing be expected for ever.
        log_pairs += math.log((float((counts * (counts - 1.0)).sum()) + 1.0) / max(num * (num - 1.0), 1.0))
        log_share += np.log(shares[np.searchsorted(values, column.keys[first])])
    expected = math.exp(min(log_pairs, 50.0))
    pairs = sum(len(group) * (len(group) - 1) // 2 for group in groups)
    from scipy.stats import poisson

    if float(poisson.sf(pairs - 1, expected)) > _BY_CHANCE:
        return []
    rare = num * np.exp(log_share) <= _EXPECTED
    return [group for group, is_rare in zip(groups, rare, strict=True) if is_rare]


def near_cells(column: CheckedColumn) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of positions, the lower one first, whose cells of a column are near copies and not equal."""
    if column not in _NEAR:
        _NEAR[column] = _near_cells(column)
    return _NEAR[column]


def _near_cells(column: CheckedColumn) -> Int[np.ndarray, "pairs 2"]:
    likeness = column.spec.likeness
    nothing = np.zeros((0, 2), dtype=np.int64)
    if isinstance(likeness, Unsupported) or column.read is None or column.read.signatures is None:
        return nothing
    has = column.read.signatures.any(axis=1)
    positions = column.read.positions[has]
    signatures, keys = column.read.signatures[has], column.keys[positions]
    # Equal cells are compared once.
    _, first = np.unique(np.where(keys == -1, -2 - np.arange(len(keys)), keys), return_index=True)
    first = np.sort(first)
    positions, signatures = positions[first], signatures[first]
    num = len(positions)
    if num < 2:
        return nothing
    candidates: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    nearest = np.zeros(num, dtype=np.float32)
    for start in range(0, num, _BLOCK):
        block = slice(start, min(start + _BLOCK, num))
        agreed = agreement(signatures[block], signatures)
        agreed[np.arange(len(agreed)), np.arange(block.start, block.stop)] = 0.0
        nearest[block] = agreed.max(axis=1)
        rows, others = np.nonzero(agreed >= likeness.threshold)
        upper = rows + start < others
        rows, others = rows[upper], others[upper]
        candidates.append(np.stack([rows + start, others], axis=1))
        scores.append(agreed[rows, others])
    usual = nearest[nearest < likeness.threshold]
    limit = likeness.threshold
    if 2 * sum(map(len, candidates)) > _ALIKE * num * (num - 1) and num >= _FEWEST:
        limit = max(limit, _CERTAIN)
    elif len(usual) >= _FEWEST:
        low, middle, high = np.quantile(usual, (0.25, 0.5, 0.75))
        limit = max(limit, min(_CERTAIN, float(middle + _DEVIATIONS * (high - low) / 1.349)))
    pairs, agreed = np.concatenate(candidates), np.concatenate(scores)
    chosen = pairs[agreed >= limit]
    order = np.argsort(-agreed[agreed >= limit], kind="stable")[:_MOST_PAIRS]
    return np.asarray(positions[chosen[order]])


def near_rows(checked: CheckedTable) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of rows in which one column at least is nearly equal, and all others are nearly or quite."""
    columns = _contents(checked.columns)
    near = {column.name: near_cells(column) for column in columns}
    pairs = {tuple(pair) for each in near.values() for pair in each.tolist()}
    if not pairs:
        return np.zeros((0, 2), dtype=np.int64)
    rows = np.array(sorted(pairs), dtype=np.int64)
    alike = np.ones(len(rows), dtype=bool)
    for column in columns:
        own = {tuple(pair) for pair in near[column.name].tolist()}
        equal = column.keys[rows[:, 0]] == column.keys[rows[:, 1]]
        alike &= equal | np.array([tuple(pair) in own for pair in rows.tolist()], dtype=bool)
    return rows[alike]


def connected(pairs: Int[np.ndarray, "pairs 2"]) -> list[Int[np.ndarray, " group"]]:
    """Groups of positions that pairs connect."""
    leader: dict[int, int] = {}

    def lead(i: int) -> int:
        leader.setdefault(i, i)
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for a, b in pairs.tolist():
        low, high = sorted((lead(a), lead(b)))
        leader[high] = low
    groups: dict[int, list[int]] = {}
    for i in sorted(leader):
        groups.setdefault(lead(i), []).append(i)
    return [np.array(group, dtype=np.int64) for group in groups.values()]
