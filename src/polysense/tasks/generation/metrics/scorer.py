"""All metrics of a generated text, whatever the task: a caption, an answer, a transcript, a translation.

Which of them say something depends on the task, and nothing in a table says which it is: CIDEr-D, BLEU and ROUGE-L are
made for captions with several references, exact match, VQA accuracy and token F1 for short answers, the error rates for
speech, BLEU and chrF for translation. All are given; they cost little. Their scales are the field's own: BLEU
and chrF 0 to 100, CIDEr-D 0 to 10 (papers print 100 times that), the others shares.

The likelihood of the true texts needs nothing generated and is cheap, so it is what training watches. It judges each
token after the true ones before it, so it says little of a text that went astray early.

Each metric is a pair: what each row adds to its sums, and the value of the sums. So a bootstrap resample is one product
of weights and rows, and no text is read twice. The texts are first brought into Unicode's composed form (NFC).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from polysense.core.metric import Metric, Scorer, Statistics, higher, lower
from polysense.evaluation.metrics.base import ratio
from polysense.tasks.generation.metrics.bleu import bleu_score, bleu_statistics
from polysense.tasks.generation.metrics.chrf import chrf_score, chrf_statistics
from polysense.tasks.generation.metrics.cider import cider_statistics
from polysense.tasks.generation.metrics.edit import cer_statistics, error_rate, wer_statistics
from polysense.tasks.generation.metrics.match import (
    exact_match_statistics,
    token_f1_statistics,
    vqa_accuracy_statistics,
)
from polysense.tasks.generation.metrics.rouge import rouge_l_statistics
from polysense.tasks.generation.metrics.variety import Distinct, length_ratio, length_statistics
from polysense.tasks.generation.metrics.words import answer_words, caption_words, check_texts, composed, mean_score

__all__ = ["GenerationScorer", "TextScorer", "generation_metrics"]

_UNWRITTEN = "no text was generated"
_UNKNOWN = "nothing is known of how likely the true texts are"
_LARGEST_EXPONENT = 700.0  # exp(710) is infinite


def generation_metrics() -> tuple[Metric, ...]:
    """The metrics of a text, in the order in which they are reported."""
    repeats = "-grams of the generated texts that are distinct; no interval, since a bootstrap repeats rows."
    positive, percent = (0.0, math.inf), (0.0, 100.0)
    generated = (
        higher(
            "cider",
            "CIDEr-D: n-grams shared with the references, rare ones counting more (papers print it x 100).",
            bounds=(0.0, 10.0),
        ),
        higher(
            "bleu",
            "BLEU-4 (sacreBLEU): n-grams shared with the references; 0 where no text has four words.",
            bounds=percent,
        ),
        higher(
            "chrf",
            "chrF2 (sacreBLEU): character n-grams shared with the best reference; serves every script.",
            bounds=percent,
        ),
        higher("rouge_l", "ROUGE-L: longest sequence of words shared with the references, in order."),
        higher(
            "exact_match",
            "Share of the rows whose text is a reference, but for case, punctuation and articles.",
            is_share=True,
        ),
        higher("vqa_accuracy", "An answer that 3 of 10 people gave is right; with fewer than 10, one that any gave."),
        higher("token_f1", "Mean over the rows of the F1 of the words shared with the best reference (SQuAD)."),
        lower("wer", "Word error rate: edits over the references' words; says little where a script has no spaces."),
        lower("cer", "Character error rate: edits over the references' characters, spaces among them."),
        higher("distinct_1", f"Share of all 1{repeats}", "no text has a word"),
        higher("distinct_2", f"Share of all 2{repeats}", "no text has 2 words"),
        higher("length", "Mean number of generated words; neither direction is better by itself.", bounds=positive),
        higher(
            "length_ratio",
            "Generated words per word of the nearest reference; 1 is ideal, above 1 is too long.",
            "the references have no words",
            bounds=positive,
        ),
    )
    by_token = (
        higher(
            "token_accuracy",
            "Share of the true tokens that are the likeliest after the true ones before them.",
            _UNKNOWN,
        ),
        lower(
            "log_loss",
            "Mean negative log probability of a true token after the true ones before it, in nats.",
            _UNKNOWN,
        ),
        lower(
            "perplexity",
            "exp(log loss): among how many equally likely tokens the model seems to choose.",
            _UNKNOWN,
            bounds=(1.0, math.inf),
        ),
    )
    return (
        *(replace(metric, undefined_when=metric.undefined_when or _UNWRITTEN) for metric in generated),
        *(replace(metric, depends_on_fit=True) for metric in by_token),
    )


class TextScorer(Scorer):
    """The metrics of the generated texts alone."""

    def __init__(self, references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> None:
        """Counts what each row adds to each metric's sums.

        Args:
            references: One or more texts per row.
            hypotheses: What was written, in the same order.

        Raises:
            ValueError: Where the rows do not match or one has no reference.
        """
        check_texts(references, hypotheses)
        references = [[composed(text) for text in texts] for texts in references]
        hypotheses = [composed(text) for text in hypotheses]
        # Several metrics ask for the same words; remembered for as long as they are counted.
        captions, answers = lru_cache(maxsize=None)(caption_words), lru_cache(maxsize=None)(answer_words)
        parts: dict[str, tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]] = {
            "cider": (cider_statistics(references, hypotheses, captions), mean_score),
            "bleu": (bleu_statistics(references, hypotheses), bleu_score),
            "chrf": (chrf_statistics(references, hypotheses), chrf_score),
            "rouge_l": (rouge_l_statistics(references, hypotheses, captions), mean_score),
            "exact_match": (exact_match_statistics(references, hypotheses, answers), mean_score),
            "vqa_accuracy": (vqa_accuracy_statistics(references, hypotheses, answers), mean_score),
            "token_f1": (token_f1_statistics(references, hypotheses, answers), mean_score),
            "wer": (wer_statistics(references, hypotheses), error_rate),
            "cer": (cer_statistics(references, hypotheses), error_rate),
        }
        lengths = length_statistics(references, hypotheses, captions)
        parts["length"] = (lengths[:, [0, 2]], mean_score)
        parts["length_ratio"] = (lengths[:, :2], length_ratio)
        ends = np.cumsum([rows.shape[1] for rows, _ in parts.values()])
        self._rows = np.concatenate([rows for rows, _ in parts.values()], axis=1)
        self._scores = {
            name: (slice(int(end) - rows.shape[1], int(end)), value)
            for (name, (rows, value)), end in zip(parts.items(), ends, strict=True)
        }
        self._distinct = {f"distinct_{n}": Distinct(hypotheses, n, captions) for n in (1, 2)}

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """Every metric for every resample; see Scorer. None of them is a ranking."""
        sums = weights @ self._rows
        empty = np.where(weights.sum(axis=1) > 0, 0.0, np.nan)
        results = {name: value(sums[:, columns]) + empty for name, (columns, value) in self._scores.items()}
        return results | {name: distinct(weights) for name, distinct in self._distinct.items()}


class GenerationScorer(Scorer):
    """All metrics of a text."""

    def __init__(self, statistics: Statistics) -> None:
        """Prepares what does not depend on the resample.

        Args:
            statistics: See `GenerationSpec`; of the rows that have the target. Where no text was generated, only the
                likelihood is judged.
        """
        self._likelihood = statistics.get("likelihood")
        self._generated: Scorer | None = None
        if "predicted" in statistics:
            self._generated = TextScorer(list(statistics["references"]), list(statistics["predicted"]))

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """Every metric for every resample; see Scorer."""
        unknown = np.full(len(weights), np.nan)
        results = {info.name: unknown for info in generation_metrics()}
        if self._generated is not None:
            results |= self._generated(weights)
        if self._likelihood is not None:
            log_probability, right, count = (weights @ self._likelihood).T
            loss = ratio(-log_probability, count)
            results["log_loss"] = loss
            results["perplexity"] = np.exp(np.minimum(loss, _LARGEST_EXPONENT))
            results["token_accuracy"] = ratio(right, count)
        return results
