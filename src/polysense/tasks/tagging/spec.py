"""Tagging: labeled segments of an input column, such as the names in a text or the events in an audio clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from polysense.core.audit_answers import RowScore
from polysense.core.geometry import Placement
from polysense.core.metric import Metric, Scorer, Statistics, marked
from polysense.core.modality_spec import ModelSize
from polysense.core.row_spec import RowSpec
from polysense.core.sample import Sample
from polysense.core.task_spec import Answer, Arrays, BatchRows, Contribution, Explained, Measure, TaskPreset
from polysense.core.unsupported import Unsupported
from polysense.data.editors import SpansEditor
from polysense.errors import ConfigError
from polysense.tasks.tagging.metrics import TaggingScorer, segments_of, tagging_metrics, tagging_primary
from polysense.tasks.tagging.record import TaggingTarget

__all__ = ["SPEC", "TaggingSpec"]

_NO_END = 1e30  # a segment that ends where its row does, wherever that is
_REPORTED = (
    *(f"{whole}_{name}" for whole in ("entity", "segment") for name in ("f1", "precision", "recall")),
    *(f"{step}_{name}" for step in ("token", "frame") for name in ("f1", "accuracy")),
    "onset_f1",
    "log_loss",
)


class _Contribution(Contribution[TaggingTarget]):
    """The log probability of the true labeling, by the column's length; every row moves it a little."""

    measures = (Measure("log_likelihood", "log likelihood", "nats per token"),)
    is_prior_without_columns = False

    def row_values(self, target: TaggingTarget, statistics: Statistics) -> np.ndarray:
        return _log_likelihood(target, statistics)[:, None]


class _Explained(Explained[TaggingTarget]):
    """How probable the model finds the labeling that it predicts, per token of the column.

    The labeling stays the same while columns and parts of cells are masked. Without its column it has the probability
    that the training shares give it.
    """

    scores_answer = True

    def cell(
        self, target: TaggingTarget, prediction: Arrays, choice: int, placements: Mapping[str, Placement]
    ) -> np.ndarray:
        records = prediction["values"][0]
        is_real = records[:, 2] >= 0
        is_real[0] = True  # the whole column
        result: np.ndarray = records[is_real, :3].astype(np.float32)
        return result

    def choices(self, target: TaggingTarget) -> Sequence[str]:
        return ("all segments",)

    def chosen(self, target: TaggingTarget, prediction: Arrays) -> int:
        return 0

    def numbers(self, target: TaggingTarget, prediction: Arrays, choice: int) -> np.ndarray:
        if "likelihood" not in prediction:
            raise ConfigError(
                f"{target.name}: can't be explained: its head does not say how probable segments are (`score`)"
            )
        return _log_likelihood(target, prediction)

    def title(self, target: TaggingTarget, choice: int) -> str:
        return "log probability of the predicted segments, in nats per token"

    def answers(self, target: TaggingTarget, prediction: Arrays, choice: int) -> Sequence[str] | None:
        return None  # an edge moves with anything


