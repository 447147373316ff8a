"""Generation: a text for a row, generated token by token: a caption, an answer, a transcript, a translation."""

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
from polysense.data.editors import TextEditor
from polysense.errors import ConfigError
from polysense.tasks.generation.metrics.match import exact_match_statistics, token_f1_statistics
from polysense.tasks.generation.metrics.scorer import GenerationScorer, generation_metrics
from polysense.tasks.generation.metrics.words import are_unspaced
from polysense.tasks.generation.record import REJECTED, GenerationTarget

__all__ = ["SPEC", "GenerationSpec"]

_SHORT_TEXT = 4  # tokens, the end among them
_REPORTED = ("cider", "bleu", "chrf", "exact_match", "token_f1", "wer", "log_loss")
# Where a script puts no spaces between words, BLEU and the word error rate take a sentence for a word.
_REPORTED_UNSPACED = ("cider", "chrf", "exact_match", "token_f1", "cer", "log_loss")


class _Contribution(Contribution[GenerationTarget]):
    """The log probability of the true text, per token; nothing is generated, every row moves it, and it costs one pass.

    Without any column the prediction is the model's own from an empty row, because it holds what the model knows of the
    language; else every column would earn that too.
    """

    measures = (Measure("log_likelihood", "log likelihood", "nats per token"),)
    is_prior_without_columns = False

    def row_values(self, target: GenerationTarget, statistics: Statistics) -> np.ndarray:
        return _log_likelihood(target, statistics)[:, None]


class _Explained(Explained[GenerationTarget]):
    """How probable the model finds the text that it generated, per token, each token after those before it.

    The text stays the same while columns and parts of cells are masked; a generated text would change, and with it what
    is explained.
    """

    scores_answer = True

    def cell(
        self, target: GenerationTarget, prediction: Arrays, choice: int, placements: Mapping[str, Placement]
    ) -> np.ndarray:
        ids = prediction["values"][0]
        ids = ids[ids != target.padding_id]
        # A text that was cut has no end; what is asked is then whether it would end here, too.
        end = [] if len(ids) and ids[-1] == target.end_id else [target.end_id]
        return np.array([target.begin_id, *ids.tolist(), *end], dtype=np.int32)

    def choices(self, target: GenerationTarget) -> Sequence[str]:
        return ("generated text",)

    def chosen(self, target: GenerationTarget, prediction: Arrays) -> int:
        return 0

    def numbers(self, target: GenerationTarget, prediction: Arrays, choice: int) -> np.ndarray:
        if "likelihood" not in prediction:
            raise ConfigError(
                f"{target.name}: can't be explained: its head does not say how probable a text is (`score`)"
            )
        likelihood = prediction["likelihood"].astype(np.float64)
        result: np.ndarray = likelihood[:, 0] / np.maximum(likelihood[:, 2], 1.0)
        return result

    def title(self, target: GenerationTarget, choice: int) -> str:
        return "log probability of the generated text, in nats per token"

    def answers(self, target: GenerationTarget, prediction: Arrays, choice: int) -> Sequence[str] | None:
        return None  # what would be generated instead is not asked


