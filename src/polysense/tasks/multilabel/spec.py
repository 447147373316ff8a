"""Multilabel classification: a row has any number of several labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.audit_answers import ClassProbabilities, ConformalSets, RowScore
from polysense.core.metric import Metric, Scorer, Statistics, marked
from polysense.core.modality_spec import ModelSize
from polysense.core.task_spec import Answer, Arrays, BatchRows, Contribution, Explained, Measure, TaskPreset
from polysense.core.value_task import ValueTaskSpec
from polysense.data.editors import ChoicesEditor
from polysense.tasks.multilabel.conformal import outer_sets
from polysense.tasks.multilabel.metrics import MultilabelScorer, multilabel_metrics
from polysense.tasks.multilabel.record import MultilabelTarget

__all__ = ["SPEC", "MultilabelSpec"]

_EPSILON = float(np.finfo(np.float32).eps)


class _Contribution(Contribution[MultilabelTarget]):
    """The F1 of a row's own labels, and the mean log probability of its true answers."""

    measures = (Measure("f1_samples", "per-row F1", "pp"), Measure("log_loss", "log loss", "nats"))
    is_prior_without_columns = True

    def row_values(self, target: MultilabelTarget, statistics: Statistics) -> np.ndarray:
        return np.column_stack([_f1_of_rows(statistics), _log_probability(target, statistics)])


class _Explained(Explained[MultilabelTarget]):
    """A label's probability; of the most probable label unless a user names another."""

    def choices(self, target: MultilabelTarget) -> Sequence[str]:
        return target.classes

    def chosen(self, target: MultilabelTarget, prediction: Arrays) -> int:
        return int(prediction["probabilities"][0].argmax())

    def numbers(self, target: MultilabelTarget, prediction: Arrays, choice: int) -> np.ndarray:
        probabilities: np.ndarray = prediction["probabilities"][:, choice].astype(np.float64)
        return probabilities

    def title(self, target: MultilabelTarget, choice: int) -> str:
        return f"probability of {target.classes[choice]!r}"

    def answers(self, target: MultilabelTarget, prediction: Arrays, choice: int) -> Sequence[str]:
        name = target.classes[choice]
        return [repr(name) if value else f"not {name!r}" for value in prediction["values"][:, choice].tolist()]


