"""Agreement between annotators: Cohen's kappa of two, Krippendorff's alpha of any number, with bootstrap intervals.

Kappa: Cohen, "A Coefficient of Agreement for Nominal Scales" (1960). Alpha: Krippendorff, "Computing Krippendorff's
Alpha-Reliability" (2011), over whatever distance the labels have, from rows that two or more annotators labeled.
Intervals are of 95%, by drawing the rows anew.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polysense.core.editor import Editor
from polysense.core.json import JsonValue, json_text
from polysense.core.random import generator

__all__ = ["Agreement", "PairAgreement", "agreement", "cohens_kappa", "krippendorffs_alpha"]

_DRAWS = 400
_MOST_ROWS = 500  # that alpha is computed from: distances are asked of each two labels


@dataclass(frozen=True, kw_only=True)
class PairAgreement:
    """Two annotators.

    Attributes:
        first: One's name.
        second: The other's.
        num_rows: That both labeled.
        share: Of these the ones that both labeled alike.
        kappa: None where labels are not nominal, or nobody named a second class.
    """

    first: str
    second: str
    num_rows: int
    share: float
    kappa: float | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """All annotators.

    Attributes:
        num_rows: That two or more labeled.
        alpha: None where there are none, or all labels are the same.
        interval: Of alpha; None where it can't be had.
        pairs: Each two who labeled a row in common.
    """

    num_rows: int
    alpha: float | None
    interval: tuple[float, float] | None
    pairs: tuple[PairAgreement, ...]


def agreement(rows: Sequence[Mapping[str, JsonValue]], editor: Editor, *, seed: int = 0) -> Agreement:
    """How far annotators agree.

    Args:
        rows: Of each row the labels by annotator.
        editor: Compares labels.
        seed: Of the rows that are drawn anew.
    """
    shared = [row for row in rows if len(row) > 1]
    pairs = []
    for first, second in itertools.combinations(sorted({name for row in shared for name in row}), 2):
        both = [(json_text(row[first]), json_text(row[second])) for row in shared if first in row and second in row]
        if both:
            share = sum(a == b for a, b in both) / len(both)
            kappa = cohens_kappa(both) if editor.is_nominal else None
            pairs.append(PairAgreement(first=first, second=second, num_rows=len(both), share=share, kappa=kappa))
    chosen = shared
    if len(shared) > _MOST_ROWS:
        drawn = generator(seed, "rows of agreement").choice(len(shared), _MOST_ROWS, replace=False)
        chosen = [shared[i] for i in np.sort(drawn)]
    alpha, interval = krippendorffs_alpha([list(row.values()) for row in chosen], editor, seed=seed)
    return Agreement(num_rows=len(shared), alpha=alpha, interval=interval, pairs=tuple(pairs))


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """(observed - expected) / (1 - expected) agreement of two annotators; None where both only ever name one class.

    Args:
        pairs: Of each row the two labels.
    """
    total = len(pairs)
    if not total:
        return None
    observed = sum(a == b for a, b in pairs) / total
    classes = {label for pair in pairs for label in pair}
    expected = sum(sum(a == c for a, _ in pairs) * sum(b == c for _, b in pairs) for c in classes) / total**2
    return None if math.isclose(expected, 1.0) else (observed - expected) / (1 - expected)


def krippendorffs_alpha(
    units: Sequence[Sequence[JsonValue]], editor: Editor, *, seed: int = 0
) -> tuple[float | None, tuple[float, float] | None]:
    """1 - observed / expected disagreement, and its interval.

    Args:
        units: Of each row its labels; those with fewer than two say nothing.
        editor: Says how far two labels are apart.
        seed: Of the rows that are drawn anew.
    """
    units = [unit for unit in units if len(unit) > 1]
    if not units:
        return None, None
    values: dict[str, JsonValue] = {}
    for label in itertools.chain.from_iterable(units):
        values.setdefault(json_text(label), label)
    position = {key: i for i, key in enumerate(values)}
    counts = np.zeros((len(units), len(values)))
    for row, unit in enumerate(units):
        for label in unit:
            counts[row, position[json_text(label)]] += 1
    distances = np.zeros((len(values), len(values)))
    labels = list(values.values())
    for i, j in itertools.combinations(range(len(labels)), 2):
        distances[i, j] = distances[j, i] = editor.distance(labels[i], labels[j])
    weights = np.ones((1, len(units)))
    alpha = float(_alphas(counts, distances, weights)[0])
    if math.isnan(alpha):
        return None, None
    drawn = generator(seed, "agreement").multinomial(len(units), np.full(len(units), 1 / len(units)), size=_DRAWS)
    alphas = _alphas(counts, distances, drawn.astype(np.float64))
    alphas = alphas[np.isfinite(alphas)]
    if len(units) < 2 or not len(alphas):
        return alpha, None
    low, high = np.quantile(alphas, (0.025, 0.975))
    return alpha, (float(low), float(high))


def _alphas(counts: np.ndarray, distances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Alpha for each weighting of the rows; NaN where all labels are the same.

    Args:
        counts: [rows, values], how often a row has each value.
        distances: [values, values].
        weights: [draws, rows].
    """
    num = counts.sum(axis=1)
    within = np.einsum("rv,vw,rw->r", counts, distances, counts, optimize=True) / (num - 1)
    total = weights @ num
    pooled = weights @ counts
    across = np.einsum("dv,dv->d", pooled @ distances, pooled)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(across > 0, 1 - (weights @ within / total) / (across / (total * (total - 1))), np.nan)
