"""A small model, a loader and a validation of the interfaces that the trainer asks for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

from training_toys import METRICS, ToyLoader, ToyModel

from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.config import TrainingConfig
from polysense.training.trainer import Trainer


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """A trainer over toys; `config` is given as keywords."""

    def make(
        folder: Path | None = None,
        *,
        model: ToyModel | None = None,
        loader: ToyLoader | None = None,
        num_rows: int = 40,
        validate: Any = None,
        callbacks: Any = None,
        augment: Any = None,
        distributed: Any = None,
        **config: Any,
    ) -> Trainer:
        settings = TrainingConfig(**{"epochs": 3, "batch_size": 8, "log_every": 3, "device": "cpu", **config})
        made = model if model is not None else ToyModel()
        return Trainer(
            settings,
            made,
            loader if loader is not None else ToyLoader(num_rows, settings.micro_batch_size, seed=settings.seed),
            folder=folder if folder is not None else tmp_path / "run",
            validate=validate(made) if validate is not None else None,
            metrics=METRICS,
            callbacks=[Checkpointing()] if callbacks is None else callbacks,
            augment=augment,
            distributed=distributed,
        )

    return make