class MultilabelSpec(ValueTaskSpec[MultilabelTarget]):
    """Any of several labels. Its row statistics: `truth`, `predicted` (bool each) and `probabilities`."""

    name = "multilabel"
    record = MultilabelTarget
    rank = 20
    decode = "polysense.tasks.multilabel.predicted:predicted_columns"
    answer = Answer.STRUCTURE
    infer = "polysense.tasks.multilabel.infer:claim"
    proper_score = "log_loss"
    contribution = _Contribution()
    explained = _Explained()
    sample_outputs = "polysense.tasks.multilabel.sample_output:sample_outputs"
    mistakes = "polysense.tasks.multilabel.mistakes:mistakes"
    editor = ChoicesEditor

    def preset(self, size: ModelSize, delimiter: str | None) -> TaskPreset:
        """A hidden layer of the tokens' width."""
        return TaskPreset(
            target={"type": self.name, "delimiter": delimiter}, head={"type": self.name, "hidden": size.width}
        )

    def nothing(self, target: MultilabelTarget, num_rows: int) -> np.ndarray:
        return np.zeros((num_rows, len(target.classes)), dtype=np.float32)

    def row_statistics(
        self, target: MultilabelTarget, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows
    ) -> Statistics:
        results = {
            "present": truth["present"],
            "truth": truth["values"] > 0.5,
            "predicted": outputs[0]["values"].astype(bool),
        }
        if "probabilities" in outputs[0]:
            results["probabilities"] = outputs[0]["probabilities"]
        return results

    def metrics(self, target: MultilabelTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        """Selected by average precision, which has no threshold in it."""
        return marked(
            multilabel_metrics(),
            headline="f1_micro",
            selection="average_precision",
            finer="log_loss",
            reported=("f1_micro", "f1_macro", "average_precision", "auroc", "exact_match", "log_loss"),
        )

    def scorer(self, target: MultilabelTarget, statistics: Statistics) -> Scorer:
        rows = np.flatnonzero(statistics["present"])
        probabilities = statistics["probabilities"][rows] if "probabilities" in statistics else None
        return MultilabelScorer(statistics["predicted"][rows], probabilities, statistics["truth"][rows])

    def baselines(self, target: MultilabelTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """The labels' training shares, and each label that more than half of the training rows have."""
        shares = self.prior(target)["probabilities"]

        def majority(statistics: Statistics) -> Statistics:
            probabilities = np.broadcast_to(shares, (len(statistics["present"]), len(shares)))
            return {**statistics, "predicted": probabilities > 0.5, "probabilities": probabilities}

        return {"majority-class baseline": majority}

    def prior(self, target: MultilabelTarget) -> Arrays:
        """The labels' training shares; each label that more than half of the training rows have."""
        counts = np.array(target.class_counts or (1,) * len(target.classes), dtype=np.float64)
        shares = np.clip(counts / max(target.num_rows, counts.max(initial=1.0)), 0.0, 1.0).astype(np.float32)
        return {"values": shares > 0.5, "probabilities": shares}

    def average(self, target: MultilabelTarget, experts: Sequence[Statistics], weights: np.ndarray) -> Statistics:
        """The weighted mean of the experts' probabilities."""
        stacked = np.stack([expert["probabilities"] for expert in experts], axis=1)
        probabilities = np.einsum("re,rec->rc", weights, stacked).astype(np.float32)
        return {**experts[0], "predicted": probabilities > 0.5, "probabilities": probabilities}

    def row_score(self, target: MultilabelTarget, statistics: Statistics) -> RowScore:
        """The F1 of a row's own labels."""
        values = np.where(statistics["present"], _f1_of_rows(statistics), np.nan)
        return RowScore(name="per-row F1", higher_is_better=True, values=values)

    def conformal(
        self, target: MultilabelTarget, calibration: Statistics, judged: Statistics, level: float
    ) -> Sequence[ConformalSets]:
        """Sets that hold every label of a row."""
        return [outer_sets(calibration, judged, level)]

    def class_probabilities(self, target: MultilabelTarget, statistics: Statistics) -> ClassProbabilities:
        """Of every label of every row whether the row has it."""
        rows = np.flatnonzero(statistics["present"])
        has = statistics["probabilities"][rows].reshape(-1)
        return ClassProbabilities(
            classes=("not the label", "the label"),
            probabilities=np.column_stack([1 - has, has]),
            truth=statistics["truth"][rows].reshape(-1).astype(np.int64),
            rows=np.repeat(rows, len(target.classes)),
            judgments=("label of a row", "labels"),
            metrics=("log_loss",),
        )


def _f1_of_rows(statistics: Statistics) -> np.ndarray:
    """Each row's F1; one with no label that gets none is right."""
    labels, predicted = statistics["truth"], statistics["predicted"]
    sizes = labels.sum(axis=1) + predicted.sum(axis=1)
    result: np.ndarray = np.where(sizes > 0, 2 * (labels & predicted).sum(axis=1) / np.maximum(sizes, 1), 1.0)
    return result


def _log_probability(target: MultilabelTarget, statistics: Statistics) -> np.ndarray:
    assert "probabilities" in statistics, f"{target.name}: a multilabel target predicts probabilities"
    probabilities = statistics["probabilities"].astype(np.float64)
    own = np.where(statistics["truth"], probabilities, 1.0 - probabilities)
    result: np.ndarray = np.log(np.clip(own, _EPSILON, 1.0)).mean(axis=1)
    return result


SPEC = MultilabelSpec()
