"""A generated text is explained by how probable the model finds it while columns and parts of cells are masked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_page import Page

import polysense
from polysense.bundle import load
from polysense.core.registry import task
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError
from polysense.evaluation.explanation import ExplanationOptions
from polysense.tasks.generation.record import GenerationTarget

QUICK = ExplanationOptions(parts=4, pairs=2, donors=2)
TARGET = GenerationTarget(
    name="said", columns=("said",), num_rows=4, vocabulary_size=9, padding_id=0, begin_id=1, end_id=2
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> polysense.Run:
    """The first column says what is to be written, the second is noise."""
    draws = np.random.default_rng(0)
    rows: list[dict[str, Any]] = [
        {"word": word, "noise": f"{draws.normal():.3f}", "said": f"{word} it is"}
        for _ in range(40)
        for word in ("red", "blue", "green")
    ]
    settings = ["model.width=32", "training.epochs=12", "training.batch_size=20", "training.tensorboard=false"]
    return polysense.fit(
        rows, target="said", columns={"word": "text", "noise": "number", "said": "generation"}, progress=False,
        output=tmp_path_factory.mktemp("said") / "run", preset="fast",
        overrides=[*settings, "data.split.validation=0", "data.split.test=0", "audit=off", "evaluation.report=false"],
    )  # fmt: skip


def test_shares_sum_to_what_the_text_gains_and_name_its_column(run: polysense.Run) -> None:
    bundle, rows = load(run.folder), [{"word": "blue", "noise": 0.3}, {"word": "red", "noise": -1.0}]
    frame = polysense.predict(bundle, rows).frame
    explained = bundle.explain(rows, [0, 1], options=QUICK)
    for i, row in enumerate(explained):
        (target,) = row.targets
        assert target.answer == frame["said"][i]
        assert target.title == "log probability of the generated text, in nats per token"
        shares = {column.name: column.share for column in target.columns}
        assert sum(shares.values()) == pytest.approx(target.value - target.prior, abs=1e-5)
        assert shares["word"] > 5 * abs(shares["noise"])
        (word, noise) = target.columns
        assert word.without is not None
        assert word.without < target.value
        assert word.answer_without is None
        assert all(math.isfinite(value) for value in word.swapped)
        assert noise.map is None
        # Told the same text as the truth, an evaluation has the same log loss.
        evaluated = polysense.evaluate(bundle, [{**rows[i], "said": target.answer}], bootstrap=0)
        assert evaluated.evaluation.value("said", "log_loss") == pytest.approx(-target.value, abs=1e-5)


def test_the_page_shows_the_text(run: polysense.Run, tmp_path: Path) -> None:
    rows = [{"word": "blue <b>", "noise": 0.3}, {"word": "red", "noise": 1.0}]
    result = polysense.explain(run.folder, rows, [0], output=tmp_path, parts=4, pairs=2)
    Page((tmp_path / "explanation.html").read_text(encoding="utf-8"))
    record = json.loads((tmp_path / "explanation.json").read_text(encoding="utf-8"))
    (target,) = record["rows"][0]["targets"]
    assert target["answer"] == result[0].targets[0].answer
    assert "log probability of the generated text" in result.text()


def test_a_text_that_was_cut_ends_where_it_was_cut() -> None:
    way = task("generation").explained
    assert not isinstance(way, Unsupported)
    for ids in ([5, 6, 2, 0, 0], [5, 6], [5, 6, 0, 0]):
        assert way.cell(TARGET, {"values": np.array([ids])}, 0, {}).tolist() == [1, 5, 6, 2]
    assert way.cell(TARGET, {"values": np.zeros((1, 0), dtype=np.int64)}, 0, {}).tolist() == [1, 2]


def test_a_head_that_scores_nothing_is_refused_by_name() -> None:
    way = task("generation").explained
    assert not isinstance(way, Unsupported)
    with pytest.raises(ConfigError, match="said: can't be explained: its head does not say how probable"):
        way.numbers(TARGET, {"values": np.zeros((1, 2))}, 0)


def test_a_row_with_nothing_in_it_has_no_shares(trained: Callable[[str], polysense.Run]) -> None:
    run = trained("generation")
    bundle = load(run.folder)
    rows = [{"code": "1 2"}, {"code": None}]
    first, empty = bundle.explain(rows, [0, 1], options=QUICK)
    assert first.targets[0].columns[0].is_present
    (target,) = empty.targets
    assert target.value == pytest.approx(target.prior)
    assert not first.refused
