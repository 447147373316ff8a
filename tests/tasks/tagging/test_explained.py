"""Predicted segments are explained by how probable the model finds them while columns are masked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from runs import sentences

import polysense
from polysense.bundle import load
from polysense.core.registry import task
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError
from polysense.evaluation.explanation import ExplanationOptions
from polysense.tasks.tagging.record import TaggingTarget

TARGET = TaggingTarget(name="tags", columns=("tags",), num_rows=4, classes=("LOC", "PER"), over="words")


def test_a_column_s_share_is_what_the_segments_gain_by_it(trained: Callable[[str], polysense.Run]) -> None:
    bundle, rows = load(trained("tagging").folder), sentences(12, seed=5)
    scored = polysense.evaluate(bundle, rows, bootstrap=0).evaluation.statistics["tags"]
    explained = bundle.explain(rows, list(range(6)), options=ExplanationOptions(parts=4, pairs=2, donors=2))
    for i, row in enumerate(explained):
        (target,) = row.targets
        assert target.answer is None
        assert target.title == "log probability of the predicted segments, in nats per token"
        (words,) = target.columns
        assert words.share == pytest.approx(target.value - target.prior, abs=1e-5)
        assert target.prior < target.value <= 0
        assert words.without == pytest.approx(target.prior, abs=1e-6)
        assert words.map is None
        assert words.no_map == "the answer lies in this cell, and moves up where a part is left out"
        predicted, truth = scored["predicted"][i][:, :3], scored["truth"][i][:, :3]
        if predicted.shape == truth.shape and np.array_equal(predicted, truth):  # what is right has the truth's own
            likelihood = scored["likelihood"][i]
            assert target.value == pytest.approx(likelihood[0] / likelihood[2], abs=1e-4)


def test_the_answer_as_a_cell_has_the_whole_column_and_no_padding() -> None:
    way = task("tagging").explained
    assert not isinstance(way, Unsupported)
    records = np.array([[[0, 6, -1, 0], [1, 3, 0, 0.9], [4, 6, 1, 0.8], [-1, -1, -1, -1]]], dtype=np.float32)
    cell = way.cell(TARGET, {"values": records}, 0, {})
    assert cell.tolist() == [[0, 6, -1], [1, 3, 0], [4, 6, 1]]
    assert way.choices(TARGET) == ("all segments",)
    likelihood = np.array([[-3.0, 5.0, 6.0], [0.0, 0.0, 0.0]])
    assert way.numbers(TARGET, {"likelihood": likelihood}, 0).tolist() == [-0.5, 0.0]
    with pytest.raises(ConfigError, match="how probable segments are"):
        way.numbers(TARGET, {"values": records}, 0)
