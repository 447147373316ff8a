"""Classification: a row belongs to one of several classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.audit_answers import ClassProbabilities, ConformalSets, RowScore
from polysense.core.metric import Metric, Scorer, Statistics, marked
from polysense.core.task_spec import Answer, Arrays, Contribution, Explained, Measure
from polysense.core.value_task import ValueTaskSpec
from polysense.data.editors import ChoiceEditor
from polysense.tasks.classification.conformal import least_ambiguous_sets
from polysense.tasks.classification.metrics import ClassificationScorer, classification_metrics, confusion_matrix
from polysense.tasks.classification.record import ClassificationTarget

__all__ = ["SPEC", "ClassificationSpec"]

# exp(entropy) of the class shares over the number of classes: 1 = even; 80/20 in two classes is 0.82, 85/15 is 0.76.
_BALANCED = 0.8
_EPSILON = float(np.finfo(np.float32).eps)


class _Contribution(Contribution[ClassificationTarget]):
    """Whether the class is right, and the log of its probability, which also sees moves that change no decision."""

    measures = (Measure("accuracy", "accuracy", "pp"), Measure("log_loss", "log loss", "nats"))
    is_prior_without_columns = True

    def row_values(self, target: ClassificationTarget, statistics: Statistics) -> np.ndarray:
        correct = statistics["predicted"] == statistics["truth"]
        return np.column_stack([correct, _log_probability(target, statistics)])


class _Explained(Explained[ClassificationTarget]):
    """A class's probability; of the class that is predicted unless a user names another."""

    def choices(self, target: ClassificationTarget) -> Sequence[str]:
        return target.classes

    def chosen(self, target: ClassificationTarget, prediction: Arrays) -> int:
        return int(prediction["values"][0])

    def numbers(self, target: ClassificationTarget, prediction: Arrays, choice: int) -> np.ndarray:
        probabilities: np.ndarray = prediction["probabilities"][:, choice].astype(np.float64)
        return probabilities

    def title(self, target: ClassificationTarget, choice: int) -> str:
        return f"probability of {target.classes[choice]!r}"

    def answers(self, target: ClassificationTarget, prediction: Arrays, choice: int) -> Sequence[str]:
        return [target.classes[value] for value in prediction["values"].tolist()]


class ClassificationSpec(ValueTaskSpec[ClassificationTarget]):
    """One of several classes. Its row statistics: `truth`, `predicted` and `probabilities`."""

    name = "classification"
    record = ClassificationTarget
    rank = 10
    has_classes = True
    decode = "polysense.tasks.classification.predicted:predicted_columns"
    answer = Answer.CLASS
    infer = "polysense.tasks.classification.infer:claim"
    proper_score = "log_loss"
    contribution = _Contribution()
    explained = _Explained()
    report_section = "polysense.tasks.classification.report_section:report_sections"
    sample_outputs = "polysense.tasks.classification.sample_output:sample_outputs"
    mistakes = "polysense.tasks.classification.mistakes:mistakes"
    editor = ChoiceEditor

    def nothing(self, target: ClassificationTarget, num_rows: int) -> np.ndarray:
        return np.zeros(num_rows, dtype=np.int64)

    def metrics(self, target: ClassificationTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        """Selected by accuracy, but by macro F1 where the training classes are uneven.

        That is where there are fewer than 80% as many effective classes, exp of the entropy of their shares, as there
        are classes: there a model that never names the rare classes looks good.
        """
        shares = np.array(target.class_counts, dtype=np.float64)
        shares = shares[shares > 0] / max(shares.sum(), 1.0)
        effective = float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else float(len(target.classes))
        return marked(
            classification_metrics(len(target.classes) == 2),
            headline="accuracy",
            selection="accuracy" if effective >= _BALANCED * len(target.classes) else "f1_macro",
            finer="log_loss",
            reported=("accuracy", "balanced_accuracy", "f1_macro", "auroc", "log_loss", "ece"),
        )

    def scorer(self, target: ClassificationTarget, statistics: Statistics) -> Scorer:
        rows = np.flatnonzero(statistics["present"])
        probabilities = statistics["probabilities"][rows] if "probabilities" in statistics else None
        return ClassificationScorer(
            statistics["predicted"][rows], probabilities, statistics["truth"][rows], len(target.classes)
        )

    def baselines(self, target: ClassificationTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """The most frequent class, and the classes' training shares."""
        shares = _shares(target)

        def majority(statistics: Statistics) -> Statistics:
            num_rows = len(statistics["present"])
            return {
                **statistics,
                "predicted": np.full(num_rows, int(shares.argmax()), dtype=np.int64),
                "probabilities": np.broadcast_to(shares.astype(np.float32), (num_rows, len(shares))),
            }

        return {"majority-class baseline": majority}

    def prior(self, target: ClassificationTarget) -> Arrays:
        """The classes' training shares; the most frequent class."""
        shares = _shares(target)
        return {"values": np.array(shares.argmax(), dtype=np.int64), "probabilities": shares.astype(np.float32)}

    def average(self, target: ClassificationTarget, experts: Sequence[Statistics], weights: np.ndarray) -> Statistics:
        """The weighted mean of the experts' probabilities."""
        stacked = np.stack([expert["probabilities"] for expert in experts], axis=1)
        probabilities = np.einsum("re,rec->rc", weights, stacked).astype(np.float32)
        return {**experts[0], "predicted": probabilities.argmax(axis=1), "probabilities": probabilities}

    def row_score(self, target: ClassificationTarget, statistics: Statistics) -> RowScore:
        """Whether the class is right."""
        correct = (statistics["predicted"] == statistics["truth"]).astype(np.float64)
        values = np.where(statistics["present"], correct, np.nan)
        return RowScore(name="accuracy", higher_is_better=True, is_share=True, values=values)

    def class_probabilities(self, target: ClassificationTarget, statistics: Statistics) -> ClassProbabilities:
        """Of every row that has the target."""
        rows = np.flatnonzero(statistics["present"])
        return ClassProbabilities(
            classes=target.classes,
            probabilities=statistics["probabilities"][rows],
            truth=statistics["truth"][rows].astype(np.int64),
            rows=rows,
            metrics=("ece", "ece_debiased", "brier", "log_loss"),
        )

    def conformal(
        self, target: ClassificationTarget, calibration: Statistics, judged: Statistics, level: float
    ) -> Sequence[ConformalSets]:
        """Least ambiguous sets."""
        return [least_ambiguous_sets(calibration, judged, level)]

    def summary(self, target: ClassificationTarget, statistics: Statistics) -> Mapping[str, object]:
        """The confusion matrix, by true and predicted class."""
        counts = confusion_matrix(statistics, len(target.classes))
        return {"classes": list(target.classes), "confusion": counts.tolist()}


def _shares(target: ClassificationTarget) -> np.ndarray:
    counts = np.array(target.class_counts or (1,) * len(target.classes), dtype=np.float64)
    shares: np.ndarray = counts / counts.sum() if counts.sum() else np.full(len(counts), 1 / max(len(counts), 1))
    return shares


def _log_probability(target: ClassificationTarget, statistics: Statistics) -> np.ndarray:
    assert "probabilities" in statistics, f"{target.name}: a classification predicts probabilities"
    own = statistics["probabilities"][np.arange(len(statistics["truth"])), statistics["truth"]]
    result: np.ndarray = np.log(np.clip(own.astype(np.float64), _EPSILON, 1.0))
    return result


SPEC = ClassificationSpec()
