"""Label errors: rows whose label a model that did not see them contradicts, with a certainty that it is entitled to.

Confident learning (Northcutt, Jiang and Chuang, "Confident Learning", 2021): a row counts for another class where its
probability there reaches the mean that rows labeled so have. That names rows of any table in which classes overlap, and
a clean table must not be accused. Where classes overlap, contradictions become few as the model becomes certain; where
labels are wrong they do not. So probabilities are calibrated on the half of the rows of which the model is less
certain, and what they then leave room for in the other half is set beside the contradictions there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from polysense.core.finding import Finding, Severity
from polysense.data.roles.profile import quote
from polysense.evaluation.findings.checked import CheckedTable, CheckedTarget, Probabilities
from polysense.evaluation.findings.detector import FALSE_ALARMS, Detector, counted, listed

__all__ = ["LabelErrors", "confident_errors"]

_FEWEST_ROWS = 100
_FEWEST = 3  # errors
_CERTAIN = 0.9  # a calibrated probability, from which a contradiction is listed
_LEAST_SKILL = 0.5  # of the way from the commonest class to always right
_EXCESS = 3.0  # times what the model leaves room for
_MOST = 3


class LabelErrors(Detector):
    """Rows that are probably labeled wrongly."""

    kinds: ClassVar = {"label_error": "rows whose label is probably wrong"}

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        for target in checked.targets:
            known = checked.probabilities.get(target.name)
            if known is not None:
                yield from self._of(checked, target, known)

    def _of(self, checked: CheckedTable, target: CheckedTarget, known: Probabilities) -> Iterable[Finding]:
        labels = target.labels[known.positions]
        labeled = labels >= 0
        positions, values, labels = known.positions[labeled], known.values[labeled], labels[labeled]
        errors = confident_errors(values, labels)
        if not len(errors):
            return
        rows, table = checked.rows(positions[errors])
        first = [
            f"row {checked.named(int(positions[i]))}: {quote(target.classes[labels[i]])}, rather "
            f"{quote(target.classes[int(values[i].argmax())])}"
            for i in errors[:_MOST].tolist()
        ]
        yield Finding(
            kind="label_error",
            severity=Severity.WARNING,
            columns=target.columns,
            rows=rows,
            table=table,
            message=f"{target.name}: {counted(len(errors), 'label')} of {len(labels):,} probably wrong "
            f"({listed(first, _MOST, len(errors))}); by {known.words}",
            action="look at these rows, the first ones first, and correct or leave them out",
        )


def confident_errors(
    probabilities: Float[np.ndarray, "rows classes"], labels: Int[np.ndarray, " rows"]
) -> Int[np.ndarray, " errors"]:
    """Rows that are probably labeled wrongly, the most certain first.

    Args:
        probabilities: By models that had not seen the rows.
        labels: The class of each row.
    """
    nothing = np.zeros(0, dtype=np.int64)
    num = len(labels)
    if num < _FEWEST_ROWS or len(np.unique(labels)) < 2:
        return nothing
    answers = probabilities.argmax(axis=1)
    commonest = float(np.bincount(labels).max()) / num
    skill = (float((answers == labels).mean()) - commonest) / max(1 - commonest, 1e-9)
    if skill < _LEAST_SKILL:
        return nothing
    logits = np.log(np.clip(probabilities, 1e-12, 1.0))
    order = np.argsort(probabilities.max(axis=1), kind="stable")
    less, more = order[: num // 2], order[num // 2 :]
    calibrated = _softmax(logits / _temperature(logits[less], labels[less]))
    top, own = calibrated.max(axis=1), calibrated[np.arange(num), labels]
    wrong = answers != labels
    contradictions, expected = int(wrong[more].sum()), float((1 - top[more]).sum())
    from scipy.stats import poisson

    by_chance = float(poisson.sf(contradictions - 1, max(expected, 1e-3)))
    if contradictions < max(_FEWEST, _EXCESS * expected) or by_chance > FALSE_ALARMS:
        return nothing
    usual = np.array(
        [calibrated[labels == k, k].mean() if (labels == k).any() else 1.0 for k in range(calibrated.shape[1])]
    )
    errors = np.flatnonzero(wrong & (top >= np.minimum(_CERTAIN, usual[answers])))
    return np.asarray(errors[np.argsort(own[errors], kind="stable")])


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def _temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """What logits are divided by so that a model is right as often as it says."""
    right = float((logits.argmax(axis=1) == labels).mean())
    temperatures = np.geomspace(0.1, 10.0, 81)
    gaps = [abs(float(_softmax(logits / each).max(axis=1).mean()) - right) for each in temperatures]
    return float(temperatures[int(np.argmin(gaps))])
