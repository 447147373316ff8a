"""The learner beside the page: it never sees a held-out row, and nobody waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from polysense.core.editor import Editor, EditorRequest
from polysense.data.editors import ChoiceEditor, NumberEditor, TextEditor
from polysense.errors import ConfigError, TableError
from polysense.workflows.labeling.background import BackgroundLearner
from polysense.workflows.labeling.strategies.base import strategy_named

ROWS = 200
DRAWS = np.random.default_rng(0)
FEATURES = DRAWS.normal(size=(ROWS, 6)).astype(np.float32)
HELD_OUT = DRAWS.random(ROWS) < 0.3
CLASSES = ChoiceEditor(EditorRequest(target="y", classes=["low", "high"]))
NUMBERS = NumberEditor(EditorRequest(target="y"))


def learner(editor: Editor) -> BackgroundLearner:
    return BackgroundLearner(
        lambda: (FEATURES, "six numbers"), editor, strategy_named("k_center" if editor is NUMBERS else "margin"), ROWS
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def curve_of(assistant: BackgroundLearner, num_labels: int) -> dict:
    def last() -> int:
        points = (assistant.state()["curve"] or {"points": ()})["points"]
        return points[-1]["num_labels"] if points else 0

    until(lambda: last() == num_labels)
    return assistant.state()["curve"]


@pytest.mark.parametrize("editor", [CLASSES, NUMBERS])
def test_labels_come_back_as_guesses_and_the_curve_falls(editor: Editor) -> None:
    truth = FEATURES[:, 0] * 2 if editor is NUMBERS else np.where(FEATURES[:, 0] > 0, "high", "low")
    labels = {row: editor.parse(truth[row].item()) for row in range(ROWS)}
    assistant = learner(editor)
    try:
        assert assistant.guess(0) is None
        assistant.begin(HELD_OUT, {})
        assistant.learn({row: label for row, label in labels.items() if row < 160})
        curve = curve_of(assistant, int((~HELD_OUT[:160]).sum()))
        assert curve["num_held_out"] == HELD_OUT[:160].sum()
        assert curve["points"][0]["error"] > 2 * curve["points"][-1]["error"]
        suggested = assistant.suggestions()
        assert set(suggested) <= set(np.flatnonzero(~HELD_OUT)) - set(range(160))
        assert assistant.suggestions() is None  # nothing new
        guesses = [assistant.guess(row) for row in range(160, ROWS)]
        if editor is NUMBERS:
            assert np.corrcoef([guess.value for guess in guesses], truth[160:])[0, 1] > 0.95
        else:
            assert np.mean([guess.value == truth[row] for row, guess in enumerate(guesses, 160)]) > 0.9
            assert all(guess.ranked[0] == (guess.value, guess.probability) for guess in guesses)
    finally:
        assistant.close()


def test_held_out_labels_change_no_guess() -> None:
    assistant, other = learner(CLASSES), learner(CLASSES)
    learned = {row: "high" if FEATURES[row, 0] > 0 else "low" for row in np.flatnonzero(~HELD_OUT)[:40].tolist()}
    held_out = dict.fromkeys(np.flatnonzero(HELD_OUT).tolist(), "low")
    try:
        assistant.begin(HELD_OUT, learned)
        other.begin(HELD_OUT, {**learned, **held_out})
        until(lambda: assistant.guess(0) is not None and other.guess(0) is not None)
        assert [assistant.guess(row) for row in range(ROWS)] == [other.guess(row) for row in range(ROWS)]
    finally:
        assistant.close()
        other.close()


def test_without_features_rows_come_at_random_and_the_page_says_so() -> None:
    def nothing() -> tuple[np.ndarray, str]:
        raise TableError("no column has any")

    assistant = BackgroundLearner(nothing, CLASSES, strategy_named("margin"), ROWS)
    assistant.begin(HELD_OUT, {0: "low", 1: "high"})
    until(lambda: "at random" in assistant.state()["note"])
    assert assistant.suggestions() is None
    assistant.close()
    with pytest.raises(ConfigError, match="no learner for these labels"):
        learner(TextEditor(EditorRequest(target="y")))
    with pytest.raises(ConfigError, match="'margin' needs probabilities"):
        BackgroundLearner(nothing, NUMBERS, strategy_named("margin"), ROWS)
