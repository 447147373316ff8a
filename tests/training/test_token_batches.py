"""Epochs of different numbers of steps: schedule, resuming and logs follow; tokens are counted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from training_toys import ToyLoader, ToyModel, rows_batch, same, validate

from polysense.core.batch import Batch
from polysense.data.batches.batching import Batching, RowBatchingConfig, TokenBatchingConfig
from polysense.data.batches.collate import FILLER
from polysense.data.batches.sampler import StepSampler
from polysense.data.batches.token_counts import RowLengths, TokenCount
from polysense.errors import CheckpointError
from polysense.training.callbacks.base import Callback
from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.callbacks.jsonl import JsonlLog
from polysense.training.callbacks.text_log import TextLog
from polysense.training.checkpoint import load_checkpoint
from polysense.training.config import TrainingConfig
from polysense.training.distributed import Distributed
from polysense.training.meter import Meter, Record
from polysense.training.run import Run
from polysense.training.trainer import Trainer

ROWS = 50
TOKENS = TokenBatchingConfig(max_tokens=80, pool=2)


class TokenLoader:
    """The toys' rows in batches by tokens."""

    def __init__(self, batching: Batching, accumulate: int = 1) -> None:
        self.sampler = StepSampler(ROWS, 8, 0, batching=batching, accumulate=accumulate)

    def num_batches(self, epoch: int) -> int:
        return self.sampler.num_batches(epoch)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        for rows in self.sampler.batches(epoch, start_step):
            yield rows_batch(np.array([row for row in rows if row != FILLER], dtype=np.int64))


def lengths() -> RowLengths:
    draw = np.random.default_rng(0)
    return RowLengths(np.ones((ROWS, 1), dtype=np.int64), draw.integers(1, 40, (ROWS, 1)))


class Killed(BaseException):
    """Stands for a process that dies."""


class Watch(Callback):
    """Notes what callbacks are told, and dies when told to."""

    def __init__(self, die_at: int | None = None) -> None:
        self.die_at = die_at
        self.seen: list[tuple[int, int, int, float]] = []
        self.records: list[Record] = []

    def on_step(self, run: Run) -> None:
        self.seen.append((run.epoch, run.step, run.global_step, run.lr))
        if run.global_step == self.die_at:
            raise Killed

    def on_log(self, run: Run, record: Record) -> None:
        self.records.append(record)


def trainer(folder: Path, model: ToyModel, watch: Watch, *more: Callback, **changes: Any) -> Trainer:
    config = TrainingConfig(**{"epochs": 4, "batch_size": 8, "device": "cpu", "batching": TOKENS, **changes})
    return Trainer(
        config,
        model,
        TokenLoader(config.batching.build(8, lengths()), config.accumulate),
        folder=folder,
        validate=validate(model),
        count_tokens=lambda batch: TokenCount(30.0, 10.0, 80.0, 40.0),
        callbacks=[Checkpointing(every_steps=3), watch, *more],
    )


def test_every_step_of_epochs_that_differ_is_made(tmp_path: Path) -> None:
    sampler = TokenLoader(TOKENS.build(8, lengths()))
    steps = [sampler.num_batches(epoch) for epoch in range(4)]
    assert len(set(steps)) > 1, "epochs of one length show nothing"
    watch = Watch()
    result = trainer(tmp_path, ToyModel(), watch).fit()
    assert result.steps == sum(steps) == len(watch.seen)
    assert [seen[:2] for seen in watch.seen] == [(e, s + 1) for e, n in enumerate(steps) for s in range(n)]
    assert [seen[2] for seen in watch.seen] == list(range(1, sum(steps) + 1))
    # A cosine that knew the true number of steps ends where it should: one step before 0.
    warmup = round(0.05 * sum(steps))
    last = 0.5 * (1 + math.cos(math.pi * (sum(steps) - 1 - warmup) / (sum(steps) - warmup)))
    assert watch.seen[-1][3] == pytest.approx(TrainingConfig().optimizer.lr * last)


