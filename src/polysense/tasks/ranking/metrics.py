"""How well a ranking of the whole catalogue puts first what users chose, per user, and for new items and users apart.

Every item that the user had not chosen before is a candidate: a sample of negatives orders models otherwise than the
whole catalogue does (Krichene, Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020). A user's items are
ranked together and each user counts once, as in Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR
techniques", ACM TOIS 2002, with the ideal order of as many items as the user chose. Items of one score come in any
order with the same chance, and the mean over these orders is counted: a ranking that knows nothing is at chance.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polysense.core.metric import Metric, Scorer, Statistics, higher, lower

__all__ = ["CUTOFFS", "RankingScorer", "as_baseline", "ranking_metrics"]

CUTOFFS = (5, 10, 20, 50)
_MAIN = 20
_COVERED = 2_000_000  # entries of lists, from which on coverage has no interval


def ranking_metrics() -> list[Metric]:
    """The metrics, in the order in which they are reported."""
    nobody = "no user chose an item of the catalogue"
    metrics = []
    for k in CUTOFFS:
        metrics += [
            higher(f"recall_at_{k}", f"Share of a user's items that are among the first {k}, the mean over users."),
            higher(
                f"ndcg_at_{k}", f"Discounted gain of the first {k} over that of the best order, the mean over users."
            ),
            higher(f"hit_rate_at_{k}", f"Share of users with at least one of their items among the first {k}."),
        ]
    metrics.append(higher("mean_reciprocal_rank", "1 / rank of a user's first item, the mean over users."))
    for side, words in (("item", "items"), ("user", "users")):
        for kind, told in (("warm", "that training rows hold"), ("cold", "that no training row holds")):
            metrics.append(
                higher(
                    f"recall_at_{_MAIN}_{kind}_{words}",
                    f"recall_at_{_MAIN} of {words} {told}.",
                    f"there is no row with a {kind} {side}",
                )
            )
    metrics += [
        higher(
            f"recall_at_{_MAIN}_among_cold_items",
            "Likewise of items that no training row holds, ranked among one another alone.",
            "there is no row with a cold item",
        ),
        higher(
            f"coverage_at_{_MAIN}",
            f"Share of the catalogue that is among somebody's first {_MAIN}.",
            nobody,
        ),
        lower(
            f"popularity_at_{_MAIN}",
            f"Popularity of the first {_MAIN}: their mean share of the training rows, over the mean of an item.",
            nobody,
        ),
    ]
    return metrics


class RankingScorer(Scorer):
    """The metrics of rows that are choices; the rows of one user are ranked as one list."""

    def __init__(self, statistics: Statistics, num_items: int) -> None:
        own = statistics["present"]
        self._num_items = num_items
        _, self._users = np.unique(statistics["user"][own], return_inverse=True)
        counts = np.bincount(self._users)
        self._share = 1.0 / counts[self._users]  # of its user
        ranks, ties = (statistics[name][own].astype(np.float64) for name in ("rank", "ties"))
        self._rows: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        every = np.ones(len(ranks), dtype=bool)
        # Whoever is first of several rows of a user counts for the user.
        order = np.lexsort((np.arange(len(ranks)), ranks, self._users))
        is_first = np.zeros(len(ranks), dtype=bool)
        is_first[order[np.flatnonzero(np.diff(self._users[order], prepend=-1))]] = True
        discounts = 1.0 / np.log2(np.arange(2, max(CUTOFFS) + 2))
        for k in CUTOFFS:
            hits = _mean_gain(ranks, ties, np.ones(k))
            best = np.cumsum(discounts)[np.minimum(counts, k) - 1]
            # Divided by the user's rows later, as all are: so times them here, where the user is one sum.
            self._rows[f"recall_at_{k}"] = hits, every
            gains = _mean_gain(ranks, ties, discounts[:k])
            self._rows[f"ndcg_at_{k}"] = gains / best[self._users] / self._share, every
            self._rows[f"hit_rate_at_{k}"] = is_first * hits / self._share, every
        reciprocal = _mean_gain(ranks, ties, 1.0 / np.arange(1, num_items + 1))
        self._rows["mean_reciprocal_rank"] = is_first * reciprocal / self._share, every
        main = _mean_gain(ranks, ties, np.ones(_MAIN))
        is_warm, has_history = statistics["item_count"][own] > 0, statistics["user_count"][own] > 0
        in_catalogue = np.isfinite(ranks)
        self._rows[f"recall_at_{_MAIN}_warm_items"] = main, is_warm
        self._rows[f"recall_at_{_MAIN}_cold_items"] = main, ~is_warm & in_catalogue
        self._rows[f"recall_at_{_MAIN}_warm_users"] = main, has_history
        self._rows[f"recall_at_{_MAIN}_cold_users"] = main, ~has_history
        alike, alike_ties = (statistics[name][own].astype(np.float64) for name in ("rank_alike", "ties_alike"))
        among = _mean_gain(alike, alike_ties, np.ones(_MAIN))
        self._rows[f"recall_at_{_MAIN}_among_cold_items"] = among, ~is_warm & in_catalogue
        listed = statistics["listed"][own][:, :_MAIN]
        self._listed = listed
        popularity = statistics["popularity"][own][:, :_MAIN].astype(np.float64)
        width = np.maximum((listed > 0).sum(axis=1), 1)
        self._rows[f"popularity_at_{_MAIN}"] = popularity.sum(axis=1) / width * num_items, every
        self._shares_of: dict[bytes, np.ndarray] = {}

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        results = {name: self.value(weights, name) for name in self._rows}
        results[f"coverage_at_{_MAIN}"] = self._coverage(weights)
        return results

    def value(self, weights: np.ndarray, name: str) -> np.ndarray:
        """One metric of all but coverage for every resample."""
        values, chosen = self._rows[name]
        share = self._share_within(chosen)
        counted = weights[:, chosen] @ share
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(counted > 0, weights[:, chosen] @ (values[chosen] * share) / counted, np.nan)

    def _share_within(self, chosen: np.ndarray) -> np.ndarray:
        """1 / the rows of the user among those that are chosen."""
        key = np.packbits(chosen).tobytes()
        if key not in self._shares_of:
            users = self._users[chosen]
            self._shares_of[key] = 1.0 / np.bincount(users, minlength=1)[users] if len(users) else np.zeros(0)
        return self._shares_of[key]

    def _coverage(self, weights: np.ndarray) -> np.ndarray:
        """Per resample the share of the catalogue that is listed for somebody who was drawn."""
        results = np.full(len(weights), np.nan)
        if len(weights) > 1 and self._listed.size > _COVERED:
            return results
        for i, drawn in enumerate(weights > 0):
            items = np.zeros(self._num_items + 1, dtype=bool)
            items[self._listed[drawn].ravel()] = True
            results[i] = items[1:].sum() / self._num_items if drawn.any() else np.nan
        return results


def as_baseline(statistics: Statistics, name: str) -> Statistics:
    """The statistics with a baseline's ranking in the place of the model's."""
    own: Mapping[str, np.ndarray] = {
        key: statistics[f"{name}_{key}"]
        for key in ("rank", "ties", "rank_alike", "ties_alike", "listed", "popularity")
        if f"{name}_{key}" in statistics
    }
    return {**statistics, **own}


def _mean_gain(ranks: np.ndarray, ties: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """What each row gains, the mean over the places that its item may have.

    Args:
        ranks: float64 [rows], the mean of these places, from 1; infinite: none.
        ties: float64 [rows], how many they are.
        gains: float64 [places], of each place from the first on; beyond them nothing is gained.
    """
    summed = np.concatenate([[0.0], np.cumsum(gains)])
    before = ranks - (ties + 1) / 2
    low, high = (np.clip(places, 0, len(gains)).astype(np.int64) for places in (before, before + ties))
    result: np.ndarray = (summed[high] - summed[low]) / ties
    return result
