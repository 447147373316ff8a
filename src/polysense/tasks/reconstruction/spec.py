"""Reconstruction: input columns decoded from one code of the whole row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.metric import Metric, Scorer, Statistics, marked
from polysense.core.sample import Sample
from polysense.core.task_spec import Answer, Arrays, BatchRows, TaskSpec
from polysense.core.unsupported import Unsupported
from polysense.tasks.reconstruction.metrics import ReconstructionScorer, reconstruction_metrics
from polysense.tasks.reconstruction.record import ReconstructionTarget

__all__ = ["SPEC", "ReconstructionSpec"]

_MOST_GROUPS = 8


class ReconstructionSpec(TaskSpec[ReconstructionTarget]):
    """Input columns, reconstructed. The columns themselves are not kept: a table of images may not fit into memory.

    Its row statistics are float64 [rows, columns], NaN where the true cell is not known: `errors` (mean squared, in the
    column's standard deviations, or nats per token or category), `correct` (the share of tokens that is correct, or
    whether the category is), `imputed_errors` and `imputed_correct` (the cell itself masked, reconstructed from the
    row's others), `mean_errors` and `mean_correct` (of the training mean, or the most frequent), and `codes`
    [rows, size].
    """

    name = "reconstruction"
    record = ReconstructionTarget
    rank = 70
    truth = "polysense.core.batch:ValueTruth"
    generates = False
    has_column = False
    has_classes = False
    decode = "polysense.tasks.reconstruction.predicted:predicted_columns"
    answer = Answer.STRUCTURE
    infer = Unsupported("it is read from the input columns")
    preset = Unsupported("it is read from the input columns")
    average = Unsupported("codes of different models have nothing in common")
    explained = Unsupported("it predicts its own inputs")
    prior = Unsupported("what it reconstructs from nothing is the mean of the training rows already")
    proper_score = Unsupported("the metric that selects is the squared error of what is reconstructed")
    contribution = Unsupported("what is reconstructed are the columns themselves")
    align = Unsupported("the truth is the augmented column itself")
    searches = Unsupported("no column is embedded for others to find")
    summary = Unsupported("its metrics say what there is to say")
    report_section = "polysense.tasks.reconstruction.report_section:report_sections"
    sample_outputs = Unsupported("its cells have a page of their own, reconstructions.html")
    row_score = Unsupported("the errors of its columns are of different kinds")
    class_probabilities = Unsupported("it predicts cells, and no probabilities of classes")
    conformal = Unsupported("no set of cells holds the true one with a stated probability")
    numbers = Unsupported("it predicts cells of any kind")
    mistakes = Unsupported("its cells have a page of their own, reconstructions.html")
    editor = Unsupported("its targets are the input columns")

    def collate(
        self,
        target: ReconstructionTarget,
        samples: Sequence[Sample],
        num_rows: int,
        *,
        all_references: bool,
        prompt_length: int,
    ) -> Arrays:
        values = np.zeros((num_rows, len(target.columns)), dtype=np.float32)
        present = np.zeros(num_rows, dtype=bool)
        for row, sample in enumerate(samples):
            if (value := sample.targets.get(target.name)) is not None:
                values[row], present[row] = value, True
        return {"values": values, "present": present}

    def absence(self, target: ReconstructionTarget) -> str:
        return "none of the columns"

    def lies_in(self, target: ReconstructionTarget) -> str | None:
        return None

    def masked_groups(self, target: ReconstructionTarget) -> Sequence[tuple[str, ...]]:
        """One column at a time while there are few.

        Beyond eight every eighth together, about as many as training masks: else a table of thirty columns is read
        thirty times for each validation, which took longer than its epoch.
        """
        members = target.members
        return [tuple(members[first::_MOST_GROUPS]) for first in range(min(_MOST_GROUPS, len(members)))]

    def row_statistics(
        self, target: ReconstructionTarget, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows
    ) -> Statistics:
        whole, *masked = outputs
        shape = (len(truth["present"]), len(target.members))
        unknown = np.full(shape, np.nan)
        imputed_errors, imputed_correct = unknown.copy(), unknown.copy()
        for group, output in zip(self.masked_groups(target), masked, strict=False):
            others = [present for column, present in rows.present.items() if column not in group]
            there = np.any(others, axis=0) if others else np.zeros(shape[0], dtype=bool)
            for index in map(target.members.index, group):
                imputed_errors[:, index] = np.where(there, output["errors"][:, index], np.nan)
                imputed_correct[:, index] = np.where(there, output["hits"][:, index], np.nan)
        return {
            "present": truth["present"],
            "codes": whole["values"],
            "imputed_errors": imputed_errors,
            "imputed_hits": imputed_correct,
            **{
                name: whole[name].astype(np.float64) if name in whole else unknown
                for name in ("errors", "hits", "mean_errors", "mean_hits")
            },
        }

    def metrics(self, target: ReconstructionTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        return marked(
            reconstruction_metrics(target),
            headline="skill",
            selection="skill",
            finer="imputed_skill",
            reported=("skill", "imputed_skill", "accuracy", "imputed_accuracy"),
        )

    def scorer(self, target: ReconstructionTarget, statistics: Statistics) -> Scorer:
        return ReconstructionScorer(target, statistics)

    def reconstructions(self, target: ReconstructionTarget, prediction: Arrays) -> Arrays:
        """What each member holds; images are float32 [rows, channels, height, width] in [0, 1], see its decoder."""
        keys = {name: f"column_{index}" for index, name in enumerate(target.members)}
        return {name: prediction[key] for name, key in keys.items() if key in prediction}

    def baselines(self, target: ReconstructionTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """The mean predictor, which says the same whatever is masked."""

        def mean(statistics: Statistics) -> Statistics:
            imputed = {
                f"imputed_{kind}": np.where(np.isnan(statistics[f"imputed_{kind}"]), np.nan, statistics[f"mean_{kind}"])
                for kind in ("errors", "hits")
            }
            return {
                **statistics,
                **imputed,
                "errors": statistics["mean_errors"],
                "hits": statistics["mean_hits"],
                "codes": np.zeros((len(statistics["present"]), 1)),
            }

        return {"mean baseline": mean}


SPEC = ReconstructionSpec()
