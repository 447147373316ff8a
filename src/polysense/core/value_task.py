"""ValueTaskSpec: a task whose answer is one small value for a row, such as a class, a number or a count.

A value lies in no column, is generated in no steps and is looked for nowhere; with this base a task answers what is
left: what a value is, and how good a prediction of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.audit_answers import ClassProbabilities, ConformalSets, PredictedNumbers, RowScore
from polysense.core.editor import Editor, EditorRequest
from polysense.core.metric import Statistics
from polysense.core.modality_spec import ModelSize
from polysense.core.row_spec import RowSpec
from polysense.core.task_spec import Arrays, BatchRows, Explained, T, TaskPreset
from polysense.core.unsupported import Unsupported

__all__ = ["ValueTaskSpec"]


class ValueTaskSpec(RowSpec[T], is_base=True):
    """Answers what is the same for all such tasks.

    Left to a subclass: `name`, `record`, `rank`, `answer`, `nothing`, `metrics`, `scorer`, `baselines`, `average` and
    `contribution`. Its row statistics are the truth's `values` as `truth`, the head's
    `values` as `predicted`, and whatever else the head predicts under its own name.
    """

    decode = "polysense.evaluation.value_outputs:predicted_columns"
    sample_outputs = "polysense.evaluation.value_outputs:sample_outputs"
    infer: str | Unsupported = Unsupported("a column is of this task only where its type says so")
    proper_score: str | Unsupported = Unsupported("checkpoints are selected by the metric that is marked for it")
    explained: Explained[T] | Unsupported = Unsupported("it does not say which number of a prediction is explained")
    prior: Callable[[T], Arrays] | Unsupported = Unsupported(
        "it does not say what training rows tell of its target alone"
    )
    align = Unsupported("a row's value is the same however its cells are augmented")
    summary: Callable[[T, Statistics], Mapping[str, object]] | Unsupported = Unsupported(
        "its metrics say what there is to say"
    )
    report_section: str | Unsupported = Unsupported("its metrics say what there is to say")
    row_score: Callable[[T, Statistics], RowScore] | Unsupported = Unsupported(
        "its task does not say how good the prediction of a single row is"
    )
    class_probabilities: Callable[[T, Statistics], ClassProbabilities] | Unsupported = Unsupported(
        "it predicts no probabilities of classes"
    )
    conformal: Callable[[T, Statistics, Statistics, float], Sequence[ConformalSets]] | Unsupported = Unsupported(
        "its task makes no sets or intervals that hold the truth with a stated probability"
    )
    numbers: Callable[[T, Statistics], Sequence[PredictedNumbers]] | Unsupported = Unsupported("it predicts no numbers")
    mistakes: str | Unsupported = Unsupported("its task does not say which predictions are the worst")
    editor: Callable[[EditorRequest], Editor] | Unsupported = Unsupported(
        "its task does not say how a person enters a label"
    )

    def preset(self, size: ModelSize, delimiter: str | None) -> TaskPreset:
        """A head of the task's own name, with a hidden layer of the tokens' width."""
        return TaskPreset(target={"type": self.name}, head={"type": self.name, "hidden": size.width})

    def row_statistics(self, target: T, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows) -> Statistics:
        others = {name: array for name, array in outputs[0].items() if name != "values"}
        return {"present": truth["present"], "truth": truth["values"], "predicted": outputs[0]["values"], **others}

    def spelled(self, target: T, value: np.ndarray) -> str:
        """A value as a person reads it."""
        return ", ".join(f"{number:.4g}" for number in np.atleast_1d(value).tolist())
