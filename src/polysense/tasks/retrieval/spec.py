"""Retrieval: input columns brought into one joint embedding space, where the cells of a row lie close together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.audit_answers import RowScore
from polysense.core.metric import Metric, Scorer, Statistics, marked
from polysense.core.sample import Sample
from polysense.core.task_spec import Answer, Arrays, BatchRows, TaskSpec
from polysense.core.unsupported import Unsupported
from polysense.tasks.retrieval.metrics import RetrievalScorer, retrieval_metrics
from polysense.tasks.retrieval.record import RetrievalTarget

__all__ = ["SPEC", "RetrievalSpec"]


class RetrievalSpec(TaskSpec[RetrievalTarget]):
    """A joint embedding space.

    Its row statistics: `embeddings` [rows, columns, size], NaN where a column is absent, and `keys` int64 [rows,
    columns or one more], what each cell holds, 0 where it is missing.
    """

    name = "retrieval"
    record = RetrievalTarget
    rank = 60
    truth = "polysense.core.batch:ValueTruth"
    generates = False
    has_column = False
    has_classes = False
    decode = "polysense.tasks.retrieval.predicted:predicted_columns"
    answer = Answer.STRUCTURE
    infer = Unsupported("it is read from the input columns")
    preset = Unsupported("it is read from the input columns")
    average = Unsupported("embeddings of different models lie in different spaces")
    explained = Unsupported("an embedding is no answer; what is retrieved depends on what there is to retrieve")
    prior = Unsupported("a row without a column has no embedding")
    proper_score = Unsupported("its loss depends on which rows it is compared with")
    contribution = Unsupported("an embedding is of one column alone, so no other column contributes to it")
    align = Unsupported("what belongs together does so however its cells are augmented")
    searches = "polysense.tasks.retrieval.nearest:retrievals"
    reconstructions = Unsupported("no column is decoded from a code")
    summary = Unsupported("its metrics say what there is to say")
    report_section = Unsupported("its map and its neighbors have pages of their own")
    sample_outputs = "polysense.tasks.retrieval.sample_output:sample_outputs"
    class_probabilities = Unsupported("it ranks, and predicts no probabilities of classes")
    conformal = Unsupported("it ranks candidates, and says of none how probable it is")
    numbers = Unsupported("it ranks, and predicts no numbers")
    mistakes = "polysense.tasks.retrieval.mistakes:mistakes"
    editor = Unsupported("what belongs together stands in one row already")

    def collate(
        self,
        target: RetrievalTarget,
        samples: Sequence[Sample],
        num_rows: int,
        *,
        all_references: bool,
        prompt_length: int,
    ) -> Arrays:
        values = np.zeros((num_rows, len(target.columns)), dtype=np.int64)
        present = np.zeros(num_rows, dtype=bool)
        for row, sample in enumerate(samples):
            if (value := sample.targets.get(target.name)) is not None:
                values[row] = value
                # A row with one column alone belongs to nothing, and is still told apart from the others.
                present[row] = np.count_nonzero(value[: len(target.members)]) >= 2
        return {"values": values, "present": present}

    def absence(self, target: RetrievalTarget) -> str:
        return "fewer than two of the columns"

    def lies_in(self, target: RetrievalTarget) -> str | None:
        return None

    def masked_groups(self, target: RetrievalTarget) -> Sequence[tuple[str, ...]]:
        return ()

    def row_statistics(
        self, target: RetrievalTarget, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows
    ) -> Statistics:
        return {"present": truth["present"], "keys": truth["values"], "embeddings": outputs[0]["values"]}

    def metrics(self, target: RetrievalTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        """Selected by the mean reciprocal rank: recall at 1 moves in coarse steps on a small split."""
        return marked(
            retrieval_metrics(target.members, target.anchor),
            headline="recall_at_1",
            selection="mean_reciprocal_rank",
            finer="mean_average_precision",
            reported=("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_average_precision"),
        )

    def scorer(self, target: RetrievalTarget, statistics: Statistics) -> Scorer:
        """Rows with one column alone search for nothing, and may be found."""
        return RetrievalScorer(
            statistics["embeddings"], statistics["keys"], statistics["present"], target.members, target.anchor
        )

    def baselines(self, target: RetrievalTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """One place for everything: what is found is found by chance."""

        def chance(statistics: Statistics) -> Statistics:
            shape = (len(statistics["present"]), len(target.members), 1)
            return {**statistics, "embeddings": np.ones(shape, dtype=np.float32)}

        return {"chance": chance}

    def row_score(self, target: RetrievalTarget, statistics: Statistics) -> RowScore:
        """The reciprocal rank of what belongs to a row, the mean over the directions in which it searches."""
        scorer = RetrievalScorer(
            statistics["embeddings"], statistics["keys"], statistics["present"], target.members, target.anchor
        )
        values = np.full(len(statistics["present"]), np.nan)
        values[statistics["present"]] = scorer.reciprocal_ranks()
        return RowScore(name="mean reciprocal rank", higher_is_better=True, values=values)


SPEC = RetrievalSpec()
