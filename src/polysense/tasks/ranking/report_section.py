"""Rankings in the report: the model beside what needs none, on items and users that training holds and on new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from polysense.core.metric import Statistics
from polysense.core.registry import task
from polysense.core.report_section import ReportSection
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.bootstrap import Interval, interval, multiplicities
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.ranking.metrics import RankingScorer
from polysense.tasks.ranking.record import RankingTarget

__all__ = ["SHOWN", "ComparedRanking", "compared", "report_section"]

SHOWN = {
    "recall_at_20": "recall at 20",
    "ndcg_at_20": "NDCG at 20",
    "mean_reciprocal_rank": "mean reciprocal rank",
    "recall_at_20_warm_items": "recall, known items",
    "recall_at_20_cold_items": "recall, new items",
    "recall_at_20_among_cold_items": "recall, new items among themselves",
    "recall_at_20_cold_users": "recall, new users",
    "coverage_at_20": "coverage",
    "popularity_at_20": "popularity",
}
"""The metrics that are shown, and how."""

_RESAMPLES = 1_000


@dataclass(frozen=True, kw_only=True)
class ComparedRanking:
    """One ranking's values.

    Attributes:
        name: Whose it is.
        values: In the order of the section's columns.
        difference: Recall at 20 of the model less its own, paired over users; None of the model.
    """

    name: str
    values: tuple[float, ...]
    difference: Interval | None


def compared(target: RankingTarget, evaluation: Evaluation) -> list[ComparedRanking]:
    """The model and each baseline on the same rows."""
    statistics, baselines = evaluation.statistics[target.name], task(target.task).baselines
    assert not isinstance(baselines, Unsupported)
    rankings: Mapping[str, Statistics] = {
        "this model": statistics,
        **{name: ranking(statistics) for name, ranking in baselines(target).items()},
    }
    scorers = {name: RankingScorer(own, target.num_items) for name, own in rankings.items()}
    counted = np.flatnonzero(statistics["present"])
    one = np.ones((1, len(counted)))
    clusters = statistics["user"][counted]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in rankings}
    for weights in multiplicities(len(counted), _RESAMPLES, 0, clusters=clusters):
        for name, scorer in scorers.items():
            parts[name].append(scorer.value(weights, "recall_at_20"))
    resampled = {name: np.concatenate([np.zeros(0), *own]) for name, own in parts.items()}
    values = {name: {key: float(own[0]) for key, own in scorer(one).items()} for name, scorer in scorers.items()}
    own = values["this model"]["recall_at_20"]
    return [
        ComparedRanking(
            name=name,
            values=tuple(values[name][key] for key in SHOWN),
            difference=None
            if name == "this model"
            else interval(
                own - values[name]["recall_at_20"], resampled["this model"] - resampled[name], evaluation.confidence
            ),
        )
        for name in rankings
    ]


def report_section(
    target: RankingTarget, evaluation: Evaluation, baseline: Evaluation | None, dataset: TableDataset | None
) -> list[ReportSection]:
    """A table of rankings; see `TaskSpec.report_section`."""
    if not evaluation.num_counted(target.name):
        return []
    statistics = evaluation.statistics[target.name]
    present = statistics["present"]
    outside = int((~np.isfinite(statistics["rank"][present])).sum())
    notes = [f"{outside:,} choices are of items that are not in the catalogue, and count as missed."] if outside else []
    if dataset is not None and dataset.table.before is None:
        notes.append("These rows were not split off in time: the model may have learned from what was chosen later.")
    values = {
        "target": target,
        "names": list(SHOWN.values()),
        "rows": compared(target, evaluation),
        "num_users": len(np.unique(statistics["user"][present])),
        "note": " ".join(notes),
    }
    return [ReportSection(template="polysense.tasks.ranking:report.html.j2", values=values)]