class GenerationSpec(RowSpec[GenerationTarget]):
    """Texts.

    Its row statistics: `likelihood` [rows, 3], where it is known, of the true text: the summed log probability of its
    tokens, how many of them were the most likely, and their number. Where texts were generated: `predicted` (texts),
    `references` (lists of texts), and `score`, the log probability per token.
    """

    name = "generation"
    record = GenerationTarget
    rank = 40
    truth = "polysense.tasks.generation.truth:GenerationTruth"
    generates = True
    decode = "polysense.tasks.generation.predicted:predicted_columns"
    answer = Answer.WORDS
    infer = "polysense.tasks.generation.infer:claim"
    explained = _Explained()
    prior = Unsupported("what it generates from nothing is what it knows of the language")
    proper_score = Unsupported(
        "its log loss rises while the texts still get better, so what is right of them is watched"
    )
    contribution = _Contribution()
    align = Unsupported("a row's text is the same however its cells are augmented")
    summary = Unsupported("its metrics say what there is to say")
    report_section = "polysense.tasks.generation.report_section:report_sections"
    sample_outputs = "polysense.tasks.generation.sample_output:sample_outputs"
    class_probabilities = Unsupported("it predicts texts, and no probabilities of classes")
    conformal = Unsupported("no set of texts holds the true one with a stated probability")
    numbers = Unsupported("it predicts texts, and no numbers")
    mistakes = "polysense.tasks.generation.mistakes:mistakes"
    editor = TextEditor

    def preset(self, size: ModelSize, delimiter: str | None) -> TaskPreset:
        """A decoder of two layers at least."""
        return TaskPreset(target={"type": self.name}, head={"type": self.name, "num_layers": max(size.layers, 2)})

    def collate(
        self,
        target: GenerationTarget,
        samples: Sequence[Sample],
        num_rows: int,
        *,
        all_references: bool,
        prompt_length: int,
    ) -> Arrays:
        """Texts, padded; a row that lacks the target is padding alone."""
        cells = [sample.targets.get(target.name) for sample in samples]
        parts = [(None, None) if cell is None else _apart(cell) for cell in cells]
        truth = _padded(target, [text for text, _ in parts], num_rows, all_references=all_references)
        if any(target.name in sample.trained for sample in samples):
            truth["earlier"] = _earlier(samples, target, num_rows, prompt_length)
        rejected = [others for _, others in parts]
        if any(others is not None for others in rejected):
            others = _padded(target, rejected, num_rows, all_references=all_references)
            truth |= {"rejected_values": others["values"], "rejected_lengths": others["lengths"]}
        return truth

    def row_statistics(
        self, target: GenerationTarget, outputs: Sequence[Arrays], truth: Arrays, rows: BatchRows
    ) -> Statistics:
        (output,) = outputs
        results = {"present": truth["present"]}
        if "likelihood" in output:
            results["likelihood"] = output["likelihood"].astype(np.float64)
        if rows.reader is not None:
            ids, scores = output["values"], output.get("scores", np.zeros(len(output["values"])))
            results["predicted"] = _objects([str(rows.reader.spell(row)) for row in ids])
            results["references"] = _objects([list(rows.reader.references(int(row))) for row in rows.numbers])
            results["score"] = scores / np.maximum((ids != target.padding_id).sum(axis=1), 1)
        return results

    def metrics(self, target: GenerationTarget, statistics: Statistics | None = None) -> tuple[Metric, ...]:
        """Selected by the share of the true tokens that are the most likely, which needs nothing generated.

        As with classes, their log loss grows worse with a model's confidence long before what it writes does. Answers
        of a word or two are right or wrong, so exact match is their headline; of longer texts hardly one is right to
        the letter, so theirs is chrF.
        """
        references = statistics["references"] if statistics is not None and "references" in statistics else ()
        unspaced = are_unspaced([text for texts in references for text in texts])
        return marked(
            generation_metrics(),
            headline="exact_match" if target.typical_length <= _SHORT_TEXT else "chrf",
            selection="token_accuracy",
            finer="chrf",
            reported=_REPORTED_UNSPACED if unspaced else _REPORTED,
        )

    def scorer(self, target: GenerationTarget, statistics: Statistics) -> Scorer:
        rows = np.flatnonzero(statistics["present"])
        return GenerationScorer({name: values[rows] for name, values in statistics.items()})

    def baselines(self, target: GenerationTarget) -> Mapping[str, Callable[[Statistics], Statistics]]:
        """The training text that occurs most often."""

        def majority(statistics: Statistics) -> Statistics:
            rest = {name: values for name, values in statistics.items() if name != "likelihood"}
            if "predicted" not in statistics:
                return rest
            return {**rest, "predicted": _objects([target.most_frequent] * len(statistics["present"]))}

        return {"most frequent text": majority}

    def average(self, target: GenerationTarget, experts: Sequence[Statistics], weights: np.ndarray) -> Statistics:
        """In each row the text whose expert finds it most likely, per token; texts have no mean."""
        rest = {name: values for name, values in experts[0].items() if name != "likelihood"}
        if any("predicted" not in expert for expert in experts):
            return {name: values for name, values in rest.items() if name not in ("predicted", "references", "score")}
        scores = np.stack([expert["score"] for expert in experts], axis=1)
        best = np.where(weights > 0, scores, -np.inf).argmax(axis=1)
        every = np.stack([expert["predicted"] for expert in experts], axis=1)
        return {**rest, "predicted": every[np.arange(len(best)), best], "score": scores.max(axis=1)}

    def row_score(self, target: GenerationTarget, statistics: Statistics) -> RowScore:
        """Short answers are right or not, longer texts share words with the best reference.

        Where no text was generated it is the log probability per token of the true one.
        """
        present = statistics["present"]
        values = np.full(len(present), np.nan)
        if "predicted" not in statistics:
            if "likelihood" in statistics:
                values[present] = _log_likelihood(target, statistics)[present]
            return RowScore(name="log likelihood per token", higher_is_better=True, values=values)
        is_short = target.typical_length <= _SHORT_TEXT
        score = exact_match_statistics if is_short else token_f1_statistics
        rows = np.flatnonzero(present)
        values[rows] = score([statistics["references"][i] for i in rows], [statistics["predicted"][i] for i in rows])[
            :, 0
        ]
        name = "exact match" if is_short else "token F1"
        return RowScore(name=name, higher_is_better=True, is_share=is_short, values=values)


