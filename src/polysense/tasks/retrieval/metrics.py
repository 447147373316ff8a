"""How well columns that share a space find one another, and what the space looks like.

Every direction of every pair is a search: each row's one column looks for its other one among all rows of the split,
never only among those of a batch. Candidates that are the same (one caption under several images) are one candidate,
and a hit is any candidate that some row with the same key has. Where similarities are equal the rank is what a random
order of them would give on average, so a model that says the same of every row scores exactly what chance does.

Intervals come from resampling the rows that look; what they look among stays as it is, because a pool in which some
candidates stand twice and others not at all would be easier than the one that was asked about.

Of the space: alignment, the mean squared distance of what belongs together, and uniformity, log of the mean of
exp(-2 distance^2) over all pairs of a column (Wang & Isola, "Understanding Contrastive Representation Learning through
Alignment and Uniformity on the Hypersphere", 2020, section 4), both better where lower; effective rank, exp of the
entropy of the singular values (Roy & Vetterli, 2007), 1 where all embeddings lie on a line.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from polysense.core.metric import Metric, Scorer, higher, lower
from polysense.evaluation.metrics.base import chunks, ratio
from polysense.evaluation.metrics.geometry import effective_rank, uniformity
from polysense.tasks.retrieval.candidates import Candidates, there_of

__all__ = ["DEPTHS", "RetrievalScorer", "directions", "retrieval_metrics"]

DEPTHS = (1, 5, 10)
"""How many of the nearest are looked at."""

_NOBODY = "no row has two of the columns"
_REPEATED = "it is of all rows together"


def directions(members: tuple[str, ...], anchor: str = "") -> tuple[tuple[int, int], ...]:
    """Which column looks for which, as positions; each with the anchor only, where there is one."""
    result = itertools.permutations(range(len(members)), 2)
    return tuple((a, b) for a, b in result if not anchor or anchor in (members[a], members[b]))


def retrieval_metrics(members: tuple[str, ...], anchor: str = "") -> tuple[Metric, ...]:
    """The metrics of a joint embedding space, in the order in which they are reported."""
    overall = [
        *(
            higher(
                f"recall_at_{depth}",
                f"Share of the rows that find what belongs to them among the {depth} nearest; mean over the directions."
                if depth > 1
                else "Share of the rows whose nearest candidate belongs to them; mean over the directions.",
                _NOBODY,
            )
            for depth in DEPTHS
        ),
        lower(
            "median_rank",
            "How far down the first right candidate stands, in the middle of all rows.",
            _NOBODY,
            bounds=(1.0, math.inf),
        ),
        higher("mean_reciprocal_rank", "Mean of 1 / rank of the first right candidate.", _NOBODY),
        higher(
            "mean_average_precision", "Mean over the rows of the precision at each of their right candidates.", _NOBODY
        ),
    ]
    each = [
        replace(
            info,
            name=f"{info.name}/{members[a]} to {members[b]}",
            description=f"The same where {members[a]} looks for {members[b]}.",
            undefined_when=f"no row has both {members[a]} and {members[b]}",
        )
        for a, b in directions(members, anchor)
        for info in overall
    ]
    alignment = lower("alignment", "Mean squared distance of the columns of a row.", _NOBODY, bounds=(0.0, 4.0))
    uniformities = [
        lower(
            f"uniformity/{name}",
            f"Uniformity of the embeddings of {name} on the sphere; 0: all equal. No interval.",
            "fewer than two rows have the column",
            bounds=(-8.0, 0.0),
        )
        for name in members
    ]
    ranks = [
        higher(
            f"effective_rank/{name}",
            f"Effective rank of the embeddings of {name}. No interval.",
            "no row has the column",
            bounds=(1.0, math.inf),
        )
        for name in members
    ]
    return (*overall, *each, alignment, *uniformities, *ranks)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Search:
    """One direction's result, per row that looks.

    Attributes:
        rows: Which of the counted rows they are.
        values: Per metric [rows].
    """

    rows: np.ndarray
    values: dict[str, np.ndarray]


class RetrievalScorer(Scorer):
    """All metrics of one joint embedding space."""

    def __init__(
        self, embeddings: np.ndarray, keys: np.ndarray, present: np.ndarray, members: tuple[str, ...], anchor: str = ""
    ) -> None:
        """Searches, once: what a resample changes is only how often a row counts.

        Args:
            embeddings: float [rows, columns, size], NaN where a column is absent.
            keys: int64 [rows, columns or one more], what a cell holds, 0 where it is missing.
            present: bool [rows], which rows look; the others are among the candidates only.
            members: The columns' names.
            anchor: The one that each other is compared with, if there is one.
        """
        self._members, self._anchor = members, anchor
        self._embeddings = embeddings
        self._there = there_of(embeddings, keys)
        counted = np.flatnonzero(present)
        self._num_rows = len(counted)
        self._searches: dict[str, _Search] = {}
        pairs = []
        for a, b in directions(members, anchor):
            self._searches[f"{members[a]} to {members[b]}"] = self._search(a, b, keys, counted)
            if a < b:
                both = self._there[counted, a] & self._there[counted, b]
                gap = embeddings[counted, a] - embeddings[counted, b]
                pairs.append(np.where(both, np.square(gap).sum(axis=1), np.nan))
        distances = np.stack(pairs, axis=1) if pairs else np.zeros((self._num_rows, 0))
        known = np.isfinite(distances)
        self._distance, self._pairs = np.where(known, distances, 0.0).sum(axis=1), known.sum(axis=1)
        self._space = {
            **{f"uniformity/{n}": uniformity(self._of(i)) for i, n in enumerate(members)},
            **{f"effective_rank/{n}": effective_rank(self._of(i)) for i, n in enumerate(members)},
        }

    def _of(self, column: int) -> np.ndarray:
        result: np.ndarray = self._embeddings[self._there[:, column], column]
        return result

    def _search(self, a: int, b: int, keys: np.ndarray, counted: np.ndarray) -> _Search:
        """Where each row's a finds its b."""
        among = Candidates(self._embeddings, keys, b)
        looking = counted[self._there[counted, a]]
        results: dict[str, list[np.ndarray]] = {}
        retained = []
        for some in chunks(len(looking), max(among.num_holders, 1)):
            rows = looking[some]
            if not among.num_holders:
                break
            right = among.right(rows, a)
            hit = right.any(axis=1)
            retained.append(rows[hit])
            for name, values in _ranked(among.scores(rows[hit], a), right[hit]).items():
                results.setdefault(name, []).append(values)
        rows = np.concatenate([np.zeros(0, dtype=np.int64), *retained])
        return _Search(
            rows=np.searchsorted(counted, rows),
            values={name: np.concatenate(parts) for name, parts in results.items()},
        )

    def reciprocal_ranks(self) -> np.ndarray:
        """Each row's, the mean over its searches; float64 [rows that look], NaN where nothing is right for it."""
        totals, counts = np.zeros(self._num_rows), np.zeros(self._num_rows)
        for search in self._searches.values():
            totals[search.rows] += search.values.get("mean_reciprocal_rank", np.zeros(0))
            counts[search.rows] += 1
        return ratio(totals, counts)

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """Every metric for every resample; see Scorer."""
        results: dict[str, np.ndarray] = {}
        names = [*(f"recall_at_{depth}" for depth in DEPTHS), "mean_reciprocal_rank", "mean_average_precision"]
        for direction, search in self._searches.items():
            own = weights[:, search.rows]
            counts = own.sum(axis=1)
            for name in names:
                values = search.values.get(name, np.zeros(0))
                results[f"{name}/{direction}"] = ratio(own @ values, counts)
            results[f"median_rank/{direction}"] = _weighted_median(search.values.get("rank", np.zeros(0)), own)
        for name in [*names, "median_rank"]:
            each = np.stack([results[f"{name}/{direction}"] for direction in self._searches])
            known = np.isfinite(each)
            results[name] = ratio(np.where(known, each, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))
        results["alignment"] = ratio(weights @ self._distance, weights @ self._pairs)
        once = weights.max(axis=1, initial=0.0) <= 1
        for name, value in self._space.items():
            # Rows that are repeated lie in one place, which looks like a poorer space: a resample has no value.
            results[name] = np.where(once, value, np.nan)
        return results


