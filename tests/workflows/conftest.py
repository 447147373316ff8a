"""A table of two numbers that decide the label together, small enough to train on in a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polysense
from polysense.errors import TrainingInterrupted
from polysense.workflows.comparison.compare import Compared

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

SMALL = [
    "model.width=16",
    "training.epochs=2",
    "training.batch_size=16",
    "evaluation.bootstrap=20",
    "data.split.test=0.3",
    "data.split.validation=0.2",
    "evaluation.simple_baselines=false",
]


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    draws = np.random.default_rng(0)
    x, y, noise = draws.random(80), draws.random(80), 0.1 * draws.standard_normal(80)
    labels = np.where(x + y + noise > 1, "yes", "no")
    return [{"x": float(a), "y": float(b), "label": str(c)} for a, b, c in zip(x, y, labels, strict=True)]


@pytest.fixture
def compare(rows: list[dict[str, Any]]) -> Callable[..., Compared]:
    def run(over: Any = ("model.fusion.type=concat,gated",), **options: Any) -> Compared:
        options = {"target": "label", "seeds": 2, "overrides": SMALL} | options
        return polysense.compare(options.pop("source", rows), over, **options)

    return run


@pytest.fixture
def stopped_after_an_epoch(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Within it a training ends as if it were stopped when its first epoch is done."""

    @contextmanager
    def stopped() -> Iterator[None]:
        from polysense.training.callbacks.text_log import TextLog

        def stop(self: Any, run: Any, record: Any) -> None:
            del self, record
            run.save("last")
            raise TrainingInterrupted("stopped")

        with monkeypatch.context() as patch:
            patch.setattr(TextLog, "on_epoch", stop)
            with pytest.raises(TrainingInterrupted):
                yield

    return stopped
