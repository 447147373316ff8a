"""Slices: rows with something in common for which a model is worse, found without being named.

Every trait (see `traits`) and every pair of them is a slice if it has 20 rows and as many lack it. Its score is set
beside that of the other rows, and since hundreds are tried, one is claimed only if its difference is larger than the
largest of all of them is in 19 of 20 shuffles of the rows' scores, which tells nothing from something whatever the
correlation of the slices (the single-step max-t of Westfall and Young, "Resampling-Based Multiple Testing", 1993,
section 2.5). The intervals have the same width in standard errors, so they hold for all slices at once; a share's is
exact at that level. Rows of one group are not shuffled apart: there the signs of groups' deviations are drawn (the
wild bootstrap of Cameron, Gelbach and Miller, "Bootstrap-Based Improvements for Inference with Clustered Errors",
2008), and a slice lies in five groups at least.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from polysense.core.audit_answers import RowScore
from polysense.core.binomial import binomial_interval
from polysense.core.json import JsonValue
from polysense.core.random import generator, permutation
from polysense.core.registry import task
from polysense.core.unsupported import Unsupported
from polysense.evaluation.audit.part import AuditInput, AuditPart
from polysense.evaluation.audit.traits import Trait, traits_of
from polysense.evaluation.bootstrap import Interval

__all__ = ["FEWEST_ROWS", "Slice", "Slices", "find_slices", "measure_slices"]

FEWEST_ROWS = 20
"""In a slice, and outside it."""

_FEWEST_GROUPS = 5
_MOST_ROWS = 5000
_MOST_SLICES = 3000
_NUM_SHUFFLES = 999
_MOST_CLAIMED = 8
_MOST_OTHERS = 5
_MOST_SENTENCES = 3
_REMAINING = 2.0  # standard errors
_AS_GOOD = 0.9  # of a pair's statistic: then one of its two traits says it


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Rows with something in common.

    Attributes:
        words: What they have in common.
        num: Rows.
        score: Of them; its interval holds for all slices at once.
        elsewhere: The score of the other rows of which it is known that they are others.
        p_value: That a slice deviates as much by chance, corrected for all slices that were tried.
        is_claimed: Whether it is worse beyond chance.
    """

    words: str
    num: int
    score: Interval
    elsewhere: float
    p_value: float
    is_claimed: bool

    def as_json(self) -> dict[str, JsonValue]:
        """For audit.json."""
        return {
            "slice": self.words,
            "num_rows": self.num,
            "score": dict(self.score.as_json()),
            "elsewhere": self.elsewhere,
            "p_value": self.p_value,
            "is_worse": self.is_claimed,
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Slices(AuditPart):
    """The worst slices.

    Attributes:
        score: What rows are compared by, in words.
        higher_is_better: Its direction.
        num_rows: That were looked at.
        overall: Their mean score.
        num_tried: Slices.
        worst: Those that are worse beyond chance, the surest first; one says what others say in other words.
        others: The next ones, of which none is claimed.
        notes: What was not looked at, in words.
        is_of_groups: Whether rows have groups.
        confidence: Of the intervals and of the claims together.
    """

    name: ClassVar[str] = "slices"
    title: ClassVar[str] = "Slices"
    template: ClassVar[str] = "audit_slices.html.j2"

    score: str
    higher_is_better: bool
    num_rows: int
    overall: float
    num_tried: int
    worst: tuple[Slice, ...] = ()
    others: tuple[Slice, ...] = ()
    notes: tuple[str, ...] = ()
    is_of_groups: bool = False
    confidence: float = 0.95

    def record(self) -> Mapping[str, JsonValue]:
        return {
            "score": self.score,
            "higher_is_better": self.higher_is_better,
            "num_rows": self.num_rows,
            "overall": self.overall,
            "num_tried": self.num_tried,
            "worst": [each.as_json() for each in self.worst],
            "others": [each.as_json() for each in self.others],
            "notes": list(self.notes),
        }

    def findings(self) -> Sequence[str]:
        if self.num_rows < 2 * FEWEST_ROWS:
            return [f"{self.num_rows} rows are too few to look for slices; {2 * FEWEST_ROWS} are needed."]
        if not self.num_tried:
            return [f"No column cuts the rows into two parts of at least {FEWEST_ROWS} rows."]
        if not self.worst:
            return [
                f"No slice of the rows is worse than the others in {self.score} beyond chance; {self.num_tried:,} were "
                "tried, which is corrected for."
            ]
        sentences = []
        for each in self.worst[:_MOST_SENTENCES]:
            low, high = (f"{end:.3g}" for end in (each.score.low, each.score.high))
            sentences.append(
                f"{each.words}: {self.score} {each.score.value:.3g} ({low} to {high}) against {each.elsewhere:.3g} "
                f"elsewhere, on {each.num:,} rows; the interval holds for all {self.num_tried:,} slices tried."
            )
        return sentences


def measure_slices(asked: AuditInput) -> Slices | None:
    """The worst slices of one target; None where its task does not score single rows."""
    answer = task(asked.target.task).row_score
    if isinstance(answer, Unsupported):
        return None
    score = answer(asked.target, asked.statistics)
    positions = np.flatnonzero(np.isfinite(score.values))
    if not len(positions):
        return None
    if len(positions) > _MOST_ROWS:
        positions = np.sort(positions[permutation(len(positions), asked.seed, "slices")[:_MOST_ROWS]])
    traits, notes = traits_of(asked, positions, FEWEST_ROWS) if len(positions) >= 2 * FEWEST_ROWS else ([], [])
    chosen = RowScore(
        name=score.name,
        higher_is_better=score.higher_is_better,
        is_share=score.is_share,
        values=score.values[positions],
    )
    clusters = None if asked.clusters is None else asked.clusters[positions]
    result = find_slices(
        asked.target.name, chosen, traits, clusters=clusters, confidence=asked.confidence, seed=asked.seed
    )
    return replace(result, notes=tuple(notes))


def find_slices(
    target: str,
    score: RowScore,
    traits: Sequence[Trait],
    *,
    clusters: Int[np.ndarray, " rows"] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Slices:
    """Tries every trait and every pair.

    Args:
        target: The target's name.
        score: Of every row, finite.
        traits: Of the same rows.
        clusters: The group of each row; None: rows are on their own.
        confidence: 1 less the chance that a slice is claimed where nothing but chance tells rows apart.
        seed: Of the shuffles.
    """
    values = score.values.astype(np.float64)
    candidates = _candidates(traits, clusters)
    overall = float(values.mean()) if len(values) else math.nan
    result = Slices(
        target=target,
        score=score.name,
        higher_is_better=score.higher_is_better,
        num_rows=len(values),
        overall=overall,
        num_tried=len(candidates),
        is_of_groups=clusters is not None,
        confidence=confidence,
    )
    deviations = (values - overall) * (1.0 if score.higher_is_better else -1.0)
    if not candidates or not deviations.any():
        return result
    inside = np.array([trait.has for trait in candidates])
    outside = np.array([trait.known for trait in candidates]) & ~inside
    num_inside, num_outside = inside.sum(axis=1)[:, None], outside.sum(axis=1)[:, None]
    contrast = inside * (1 / num_inside).astype(np.float32) - outside * (1 / num_outside).astype(np.float32)
    observed, largest = _shuffled(contrast, num_inside[:, 0], num_outside[:, 0], deviations, clusters, seed)
    ordered = np.sort(largest)
    critical = float(ordered[min(math.ceil(confidence * (len(ordered) + 1)), len(ordered)) - 1])

    def described(index: int) -> Slice:
        own = values[inside[index]]
        groups = None if clusters is None else clusters[inside[index]]
        corrected = float((1 + np.count_nonzero(largest >= abs(observed[index]))) / (len(largest) + 1))
        return Slice(
            words=candidates[index].words,
            num=len(own),
            score=_interval(own, score.is_share, float(values.std()), critical, groups),
            elsewhere=float(values[outside[index]].mean()),
            p_value=corrected,
            is_claimed=bool(observed[index] < -critical),
        )

    # The worst first, by the statistic of single rows: that of groups says more of how many they are than where a slice
    # ends. It is negative where a slice is worse.
    gaps = (
        contrast @ deviations.astype(np.float32) / (deviations.std() * np.sqrt(1 / num_inside + 1 / num_outside)[:, 0])
    )
    order = [int(i) for i in np.argsort(gaps, kind="stable") if gaps[i] < 0]
    claimed = [i for i in order if observed[i] < -critical]
    unclaimed = [i for i in order if observed[i] >= -critical]
    listed = _distinct(claimed, candidates, inside, gaps, deviations, _MOST_CLAIMED)
    rest = _distinct(unclaimed, candidates, inside, gaps, deviations, _MOST_OTHERS)
    return replace(result, worst=tuple(map(described, listed)), others=tuple(map(described, rest)))


def _candidates(traits: Sequence[Trait], clusters: np.ndarray | None) -> list[Trait]:
    """Traits and pairs of them with enough rows inside and outside, no two of the same rows."""
    results: list[Trait] = []
    seen = set()

    def add(trait: Trait) -> None:
        num, num_known = int(trait.has.sum()), int(trait.known.sum())
        key = trait.has.tobytes(), trait.known.tobytes()
        if not FEWEST_ROWS <= num <= num_known - FEWEST_ROWS or key in seen or len(results) >= _MOST_SLICES:
            return
        if clusters is None or len(np.unique(clusters[trait.has])) >= _FEWEST_GROUPS:
            seen.add(key)
            results.append(trait)

    for trait in traits:
        add(trait)
    common = [trait for trait in traits if trait.is_common]
    for one, other in itertools.combinations(common, 2):
        if len(results) >= _MOST_SLICES:
            break
        if one.source != other.source:
            words = f"{one.words}, and {other.words}"
            known = one.known & other.known
            has = one.has & other.has
            if has.sum() not in (one.has.sum(), other.has.sum()):
                add(Trait(words=words, source="", has=has, known=known, parents=(one.words, other.words)))
    return results


def _shuffled(
    contrast: Float[np.ndarray, "slices rows"],
    num_inside: Int[np.ndarray, " slices"],
    num_outside: Int[np.ndarray, " slices"],
    deviations: Float[np.ndarray, " rows"],
    clusters: np.ndarray | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Each slice's statistic, float64 [slices], and the largest one of all slices in each shuffle, [shuffles]."""
    draws = generator(seed, "slices")
    if clusters is None:
        errors = deviations.std() * np.sqrt(1 / num_inside + 1 / num_outside)
        shuffles = np.stack([draws.permutation(deviations) for _ in range(_NUM_SHUFFLES)], axis=1).astype(np.float32)
        observed = contrast @ deviations.astype(np.float32) / errors
        return observed, _largest(contrast, shuffles, errors)
    _, group = np.unique(clusters, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sums = np.add.reduceat((contrast * deviations.astype(np.float32))[:, order], starts, axis=1)
    errors = np.sqrt((sums.astype(np.float64) ** 2).sum(axis=1))
    errors = np.where(errors > 0, errors, np.inf)
    signs = draws.choice([-1.0, 1.0], size=(sums.shape[1], _NUM_SHUFFLES)).astype(np.float32)
    return sums.sum(axis=1) / errors, _largest(sums, signs, errors)


def _largest(left: np.ndarray, right: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """max over slices of |left @ right| / errors, without holding them all; float64 [shuffles]."""
    result = np.zeros(right.shape[1])
    step = 512
    for start in range(0, len(left), step):
        part = np.abs(left[start : start + step] @ right) / errors[start : start + step, None]
        result = np.maximum(result, part.max(axis=0))
    return result


def _interval(own: np.ndarray, is_share: bool, spread: float, critical: float, clusters: np.ndarray | None) -> Interval:
    """The slice's own score; as many standard errors wide as the claims ask for."""
    mean, num = float(own.mean()), len(own)
    if is_share and clusters is None:
        level = 2 * NormalDist().cdf(critical) - 1
        return Interval(mean, *binomial_interval(round(mean * num), num, min(level, 1 - 1e-12)))
    deviations = own - mean
    if clusters is not None:
        group = np.unique(clusters, return_inverse=True)[1]
        deviations = np.bincount(group, weights=deviations).astype(np.float64)
    # Rows that are all alike say nothing of how far others lie apart.
    error = math.sqrt(float((deviations**2).sum())) / num or spread / math.sqrt(num)
    low, high = mean - critical * error, mean + critical * error
    return Interval(mean, max(low, 0.0), min(high, 1.0)) if is_share else Interval(mean, low, high)


def _distinct(
    order: Sequence[int],
    candidates: Sequence[Trait],
    inside: np.ndarray,
    gaps: np.ndarray,
    deviations: np.ndarray,
    most: int,
) -> list[int]:
    """The first of several slices that say the same.

    Of a pair that is hardly worse than one of its traits it is that trait; and a slice is left out if the rows that it
    does not share with those before it are not worse themselves.
    """
    known = set(order)
    singles = {trait.words: i for i, trait in enumerate(candidates) if not trait.parents}
    chosen: list[int] = []
    listed = np.zeros(len(deviations), dtype=bool)
    for position in order:
        parents = [singles[words] for words in candidates[position].parents if words in singles]
        better = [i for i in parents if i in known and gaps[i] <= _AS_GOOD * gaps[position]]
        index = max(better, key=lambda i: -gaps[i]) if better else position
        rows = inside[index] & ~listed
        others = ~inside[index] & ~listed
        if index in chosen or rows.sum() < FEWEST_ROWS or not others.any():
            continue
        gap = deviations[rows].mean() - deviations[others].mean()
        if chosen and gap > -_REMAINING * deviations.std() * math.sqrt(1 / rows.sum() + 1 / others.sum()):
            continue
        chosen.append(index)
        listed |= inside[index]
        if len(chosen) == most:
            break
    return chosen