def _ranked(scores: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """What each row finds; float64 [rows] each.

    Args:
        scores: float [rows, candidates].
        right: bool [rows, candidates], at least one in each row.
    """
    best = np.where(right, scores, -np.inf).max(axis=1)
    ahead = (scores > best[:, None]).sum(axis=1)
    tied = scores == best[:, None]
    right_ties = (tied & right).sum(axis=1)
    wrong_ties = tied.sum(axis=1) - right_ties
    results: dict[str, np.ndarray] = {"rank": ahead + 1 + wrong_ties / (right_ties + 1)}
    for depth in DEPTHS:
        results[f"recall_at_{depth}"] = 1.0 - _all_wrong(depth - ahead, wrong_ties, right_ties)
    reciprocal = 1.0 / (ahead + 1)
    for row in np.flatnonzero(wrong_ties):
        wrong, embeddings = wrong_ties[row], np.arange(wrong_ties[row] + 1)
        # The probability that the first so many of the equal ones are all wrong.
        all_wrong = np.concatenate([[1.0], np.cumprod((wrong - embeddings) / (wrong + right_ties[row] - embeddings))])
        reciprocal[row] = ((all_wrong[:-1] - all_wrong[1:]) / (ahead[row] + 1 + embeddings)).sum()
    results["mean_reciprocal_rank"] = reciprocal
    precision = 1.0 / (ahead + tied.sum(axis=1))
    several = np.flatnonzero(right.sum(axis=1) > 1)
    if len(several):  # sorting is what takes the time
        precision[several] = _average_precision(scores[several], right[several])
    results["mean_average_precision"] = precision
    return results


def _all_wrong(taken: np.ndarray, wrong: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The probability that the first `taken` of some wrong and right ones in random order are all wrong."""
    taken = np.clip(taken, 0, None)
    result = np.ones(len(taken))
    for step in range(int(taken.max(initial=0))):
        share = np.clip(wrong - step, 0, None) / np.maximum(wrong + right - step, 1)
        result *= np.where(step < taken, share, 1.0)
        if not result.any():
            break
    return result


def _average_precision(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The mean precision at each right candidate, equal scores taken together; float64 [rows]."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ordered, hits = np.take_along_axis(scores, order, axis=1), np.take_along_axis(right, order, axis=1)
    above = np.cumsum(hits, axis=1, dtype=np.float64)
    # Where a run of equal scores ends: the precision of all of it.
    ends = np.concatenate([ordered[:, 1:] != ordered[:, :-1], np.ones((len(ordered), 1), dtype=bool)], axis=1)
    place = np.where(ends, np.arange(ordered.shape[1]), ordered.shape[1])
    place = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    precision = np.take_along_axis(above, place, axis=1) / (place + 1)
    means: np.ndarray = (precision * hits).sum(axis=1) / np.maximum(hits.sum(axis=1), 1)
    return means


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The middle value by weight; the mean of the two middle ones where it falls between them; [resamples]."""
    if not len(values):
        return np.full(len(weights), np.nan)
    order = np.argsort(values, kind="stable")
    ordered, total = values[order], weights.sum(axis=1)
    below = np.cumsum(weights[:, order], axis=1)
    low = np.minimum((below < total[:, None] / 2).sum(axis=1), len(values) - 1)
    high = np.minimum((below <= total[:, None] / 2).sum(axis=1), len(values) - 1)
    middle: np.ndarray = np.where(total > 0, (ordered[low] + ordered[high]) / 2, np.nan)
    return middle
