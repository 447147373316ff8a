"""A metric of the text against the row's references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from polysense.core.task_spec import TargetReader
from polysense.errors import ConfigError
from polysense.nn.objectives.base import Beginning
from polysense.tasks.generation.metrics.chrf import chrf_score, chrf_statistics
from polysense.tasks.generation.metrics.cider import NgramRarity, cider_statistics
from polysense.tasks.generation.metrics.edit import cer_statistics, wer_statistics
from polysense.tasks.generation.metrics.match import exact_match_statistics, token_f1_statistics
from polysense.tasks.generation.metrics.rouge import rouge_l_statistics
from polysense.tasks.generation.rewards.base import Reward, RewardConfig

__all__ = ["TextMetric", "TextMetricConfig"]


def _edits_left(statistics: np.ndarray) -> np.ndarray:
    """1 - the error rate of each row."""
    result: np.ndarray = 1.0 - statistics[:, 0] / np.maximum(statistics[:, 1], 1.0)
    return result


_METRICS: dict[str, Callable[[list[list[str]], list[str]], np.ndarray]] = {
    "chrf": lambda references, texts: chrf_score(chrf_statistics(references, texts)) / 100.0,
    "rouge_l": lambda references, texts: rouge_l_statistics(references, texts)[:, 0],
    "exact_match": lambda references, texts: exact_match_statistics(references, texts)[:, 0],
    "token_f1": lambda references, texts: token_f1_statistics(references, texts)[:, 0],
    "wer": lambda references, texts: _edits_left(wer_statistics(references, texts)),
    "cer": lambda references, texts: _edits_left(cer_statistics(references, texts)),
}


@dataclass(frozen=True, kw_only=True)
class TextMetricConfig(RewardConfig):
    """A metric of the text against the row's references, as self-critical training raises CIDEr.

    Attributes:
        metric: "cider" (CIDEr-D, 0 to 10, with document frequencies of all training rows), "chrf", "rouge_l",
            "exact_match", "token_f1" (0 to 1), "wer" or "cer" (1 minus the error rate).
    """

    type: Literal["text_metric"] = "text_metric"
    metric: Literal["cider", "chrf", "rouge_l", "exact_match", "token_f1", "wer", "cer"] = "cider"


class TextMetric(Reward, config=TextMetricConfig):
    """The metric of each text by itself."""

    needs_references: ClassVar[bool] = True

    def __init__(self, config: TextMetricConfig, beginning: Beginning, reader: TargetReader) -> None:
        self._metric, self._reader = config.metric, reader
        self._rarity: NgramRarity | None = None
        if config.metric == "cider":
            references = [list(reader.references(row)) for row in range(beginning.num_rows)]
            known = [texts for texts in references if texts]
            if len(known) < 2:
                raise ConfigError(
                    f"reward: cider counts in how many rows words occur, and {len(known)} training row has a text; "
                    "take another metric, such as chrf"
                )
            self._rarity = NgramRarity(known)

    def __call__(self, texts: Sequence[str], rows: Sequence[int]) -> np.ndarray:
        result = np.full(len(texts), np.nan)
        references = [list(self._reader.references(row)) for row in rows]
        judged = [index for index, each in enumerate(references) if each]
        if not judged:
            return result
        known, written = [references[index] for index in judged], [texts[index] for index in judged]
        if self._rarity is not None:
            result[judged] = cider_statistics(known, written, rarity=self._rarity)[:, 0]
        else:
            result[judged] = _METRICS[self._metric](known, written)
        return result
