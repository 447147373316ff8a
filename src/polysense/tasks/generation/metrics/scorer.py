"""Metrics of written texts: how likely the true texts are, and how like them the written ones.

The likelihood needs nothing written and is cheap, so it is what training watches. It judges each token after the true
ones before it, so it says little of a text that went astray early; the other metrics read what was written.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from polysense.core.metric import Metric, Scorer, Statistics, higher, lower
from polysense.evaluation.metrics.base import ratio

__all__ = ["GenerationScorer", "generation_metrics"]

_UNWRITTEN = "no text was written"
_UNKNOWN = "nothing is known of how likely the true texts are"
_LARGEST_EXPONENT = 700.0  # exp(710) is infinite


def generation_metrics() -> tuple[Metric, ...]:
    """The metrics of written texts, in the order in which they are reported."""
    from polysense.tasks.generation.metrics import text  # a dozen modules that other tasks never need

    return (
        *(replace(info, undefined_when=info.undefined_when or _UNWRITTEN) for info in text.generation_metrics()),
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


class GenerationScorer(Scorer):
    """All metrics of a text."""

    def __init__(self, statistics: Statistics) -> None:
        """Prepares what does not depend on the resample.

        Args:
            statistics: See `GenerationSpec`; of the rows that have the target. Where no text was generated, only the
                likelihood is judged.
        """
        self._likelihood = statistics.get("likelihood")
        self._written: Scorer | None = None
        if "predicted" in statistics:
            from polysense.tasks.generation.metrics.text import TextScorer

            self._written = TextScorer(list(statistics["references"]), list(statistics["predicted"]))

    def __call__(self, weights: np.ndarray, *, rankings: bool = True) -> dict[str, np.ndarray]:
        """Every metric for every resample; see Scorer."""
        unknown = np.full(len(weights), np.nan)
        results = {info.name: unknown for info in generation_metrics()}
        if self._written is not None:
            results |= self._written(weights)
        if self._likelihood is not None:
            log_probability, right, count = (weights @ self._likelihood).T
            loss = ratio(-log_probability, count)
            results["log_loss"] = loss
            results["perplexity"] = np.exp(np.minimum(loss, _LARGEST_EXPONENT))
            results["token_accuracy"] = ratio(right, count)
        return results
