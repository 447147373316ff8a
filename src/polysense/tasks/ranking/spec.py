"""Ranking: which items of a catalogue a user chooses next, by what describes both, and by who chose what before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from polysense.core.audit_answers import RowScore
from polysense.core.metric import Metric, Scorer, Statistics, marked
from polysense.core.sample import Sample
from polysense.core.task_spec import Answer, Arrays, BatchRows, Contribution, Measure, TaskSpec
from polysense.core.unsupported import Unsupported
from polysense.tasks.ranking.metrics import RankingScorer, as_baseline, ranking_metrics
from polysense.tasks.ranking.record import RankingTarget

__all__ = ["SPEC", "RankingSpec"]

_BASELINES = {
    "popularity": "popularity",
    "recent popularity": "recent_popularity",
    "item-kNN over choices": "item_knn",
    "BPR on keys": "bpr",
}


class RankingContribution(Contribution[RankingTarget]):
    """A column is worth what it adds to the discounted gain of a choice in the ranking of all items.

    Of items that no training row holds, which are known by their columns alone, it is measured apart.
    """

    measures = (
        Measure("gain", "discounted gain"),
        Measure("recall", "recall at 20", "pp"),
        Measure("gain_of_new_items", "discounted gain of new items"),
        Measure("gain_of_known_items", "discounted gain of known items"),
    )
    is_prior_without_columns = False

    def row_values(self, target: RankingTarget, statistics: Statistics) -> np.ndarray:
        """The gain, whether the item is among the first 20, and whether training holds it."""
        ranks = statistics["rank"].astype(np.float64)
        return np.stack([1.0 / np.log2(1.0 + ranks), ranks <= 20, statistics["item_count"] > 0], axis=1)

    def measured(self, target: RankingTarget, values: np.ndarray, truth: np.ndarray) -> np.ndarray:
        gains, hits, known = values.transpose(2, 0, 1)
        # Scaled so that the mean over all rows is the mean over those of the kind; NaN where there is none.
        shares = [of_kind.mean() if of_kind.any() else np.nan for of_kind in (1.0 - known, known)]
        return np.stack([gains, hits, gains * (1.0 - known) / shares[0], gains * known / shares[1]])


class RankingSpec(TaskSpec[RankingTarget]):
    """Choices.

    Its row statistics: `user` int64 [rows]; `rank` and `rank_alike` float32 [rows], of the item among all candidates
    and among those that training holds or not, as it does itself, and `ties`, `ties_alike`, how many have its score;
    `listed` int64 and `popularity` float32 [rows, 50], the first items and their shares of the training rows;
    `item_count`, `user_count` int64 [rows]; and of each baseline the same but the user and the counts, under its name.
    """

    name = "ranking"
    record = RankingTarget
    rank = 65
    truth = "polysense.tasks.ranking.truth:RankingTruth"
    generates = False
    has_column = False
    has_classes = False
    decode = "polysense.tasks.ranking.predicted:predicted_columns"
    answer = Answer.STRUCTURE
    infer = Unsupported("it is read from columns of keys, which say nothing of what is asked for")
    preset = Unsupported("it is read from columns of keys, which say nothing of what is asked for")
    average = Unsupported("two models' scores are on scales of their own")
    explained = Unsupported("a list of items is no single number")
    prior = Unsupported("a user without a description is known by what they chose, or gets what is popular")
    proper_score = Unsupported("its loss depends on which rows it is compared with")
    contribution = RankingContribution()
    align = Unsupported("what was chosen stays so however its cells are augmented")
    candidates = "polysense.tasks.ranking.candidates:candidates"
    searches = Unsupported("users and items lie in a space of their own, and columns in none")
    reconstructions = Unsupported("no column is decoded from a code")
    summary = Unsupported("its metrics say what there is to say")
    report_section = "polysense.tasks.ranking.report_section:report_section"
    sample_outputs = "polysense.tasks.ranking.sample_output:sample_outputs"
    class_probabilities = Unsupported("it ranks, and predicts no probabilities of classes")
    conformal = Unsupported("it ranks candidates, and says of none how probable it is")
    numbers = Unsupported("it ranks, and predicts no numbers")
    mistakes = "polysense.tasks.ranking.mistakes:mistakes"
    editor = Unsupported("what people chose is recorded where they choose")

    def collate(
        self,
        target: RankingTarget,
        samples: Sequence[Sample],
        num_rows: int,
        *,
        all_references: bool,
        prompt_length: int,
    ) -> Arrays:
        values, present = np.zeros((num_rows, 2), dtype=np.int64), np.zeros(num_rows, dtype=bool)
        for row, sample in enumerate(samples):
            if (value := sample.targets.get(target.name)) is not None:
                values[row], present[row] = value, True
        return {"items": values[:, 0].copy(), "users": values[:, 1].copy(), "present": present}

    def absence(self, target: RankingTarget) -> str:
        return "no choice"

    def lies_in(self, target: RankingTarget) -> str | None:
        return None

    def masked_groups(self, target: RankingTarget) -> Sequence[tuple[str, ...]]:
        return ()

    def row_statistics(
        self, target: RankingTarget, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows
    ) -> Statistics:
        kept = {
            name: values
            for name, values in outputs[0].items()
            if name not in ("values", "scores", "history", "because")
        }
        return {"present": truth["present"], "user": truth["users"], "item": truth["items"], **kept}

    def metrics(self, target: RankingTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        return marked(
            ranking_metrics(),
            headline="recall_at_20",
            selection="ndcg_at_20",
            finer="mean_reciprocal_rank",
            reported=(
                "recall_at_20", "ndcg_at_20", "mean_reciprocal_rank", "recall_at_20_warm_items",
                "recall_at_20_cold_items", "recall_at_20_cold_users", "coverage_at_20",
            ),
        )  # fmt: skip

    def scorer(self, target: RankingTarget, statistics: Statistics) -> Scorer:
        return RankingScorer(statistics, target.num_items)

    def baselines(self, target: RankingTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """What needs no model: what most chose, lately or ever, and what who chose likewise chose too."""
        return {said: partial(as_baseline, name=name) for said, name in _BASELINES.items()}

    def row_score(self, target: RankingTarget, statistics: Statistics) -> RowScore:
        """The reciprocal rank of what a row's user chose."""
        values = np.full(len(statistics["present"]), np.nan)
        values[statistics["present"]] = 1.0 / statistics["rank"][statistics["present"]]
        return RowScore(name="mean reciprocal rank", higher_is_better=True, values=values)


SPEC = RankingSpec()