def _log_likelihood(target: GenerationTarget, statistics: Statistics) -> np.ndarray:
    assert "likelihood" in statistics, f"{target.name}: nothing is known of how likely the truth is"
    likelihood = statistics["likelihood"]
    result: np.ndarray = likelihood[:, 0] / np.maximum(likelihood[:, 2], 1.0)
    return result


def _apart(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """A row's texts, and those that were rejected for them."""
    (mark, *_) = (*np.flatnonzero(cell == REJECTED), None)
    return (cell, None) if mark is None else (cell[:mark], cell[mark + 1 :])


def _padded(
    target: GenerationTarget, cells: Sequence[np.ndarray | None], num_rows: int, *, all_references: bool
) -> dict[str, np.ndarray]:
    """Each row's texts as a rectangle."""
    references = [[] if cell is None else _references(cell, target.begin_id) for cell in cells]
    if not all_references:
        references = [texts[:1] for texts in references]
    several = max([1, *map(len, references)])
    longest = max([2, *(len(text) for texts in references for text in texts)])
    values = np.full((num_rows, several, longest), target.padding_id, dtype=np.int64)
    lengths = np.zeros((num_rows, several), dtype=np.int64)
    for row, texts in enumerate(references):
        for index, text in enumerate(texts):
            values[row, index, : len(text)] = text
            lengths[row, index] = len(text)
    present: np.ndarray = lengths.max(axis=1) > 0
    if several == 1:
        values, lengths = values[:, 0], lengths[:, 0]
    return {"values": values, "present": present, "lengths": lengths}


def _references(tokens: np.ndarray, begin_id: int) -> list[np.ndarray]:
    """References that stand one after another, each with its begin token first."""
    return np.split(tokens, np.flatnonzero(tokens == begin_id)[1:])


def _earlier(samples: Sequence[Sample], target: GenerationTarget, num_rows: int, length: int) -> np.ndarray:
    """Which tokens of the prompts are trained on too, see `GenerationTruth.earlier`."""
    values = np.full((num_rows, length), target.padding_id, dtype=np.int64)
    for row, sample in enumerate(samples):
        trained = sample.trained.get(target.name)
        if trained is not None and target.name in sample.targets:
            chosen = np.flatnonzero(trained)
            values[row, chosen] = sample.prompts[target.name][chosen]
    return values


def _objects(rows: Sequence[object]) -> np.ndarray:
    """One object per row; object [rows]."""
    result = np.empty(len(rows), dtype=object)
    for row, value in enumerate(rows):
        result[row] = value
    return result


SPEC = GenerationSpec()