def final(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, state = load_checkpoint(folder / "checkpoints" / "last.safetensors")
    for record in [state, *state["history"], state["meter"]["work"], state["meter"]["epoch_work"]]:
        record.pop("seconds")
    state.pop("training_seconds")
    return tensors, state


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("killed", [5, 31, 44])
def test_resuming_is_exact(tmp_path: Path, killed: int, accumulate: int) -> None:
    models = [ToyModel(), ToyModel(), ToyModel(seed=9)]
    straight = trainer(tmp_path / "a", models[0], Watch(), accumulate=accumulate).fit()
    with pytest.raises(Killed):
        trainer(tmp_path / "b", models[1], Watch(killed), accumulate=accumulate).fit()
    resumed = trainer(tmp_path / "b", models[2], Watch(), accumulate=accumulate).fit(resume=True)
    assert same(models[0].state_dict(), models[2].state_dict())
    (tensors, state), (other, other_state) = final(tmp_path / "a"), final(tmp_path / "b")
    assert same(tensors, other)
    assert state == other_state
    assert straight.steps == resumed.steps


def test_micro_batches_change_nothing(tmp_path: Path) -> None:
    models = [ToyModel(dropout=0.0, norm=False) for _ in range(3)]
    results = [
        trainer(tmp_path / str(accumulate), model, Watch(), batch_size=12, accumulate=accumulate, epochs=1).fit()
        for accumulate, model in zip((1, 2, 3), models, strict=True)
    ]
    assert len({result.steps for result in results}) == 1
    for model in models[1:]:
        for one, other in zip(models[0].parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("other", [RowBatchingConfig(group_by_length=True), TokenBatchingConfig(max_tokens=80, pool=3)])
def test_other_batches_in_the_middle_of_an_epoch_are_refused(
    tmp_path: Path, other: RowBatchingConfig | TokenBatchingConfig
) -> None:
    with pytest.raises(Killed):
        trainer(tmp_path, ToyModel(), Watch(5)).fit()
    with pytest.raises(CheckpointError, match=r"training\.batching was"):
        trainer(tmp_path, ToyModel(), Watch(), batching=other).fit(resume=True)


def test_more_epochs_go_on_from_the_last_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = trainer(tmp_path, ToyModel(), Watch(), epochs=2).fit()
    watch = Watch()
    result = trainer(tmp_path, ToyModel(), watch, epochs=3).fit(resume=True)
    assert watch.seen[0][2] == first.steps + 1
    assert result.steps == first.steps + len(watch.seen)
    assert "not as if it had never stopped" not in caplog.text


def test_logs_hold_tokens(tmp_path: Path) -> None:
    watch = Watch()
    logs: list[Callback] = [JsonlLog(tmp_path / "log.jsonl"), TextLog(tmp_path / "train.log")]
    result = trainer(tmp_path, ToyModel(), watch, *logs, epochs=2, log_every=4).fit()
    for record in watch.records:
        assert record.padding == pytest.approx(0.5)
        assert record.input_tokens_per_second == pytest.approx(3 * record.target_tokens_per_second)
        assert record.target_tokens_per_second > 0
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0]["total_steps"] == result.steps
    assert all(line["padding"] == pytest.approx(0.5) for line in lines if line["event"] == "step")
    text = (tmp_path / "train.log").read_text()
    assert "tokens/s (" in text
    assert "50% padding" in text
    least, most = sorted(TokenLoader(TOKENS.build(8, lengths())).num_batches(epoch) for epoch in range(2))
    assert f"2 epochs of {least} to {most} steps" in text if least != most else f"{least} steps" in text


def test_an_epochs_rate_leaves_validation_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("polysense.training.meter.time.perf_counter", lambda: now[0])
    meter = Meter({"label": 1.0}, Distributed(), torch.device("cpu"))
    for _ in range(2):
        for _ in range(3):
            now[0] += 1.0
            meter.add(torch.ones(3), 0, 0, 0.1, [torch.arange(5)], [TokenCount(20.0, 10.0, 60.0, 45.0)])
        meter.recent()
    now[0] += 100.0
    record = meter.epoch()
    assert record.samples_per_second == pytest.approx(5)
    assert record.target_tokens_per_second == pytest.approx(10)
    assert record.padding == pytest.approx(0.25)
    assert record.rate == "5 samples/s  30 tokens/s (10 generated)  25% padding"


def test_loaders_without_tokens_say_nothing_of_them(make_trainer: Callable[..., Trainer]) -> None:
    watch = Watch()
    make_trainer(loader=ToyLoader(40, 8), callbacks=[watch]).fit()
    assert all(record.padding == record.input_tokens_per_second == 0 for record in watch.records)
    assert "tokens" not in watch.records[0].rate
