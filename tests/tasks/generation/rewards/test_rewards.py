"""Rewards: metrics as the evaluation has them, rules, and rows without references."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from torch import nn

from polysense.core.task_spec import TargetReader
from polysense.errors import ConfigError
from polysense.nn.objectives.base import Beginning
from polysense.tasks.generation.metrics.cider import cider_statistics
from polysense.tasks.generation.rewards.base import Reward
from polysense.tasks.generation.rewards.rule import RuleConfig
from polysense.tasks.generation.rewards.text_metric import TextMetricConfig

REFERENCES = [
    ["a man rides a horse", "someone on a horse"],
    ["two dogs play in the snow"],
    [],
    ["a red bus in the street", "a bus"],
]


class Reader:
    """Rows and their references."""

    def spell(self, value: Any) -> object:
        raise AssertionError

    def references(self, row: int) -> list[str]:
        return REFERENCES[row]


def reward(config: Any) -> Reward:
    reader = cast("TargetReader", Reader())
    beginning = Beginning(
        cast("Any", nn.Identity()), True, len(REFERENCES), {"say": reader}, lambda path: pytest.fail(path)
    )
    built: Reward = config.build(beginning, reader)
    return built


def test_cider_has_the_document_frequencies_of_the_training_rows() -> None:
    known = [0, 1, 3]
    texts = ["a man rides a horse", "two dogs run", "the bus in the street"]
    expected = cider_statistics([REFERENCES[row] for row in known], texts)[:, 0]
    one = reward(TextMetricConfig(metric="cider"))
    assert one(texts, known) == pytest.approx(expected)
    alone = [one([text], [row])[0] for text, row in zip(texts, known, strict=True)]
    assert alone == pytest.approx(expected), "a text is worth the same whatever it is judged beside"


@pytest.mark.parametrize("metric", ["cider", "chrf", "rouge_l", "exact_match", "token_f1", "wer", "cer"])
def test_the_best_text_is_the_reference(metric: Any) -> None:
    one = reward(TextMetricConfig(metric=metric))
    values = one(["two dogs play in the snow", "two dogs", "", "anything"], [1, 1, 1, 2])
    assert values[0] == pytest.approx(10.0 if metric == "cider" else 1.0)
    assert values[0] > values[1] or metric == "exact_match"
    assert values[1] >= values[2]
    assert np.isnan(values[3]), "nothing can be said of a row without references"
    assert one([], []).shape == (0,)


def test_rules() -> None:
    one = reward(RuleConfig(least_words=2, most_words=4, has=("horse",), lacks=("[0-9]",)))
    assert one(["a horse", "horse 1 2 3 4 5", "seven words that have no animal here"], [0, 0, 0]).tolist() == [
        1.0,
        0.5,
        0.5,
    ]
    assert reward(RuleConfig(per_word=0.5))(["one two three"], [0]).tolist() == [1.5]


@pytest.mark.parametrize("settings", [{}, {"per_word": 1.0, "most_words": 3}, {"has": ("(",)}])
def test_rules_that_can_not_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        RuleConfig(**settings)


def test_cider_needs_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader, "references", lambda self, row: [])
    with pytest.raises(ConfigError, match="take another metric"):
        reward(TextMetricConfig(metric="cider"))
