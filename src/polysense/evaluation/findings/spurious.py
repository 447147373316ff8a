"""Spurious properties: what is no content of a cell and yet predicts the target: brightness, size, format, length.

A model learns the easiest sign there is. Where all images of one class came from one camera, or the longer texts are
the positive ones, a property that no one meant says the class, and a score on rows of the same origin hides it
(Geirhos et al., "Shortcut Learning in Deep Neural Networks", 2020). A property is set beside the classes by Pearson's
chi-square over bins, beside numbers by Spearman's rank correlation, and counts where chance over all properties does
not explain it and it predicts a good part of the target. Of a cell that is brighter, more contrasted and larger in one
class these are one finding: they come from one cause.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from polysense.core.finding import Finding, Severity
from polysense.data.roles.profile import quote
from polysense.evaluation.findings.checked import CheckedTable, CheckedTarget
from polysense.evaluation.findings.detector import FALSE_ALARMS, Detector, listed
from polysense.evaluation.findings.two_samples import bins_of

__all__ = ["SpuriousProperties"]

_FEWEST = 40  # rows of which a property is known
_STRONG, _NOTABLE = 0.5, 0.3  # Cramér's V, or the size of a correlation
_MOST_CLASSES, _FEWEST_OF_CLASS = 50, 5
_BINS = 6
_MOST = 5  # other properties of a column that are named


class _Property(NamedTuple):
    """One of them over all rows: numbers, or kinds with names."""

    column: str
    words: str
    numbers: Float[np.ndarray, " rows"] | None
    codes: Int[np.ndarray, " rows"] | None
    names: tuple[str, ...]


class _Link(NamedTuple):
    strength: float
    p_value: float
    words: str


class SpuriousProperties(Detector):
    """Properties of cells, and whether they are there, that predict a target."""

    kinds: ClassVar = {
        "spurious_property": "properties that are no content, such as brightness, and predict the target"
    }

    def detect(self, checked: CheckedTable) -> Iterable[Finding]:
        links = [
            (target, each, link)
            for target in checked.targets
            for each in _properties(checked)
            if (link := _link(checked, target, each)) is not None
        ]
        notable: dict[tuple[str, str], list[tuple[CheckedTarget, _Property, _Link]]] = {}
        for target, each, link in links:
            if link.p_value * len(links) <= FALSE_ALARMS and link.strength >= _NOTABLE:
                notable.setdefault((target.name, each.column), []).append((target, each, link))
        for together in notable.values():
            together.sort(key=lambda entry: -entry[2].strength)
            target, strongest, link = together[0]
            others = [each.words for _, each, _ in together[1:]]
            message = f"{strongest.column}: {strongest.words} predicts {target.name}: {link.words}"
            yield Finding(
                kind="spurious_property",
                severity=Severity.WARNING if link.strength >= _STRONG else Severity.INFO,
                columns=(strongest.column, *target.columns),
                message=f"{message}; so {'does' if len(others) == 1 else 'do'} {listed(others, _MOST)}"
                if others
                else message,
                action="if it comes from how the rows were collected, even it out or vary it in training, and test on "
                "rows from elsewhere; if it belongs to what is predicted, nothing",
            )


def _properties(checked: CheckedTable) -> Iterator[_Property]:
    for column in checked.columns:
        absent = column.missing
        if absent.any() and not absent.all():
            yield _Property(column.source, "whether it is missing", None, absent.astype(np.int64), ("there", "missing"))
        for words, (codes, names) in column.properties.items():
            yield _Property(column.source, words, None, codes, tuple(names))
        if not column.is_value:
            for words, numbers in column.numbers.items():
                yield _Property(column.source, words, numbers, None, ())


def _link(checked: CheckedTable, target: CheckedTarget, each: _Property) -> _Link | None:
    known = np.isfinite(each.numbers) if each.numbers is not None else np.asarray(each.codes) >= 0
    if target.classes:
        return _with_classes(checked, target, each, known & (target.labels >= 0))
    if target.values is None or each.numbers is None:
        return None
    both = known & np.isfinite(target.values)
    if both.sum() < _FEWEST or not (np.ptp(each.numbers[both]) > 0 and np.ptp(target.values[both]) > 0):
        return None
    from scipy.stats import rankdata, t

    ranks = [rankdata(values[both]) for values in (each.numbers, target.values)]
    r = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    free = max(_effective(checked, both) - 2, 1)
    p_value = 2 * float(t.sf(abs(r) * math.sqrt(free / max(1 - r * r, 1e-12)), free))
    return _Link(abs(r), p_value, f"rank correlation {r:+.2f}")


def _with_classes(
    checked: CheckedTable, target: CheckedTarget, each: _Property, both: Bool[np.ndarray, " rows"]
) -> _Link | None:
    if both.sum() < _FEWEST:
        return None
    labels = target.labels[both]
    counts = np.bincount(labels)
    usual = np.argsort(-counts, kind="stable")[:_MOST_CLASSES]
    usual = usual[counts[usual] >= _FEWEST_OF_CLASS]
    place = np.full(len(counts), -1, dtype=np.int64)
    place[usual] = np.arange(len(usual))
    own = place[labels] >= 0
    labels = place[labels[own]]
    if len(usual) < 2:
        return None
    if each.numbers is not None:
        bins = bins_of(each.numbers[both][own])
        bins = bins * _BINS // (int(bins.max(initial=0)) + 1)
    else:
        assert each.codes is not None, f"{each.words}: neither numbers nor kinds"
        bins = each.codes[both][own]
    used, bins = np.unique(bins, return_inverse=True)
    table = np.zeros((int(bins.max(initial=0)) + 1, len(usual)))
    np.add.at(table, (bins, labels), 1)
    table = table[table.sum(axis=1) >= _FEWEST_OF_CLASS]
    if min(table.shape) < 2:
        return None
    total = table.sum()
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / total
    # Few rows in a cell of the table: chi-square needs about five expected ones.
    if (expected < 1).mean() > 0.2:
        return None
    from scipy.stats import chi2

    statistic = float(((table - expected) ** 2 / np.maximum(expected, 1e-12)).sum())
    free = (table.shape[0] - 1) * (table.shape[1] - 1)
    p_value = float(chi2.sf(statistic * _effective(checked, both) / max(int(both.sum()), 1), free))
    # Bergsma, "A bias-correction for Cramér's V", 2013.
    phi = max(0.0, statistic / total - free / (total - 1))
    sides = [size - (size - 1) ** 2 / (total - 1) for size in table.shape]
    strength = math.sqrt(phi / max(min(sides) - 1, 1e-12))
    right, most = table.max(axis=1).sum() / total, table.sum(axis=0).max() / total
    words = (
        f"by it alone {right:.0%} of the rows are right, by the commonest class {most:.0%} (Cramér's V {strength:.2f})"
    )
    if each.names and len(used) == len(table):
        telling = int(np.abs(table / table.sum(axis=1, keepdims=True) - table.sum(axis=0) / total).sum(axis=1).argmax())
        label, share = int(table[telling].argmax()), table[telling].max() / table[telling].sum()
        words += f"; of {quote(each.names[used[telling]])} {share:.0%} are {quote(target.classes[usual[label]])}"
    return _Link(strength, p_value, words)


def _effective(checked: CheckedTable, rows: Bool[np.ndarray, " rows"]) -> int:
    """Independent units among rows: groups that the split keeps whole, where it does."""
    if checked.clusters is None:
        return int(rows.sum())
    clusters = checked.clusters[rows]
    return len(np.unique(clusters[clusters >= 0])) + int((clusters < 0).sum())
