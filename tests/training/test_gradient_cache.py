"""Losses that compare rows: how a batch is cut up, and among whom, changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparing_toys import SpaceLoader, SpaceModel, pairs_batch
from safetensors.torch import load_file
from torch import Tensor

from polysense.core.rows import ModelOutput
from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.config import TrainingConfig
from polysense.training.distributed import Distributed
from polysense.training.gradient_cache import buffers_preserved
from polysense.training.optim import sort_parameters
from polysense.training.optimizers import SGDConfig
from polysense.training.schedule import ConstantConfig
from polysense.training.step import Step
from polysense.training.trainer import Trainer


def after(rows: Sequence[int], cuts: Sequence[int], *, augment: Any = None, **model: Any) -> tuple[SpaceModel, Tensor]:
    """The model after one step on rows that are cut up."""
    made = SpaceModel(**model)
    config = SGDConfig(lr=0.1)
    step = Step(
        made, made, config.build(sort_parameters(config, made)), ConstantConfig(warmup=0.0).build(10), peak_lr=0.1,
        clip_norm=None, precision=torch.float32, seed=0, device=torch.device("cpu"), distributed=Distributed(),
        augment=augment,
    )  # fmt: skip
    seen = step([pairs_batch(part) for part in np.split(np.array(rows), cuts)], 0, 0, 0)
    return made, seen


@pytest.mark.parametrize("loss", ["infonce", "siglip"])
@pytest.mark.parametrize("cuts", [[4], [1, 2, 9], [0, 12]])
def test_micro_batches_have_the_gradients_of_one_batch(loss: str, cuts: list[int]) -> None:
    whole, seen = after(range(12), [], loss=loss)
    pieces, seen_pieces = after(range(12), cuts, loss=loss)
    torch.testing.assert_close(seen, seen_pieces, rtol=1e-5, atol=1e-5)
    start = SpaceModel(loss=loss)
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(dict(pieces.named_parameters())[name], parameter, rtol=0, atol=2e-6)
    assert not torch.equal(whole.head.log_scale, start.head.log_scale)


def test_without_the_cache_they_would_not() -> None:
    """What the cache is for: the sum of the pieces' own losses is another loss."""
    model = SpaceModel()
    parts = [pairs_batch(np.arange(6)), pairs_batch(np.arange(6, 12))]
    apart = sum(model(part).losses["space"].total.sum().item() for part in parts)
    whole = pairs_batch(np.arange(12))
    assert model(whole).losses["space"].total.sum().item() > apart * 1.05


def test_dropout_draws_the_same_in_both_forwards() -> None:
    """The loss that is reported comes of the first forward, the gradient of the second."""
    draws: list[Tensor] = []

    class Watched(SpaceModel):
        def forward(self, batch: Any, only: Any = None, deferred: Any = ()) -> ModelOutput:
            output = super().forward(batch, only, deferred)
            draws.append(output.outputs["space"].values.detach())  # type: ignore[attr-defined]
            return output

    made = Watched(dropout=0.5)
    config = SGDConfig(lr=0.1)
    step = Step(
        made, made, config.build(sort_parameters(config, made)), ConstantConfig(warmup=0.0).build(10), peak_lr=0.1,
        clip_norm=None, precision=torch.float32, seed=0, device=torch.device("cpu"), distributed=Distributed(),
    )  # fmt: skip
    step([pairs_batch(np.arange(5)), pairs_batch(np.arange(5, 9))], 0, 0, 0)
    assert len(draws) == 4
    assert torch.equal(draws[0], draws[2])
    assert torch.equal(draws[1], draws[3])
    assert made.seen == 2, "running statistics move once"


def test_one_micro_batch_needs_no_second_forward() -> None:
    made, _ = after(range(8), [])
    assert made.seen == 1


def test_buffers_are_put_back() -> None:
    model = SpaceModel()
    with buffers_preserved(model):
        model(pairs_batch(np.arange(3)))
        assert model.seen == 1
    assert model.seen == 0


def test_memory_is_that_of_a_micro_batch() -> None:
    """The graph of the encoder is never kept for more than one of them."""
    alive: list[int] = []

    def largest(rows: int, cuts: list[int]) -> int:
        alive.clear()

        def pack(tensor: Tensor) -> Tensor:
            alive.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            after(range(rows), cuts)
        return max(alive)

    assert largest(64, list(range(8, 64, 8))) <= largest(64, []) / 4


SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 8, "accumulate": 2, "device": "cpu", "log_every": 2}
# 21 rows in micro-batches of 4: the last one has a single row, so the second process has none of it.
NUM_ROWS = 21

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
import torch
torch.set_num_threads(1)
from safetensors.torch import save_file
from comparing_toys import SpaceLoader, SpaceModel
from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.config import TrainingConfig
from polysense.core.rows import ModelOutput
from polysense.training.distributed import Distributed
from polysense.training.gradient_cache import buffers_preserved
from polysense.training.optimizers import SGDConfig
from polysense.training.trainer import Trainer

folder, settings = Path({folder!r}), {settings!r}
peers = Distributed.from_environment()
for name, changed in {{"cut": {{}}, "whole": {{"accumulate": 1}}}}.items():
    config = TrainingConfig(optimizer=SGDConfig(lr=0.1), **(settings | changed))
    model = SpaceModel(seed=peers.rank)  # the first process's weights count
    loader = SpaceLoader({num_rows}, 8 // config.accumulate, rank=peers.rank, world_size=2)
    trainer = Trainer(config, model, loader, folder=folder / name, distributed=peers, callbacks=[Checkpointing()])
    result = trainer.fit()
    losses = torch.tensor([record["loss"] for record in result.history])
    save_file({{**model.state_dict(), "losses": losses}}, folder / f"{{name}}-{{peers.rank}}.safetensors")
peers.close()
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    script = folder / "train.py"
    helpers = str(Path(__file__).parent / "helpers")
    script.write_text(SCRIPT.format(helpers=helpers, folder=str(folder), settings=SETTINGS, num_rows=NUM_ROWS))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        launch, capture_output=True, text=True, timeout=280, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


@pytest.mark.parametrize("name", ["cut", "whole"])
def test_two_processes_equal_one(two: Path, tmp_path: Path, name: str) -> None:
    model = SpaceModel()
    config = TrainingConfig(optimizer=SGDConfig(lr=0.1), **{**SETTINGS, "accumulate": 1})
    trainer = Trainer(config, model, SpaceLoader(NUM_ROWS, 8), folder=tmp_path, callbacks=[Checkpointing()])
    losses = [record["loss"] for record in trainer.fit().history]
    assert losses[1] < losses[0]
    for rank in (0, 1):
        state = load_file(two / f"{name}-{rank}.safetensors")
        assert state["losses"].tolist() == pytest.approx(losses, rel=1e-4)
        for key, value in model.named_parameters():
            torch.testing.assert_close(state[key], value.detach(), rtol=0, atol=5e-6)
