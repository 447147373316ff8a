"""Two processes train what one trains, and stop together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_toys import METRICS, ToyLoader, ToyModel, validate

from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.config import TrainingConfig
from polysense.training.distributed import Distributed
from polysense.training.optimizers import SGDConfig
from polysense.training.trainer import Trainer

# 21 rows in micro-batches of 4: the last one has a single row, so the second process has none of it.
NUM_ROWS = 21
SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 8, "accumulate": 2, "device": "cpu", "log_every": 2}

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
import torch
torch.set_num_threads(1)
from safetensors.torch import save_file
from training_toys import METRICS, ToyLoader, ToyModel, validate
from polysense.errors import TrainingInterrupted
from polysense.training.callbacks.base import Callback
from polysense.training.callbacks.checkpointing import Checkpointing
from polysense.training.callbacks.early_stopping import EarlyStopping
from polysense.training.config import TrainingConfig
from polysense.training.distributed import Distributed
from polysense.training.optimizers import SGDConfig
from polysense.training.trainer import Trainer

folder, settings = Path({folder!r}), {settings!r}
peers = Distributed.from_environment()
assert peers.world_size == 2

def train(name, age=True, scripted=None, resume=False, callbacks=(), **changed):
    model = ToyModel(dropout=0.0, seed=peers.rank)  # the first process's weights count
    config = TrainingConfig(optimizer=SGDConfig(lr=0.1), **(settings | changed))
    loader = ToyLoader({num_rows}, 4, rank=peers.rank, world_size=2, age=age)
    values = iter(scripted or [])
    check = (lambda: {{"label/accuracy": next(values)}}) if scripted else validate(model)
    trainer = Trainer(config, model, loader, folder=folder / name, validate=check, metrics=METRICS, distributed=peers,
                      callbacks=[*callbacks, Checkpointing()])
    result = trainer.fit(resume=resume)
    save_file(model.state_dict(), folder / f"{{name}}-{{peers.rank}}.safetensors")
    return result

facts = {{}}
result = train("plain")
facts["loss"] = [record["loss"] for record in result.history]
train("headless", age=False)
# Only the first process validates: were the others to ask, their list would run out of step.
scripted = [0.5, 0.4, 0.3, 0.9] if peers.rank == 0 else [0.1, 0.2, 0.3, 0.4]
facts["epochs"] = train("early", scripted=scripted, epochs=4, callbacks=[EarlyStopping(2)]).epochs

class Signal(Callback):
    every_process = True
    def on_step(self, run):
        if peers.rank == 1 and run.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)  # to one process alone

try:
    train("stopped", callbacks=[Signal()])
    facts["stopped"] = None
except TrainingInterrupted as error:
    facts["stopped"] = str(error)
train("stopped", resume=True)
(folder / f"facts-{{peers.rank}}.json").write_text(json.dumps(facts))
peers.close()
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    helpers = str(Path(__file__).parent / "helpers")
    script = folder / "train.py"
    script.write_text(SCRIPT.format(helpers=helpers, folder=str(folder), settings=SETTINGS, num_rows=NUM_ROWS))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        launch, capture_output=True, text=True, timeout=280, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


def one(folder: Path, *, age: bool = True) -> tuple[ToyModel, list[float]]:
    """The same run in this process."""
    model = ToyModel(dropout=0.0)
    trainer = Trainer(
        TrainingConfig(optimizer=SGDConfig(lr=0.1), **SETTINGS),
        model,
        ToyLoader(NUM_ROWS, 4, age=age),
        folder=folder,
        validate=validate(model),
        metrics=METRICS,
        callbacks=[Checkpointing()],
    )
    return model, [record["loss"] for record in trainer.fit().history]


@pytest.mark.parametrize("name", ["plain", "headless", "stopped"])
def test_two_processes_equal_one(two: Path, tmp_path: Path, name: str) -> None:
    model, losses = one(tmp_path, age=name != "headless")
    for rank in (0, 1):
        state = load_file(two / f"{name}-{rank}.safetensors")
        for key, value in model.named_parameters():
            torch.testing.assert_close(state[key], value.detach(), rtol=0, atol=2e-6)
        if name == "plain":
            assert json.loads((two / f"facts-{rank}.json").read_text())["loss"] == pytest.approx(losses, rel=1e-5)


def test_early_stopping_is_agreed_on(two: Path) -> None:
    assert [json.loads((two / f"facts-{rank}.json").read_text())["epochs"] for rank in (0, 1)] == [3, 3]


def test_a_signal_to_one_stops_both_after_the_same_step(two: Path) -> None:
    messages = [json.loads((two / f"facts-{rank}.json").read_text())["stopped"] for rank in (0, 1)]
    assert all("after step 2 of 3" in message for message in messages)
    assert "SIGTERM" in messages[1]
    assert "another process" in messages[0]


def test_alone_nothing_is_exchanged() -> None:
    alone = Distributed.from_environment()
    values = torch.tensor([1.0, 2.0])
    module = torch.nn.Linear(1, 1)
    assert alone == Distributed()
    assert alone.is_main
    assert alone.sum(values) is values
    assert alone.wrap(module, torch.device("cpu")) is module
    assert alone.from_main({"a": 1.0}) == {"a": 1.0}
    assert not alone.any(False, torch.device("cpu"))
    alone.barrier()
    alone.close()