class TaggingSpec(RowSpec[TaggingTarget]):
    """Labeled segments.

    Its row statistics: `length` of the column, `truth` and `predicted`, per row float64 [segments, 3 or 4] of (start,
    end, class, probability), and `likelihood`, where it is known.
    """

    name = "tagging"
    record = TaggingTarget
    rank = 50
    decode = "polysense.tasks.tagging.predicted:predicted_columns"
    answer = Answer.STRUCTURE
    infer = "polysense.tasks.tagging.infer:claim"
    explained = _Explained()
    prior = Unsupported("a row without its column has no steps to label")
    proper_score = Unsupported(
        "its losses are of single positions, and segments go on getting better after these have turned"
    )
    contribution = _Contribution()
    average = Unsupported("segments have no mean")
    align = "polysense.tasks.tagging.align:align"
    summary = Unsupported("its metrics say what there is to say")
    report_section = "polysense.tasks.tagging.report_section:report_sections"
    sample_outputs = "polysense.tasks.tagging.sample_output:sample_outputs"
    class_probabilities = Unsupported("the probabilities of single steps are not kept")
    conformal = Unsupported("no set of segments holds the true ones with a stated probability")
    numbers = Unsupported("it predicts segments, and no numbers")
    mistakes = "polysense.tasks.tagging.mistakes:mistakes"
    editor = SpansEditor

    def preset(self, size: ModelSize, delimiter: str | None) -> TaskPreset:
        """A label for each token, linear in it."""
        return TaskPreset(target={"type": self.name}, head={"type": self.name})

    def collate(
        self,
        target: TaggingTarget,
        samples: Sequence[Sample],
        num_rows: int,
        *,
        all_references: bool,
        prompt_length: int,
    ) -> Arrays:
        """Segments, padded; a row that lacks the target is padding alone."""
        cells = [sample.targets.get(target.name) for sample in samples]
        longest = max([1, *(len(cell) for cell in cells if cell is not None)])
        values = np.zeros((num_rows, longest, 3), dtype=np.float32)
        values[:, :, 2] = -1.0
        present = np.zeros(num_rows, dtype=bool)
        for row, cell in enumerate(cells):
            if cell is not None:
                values[row, : len(cell)], present[row] = cell, True
        return {"values": values, "present": present}

    def lies_in(self, target: TaggingTarget) -> str | None:
        return target.over

    def row_statistics(
        self, target: TaggingTarget, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows
    ) -> Statistics:
        results = {
            "present": truth["present"],
            "length": truth["values"][:, 0, 1].astype(np.float64),
            "truth": _ragged([segments_of(records) for records in truth["values"]]),
            "predicted": _ragged([segments_of(records) for records in outputs[0]["values"]]),
        }
        if "likelihood" in outputs[0]:
            results["likelihood"] = outputs[0]["likelihood"].astype(np.float64)
        return results

    def metrics(self, target: TaggingTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        primary = tagging_primary(target)
        return marked(
            tagging_metrics(target), headline=primary, selection=primary, finer="log_loss", reported=_REPORTED
        )

    def scorer(self, target: TaggingTarget, statistics: Statistics) -> Scorer:
        rows = np.flatnonzero(statistics["present"])
        likelihood = statistics["likelihood"][rows] if "likelihood" in statistics else None
        return TaggingScorer(
            target,
            list(statistics["predicted"][rows]),
            list(statistics["truth"][rows]),
            statistics["length"][rows],
            likelihood,
        )

    def baselines(self, target: TaggingTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """No segment, or the class that is more of the length than none is and than any other, everywhere."""
        shares = [1.0 - sum(target.class_lengths), *target.class_lengths]
        best = int(np.argmax(shares))
        segments = np.array([(0.0, _NO_END, best - 1.0, shares[best])] if best else []).reshape(-1, 4)

        def majority(statistics: Statistics) -> Statistics:
            rest = {name: values for name, values in statistics.items() if name != "likelihood"}
            return {**rest, "predicted": _ragged([segments.copy() for _ in statistics["present"]])}

        return {"majority-class baseline": majority}

    def row_score(self, target: TaggingTarget, statistics: Statistics) -> RowScore:
        """The F1 of a row's own segments; one with no segment that gets none is right."""
        rows = np.flatnonzero(statistics["present"])
        values = np.full(len(statistics["present"]), np.nan)
        scorer = TaggingScorer(
            target,
            list(statistics["predicted"][rows]),
            list(statistics["truth"][rows]),
            statistics["length"][rows],
            None,
        )
        values[rows] = scorer.f1_of_rows()
        return RowScore(name="per-row segment F1", higher_is_better=True, values=values)


def _log_likelihood(target: TaggingTarget, statistics: Statistics) -> np.ndarray:
    assert "likelihood" in statistics, f"{target.name}: nothing is known of how likely the truth is"
    likelihood = statistics["likelihood"]
    result: np.ndarray = likelihood[:, 0] / np.maximum(likelihood[:, 2], 1.0)
    return result


def _ragged(rows: Sequence[np.ndarray]) -> np.ndarray:
    """One array per row; object [rows]."""
    result = np.empty(len(rows), dtype=object)
    result[:] = rows
    return result


SPEC = TaggingSpec()
