"""A learner that works beside the page: in a thread of its own, on labels as they come in.

Each round fits the learner on all labels of rows that are not held out, guesses the rest, and lets a strategy choose
the next rows. Now and then it measures the learning curve anew, on all held-out rows that have a label.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from polysense.core.editor import Editor
from polysense.core.json import JsonValue
from polysense.core.logs import get_logger
from polysense.core.random import generator
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError, UserError
from polysense.workflows.labeling.assistant import Assistant, Guess
from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.learning_curve import LearningCurve, learning_curve, sizes_for
from polysense.workflows.labeling.row_features import RowFeatures
from polysense.workflows.labeling.strategies.base import StrategyConfig

__all__ = ["BackgroundLearner"]

_BATCH = 50  # rows chosen at once, from which the queue takes until the next round
_RANKED = 9  # labels whose probabilities are shown
_CURVE_GROWTH = 1.15  # of the labels, from one curve to the next
_FEWEST_LABELS = 2
_REST = 0.2  # seconds between rounds, so that the page has the processor

_log = get_logger("polysense.labeling")


class BackgroundLearner(Assistant):
    """See `Assistant`.

    Args:
        features: Gives the features of the rows and what they are in words; called in the background.
        editor: Of the target.
        strategy: Chooses the next rows.
        num_rows: Of the table.
        seed: Of the learner and of what is drawn.

    Raises:
        ConfigError: No model learns labels of this kind.
    """

    def __init__(
        self,
        features: Callable[[], tuple[Float[np.ndarray, "rows size"], str]],
        editor: Editor,
        strategy: StrategyConfig,
        num_rows: int,
        *,
        seed: int = 0,
    ) -> None:
        codes = editor.codes
        if isinstance(codes, Unsupported):
            raise ConfigError(f"there is no learner for these labels: {codes.reason}")
        if codes.classes is None and strategy.needs_probabilities:
            raise ConfigError(
                f"the strategy {strategy.type!r} needs probabilities, and labels that are numbers have none; expected "
                "k_center, typical or random"
            )
        self._classes = codes.classes
        strategy.check_kind("choice" if codes.classes is not None else "numbers")
        self._make_features, self._editor, self._strategy, self._seed = features, editor, strategy, seed
        self._num_rows = num_rows
        self._is_held_out: Bool[np.ndarray, " rows"] = np.zeros(num_rows, dtype=bool)
        self._labels: dict[int, float] = {}  # in the order in which they came
        self._changed = threading.Condition()
        self._is_dirty = self._is_closed = False
        self._suggested: Int[np.ndarray, " rows"] | None = None
        self._predicted: np.ndarray | None = None
        self._curve: LearningCurve | None = None
        self._seconds: float | None = None
        self._note = "Features of the rows are being made."
        self._description = ""
        self._thread: threading.Thread | None = None

    # --- what a session asks ---

    def begin(self, is_held_out: Bool[np.ndarray, " rows"], labels: Mapping[int, JsonValue]) -> None:
        self._is_held_out = is_held_out
        self.learn(labels)
        self._thread = threading.Thread(target=self._run, name="labeling learner", daemon=True)
        self._thread.start()

    def learn(self, labels: Mapping[int, JsonValue]) -> None:
        with self._changed:
            for row, value in labels.items():
                self._labels.pop(row, None)  # a new word counts as the last
                if value is not None:
                    self._labels[row] = self._editor.code(value)
            self._is_dirty = True
            self._changed.notify()

    def suggestions(self) -> Int[np.ndarray, " rows"] | None:
        with self._changed:
            suggested, self._suggested = self._suggested, None
            return suggested

    def guess(self, row: int) -> Guess | None:
        with self._changed:
            predicted = self._predicted
        if predicted is None:
            return None
        if self._classes is None:
            return Guess(value=self._editor.decoded(float(predicted[row, 0])))
        order = np.argsort(-predicted[row], kind="stable")[:_RANKED]
        ranked = tuple((self._classes[i], float(predicted[row, i])) for i in order)
        return Guess(value=ranked[0][0], probability=ranked[0][1], ranked=ranked)

    def state(self) -> dict[str, Any]:
        with self._changed:
            return {
                "curve": None if self._curve is None else asdict(self._curve),
                "seconds": self._seconds,
                "features": self._description,
                "note": self._note,
            }

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    # --- the thread ---

    def _run(self) -> None:
        try:
            self._learn_on()
        except UserError as error:
            self._give_up(str(error))
        except Exception as error:  # noqa: BLE001 (a thread that dies unheard would leave the page waiting)
            self._give_up(f"{type(error).__name__}: {error}")

    def _give_up(self, reason: str) -> None:
        _log.warning("rows come at random, since no model can learn beside the page: %s", reason)
        with self._changed:
            self._note = f"Rows come at random, since no model can learn beside you: {reason}"

    def _learn_on(self) -> None:
        values, self._description = self._make_features()
        rows = RowFeatures(values)
        learner = self._learner(rows)
        drawn = generator(self._seed, "rows to label")
        known: dict[int, float] = {}
        curve_at = 0
        while True:
            with self._changed:
                self._note = ""
                while not (self._is_dirty or self._is_closed):
                    self._changed.wait()
                if self._is_closed:
                    return
                self._is_dirty = False
                labels = dict(self._labels)
            begun = time.monotonic()
            learned = {row: code for row, code in labels.items() if not self._is_held_out[row]}
            self._update(learner, known, learned)
            known = learned
            # Without labels, too: a strategy that needs some begins with what is typical.
            open_rows = np.setdiff1d(np.flatnonzero(~self._is_held_out), np.fromiter(labels, dtype=np.int64))
            suggested = self._strategy.choose(learner, open_rows, min(_BATCH, len(open_rows)), drawn)
            predicted = None
            if len(known) >= _FEWEST_LABELS and learner.can_tell:
                predicted = learner.predictions() if self._classes is None else learner.probabilities()
            with self._changed:
                self._suggested = suggested
                self._predicted = self._predicted if predicted is None else predicted
            with self._changed:
                self._seconds = time.monotonic() - begun
            if len(labels) >= _CURVE_GROWTH * curve_at or len(labels) < curve_at:
                curve_at = len(labels)
                curve = self._measured(rows, labels)
                with self._changed:
                    self._curve = curve
            time.sleep(_REST)

    def _learner(self, rows: RowFeatures) -> Learner:
        if self._classes is None:
            return Learner(rows, kind="numbers", num_outputs=1, seed=self._seed)
        return Learner(rows, kind="choice", num_outputs=len(self._classes), seed=self._seed)

    def _update(self, learner: Learner, before: Mapping[int, float], now: Mapping[int, float]) -> None:
        changed = {row: code for row, code in now.items() if before.get(row) != code}
        changed |= {row: float("nan") for row in before if row not in now}
        if changed:
            learner.update(np.fromiter(changed, dtype=np.int64), np.array(list(changed.values())))

    def _measured(self, rows: RowFeatures, labels: Mapping[int, float]) -> LearningCurve:
        """The curve: the learner fitted anew on the first labels of each size, and its errors on held-out rows."""
        learned = [(row, code) for row, code in labels.items() if not self._is_held_out[row]]
        judged = [(row, code) for row, code in labels.items() if self._is_held_out[row]]
        tested = np.array([row for row, _ in judged], dtype=np.int64)
        truth = np.array([code for _, code in judged])
        sizes, errors = [], []
        for size in sizes_for(len(learned)) if judged else []:
            learner = self._learner(rows)
            learner.update(np.array([row for row, _ in learned[:size]]), np.array([code for _, code in learned[:size]]))
            predicted = learner.predictions().reshape(len(rows), -1)[tested, 0]
            sizes.append(size)
            errors.append(np.abs(predicted - truth) if self._classes is None else 1.0 * (predicted != truth))
        stacked = np.array(errors).reshape(len(sizes), len(judged))
        return learning_curve(sizes, stacked, is_share=self._classes is not None, seed=self._seed)
