"""Two processes, of which one has a batch without a column: no hang, and the gradients of one process (DDP, FSDP2)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sharded_models import ROWS, batch, build, part
from torch import Tensor

from polysense.nn.model import MultimodalModel
from polysense.training.distributed import Distributed
from polysense.training.optim import sort_parameters
from polysense.training.optimizers import SGDConfig
from polysense.training.schedule import ConstantConfig
from polysense.training.step import Step

SCRIPT = """
import sys
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads(1)
from safetensors.torch import save_file
from sharded_models import ROWS, batch, build, part
from test_sharding import after
from polysense.training.distributed import Distributed
from polysense.training.sharding import shard

peers = Distributed.from_environment()
assert peers.world_size == 2
start = peers.rank * (ROWS // 2)
for kind in ("ddp", "fsdp"):
    for matching in (False, True):
        for cuts in (1, 2):
            model = build(matching)
            forward = peers.wrap(model, torch.device("cpu")) if kind == "ddp" else shard(model)
            size = ROWS // 2 // cuts
            pieces = [part(batch(), start + i * size, start + (i + 1) * size) for i in range(cuts)]
            weights = after(model, forward, pieces, peers)
            if peers.rank == 0:
                save_file(weights, "{folder}/" + f"{{kind}}-{{matching}}-{{cuts}}.safetensors")
peers.close()
"""


def after(model: MultimodalModel, forward: object, pieces: list, peers: Distributed) -> dict[str, Tensor]:
    """The weights after one step of plain gradient descent at a rate of 1."""
    config = SGDConfig(lr=1.0, momentum=0.0, weight_decay=0.0)
    optimizer = config.build(sort_parameters(config, model, model.parameter_groups()))
    step = Step(
        model, forward, optimizer, ConstantConfig(warmup=0.0).build(10), peak_lr=1.0, clip_norm=None,
        precision=torch.float32, seed=0, device=torch.device("cpu"), distributed=peers,
    )  # fmt: skip
    step(pieces, 0, 0, 0)
    weights = {}
    for name, parameter in model.named_parameters():
        whole = parameter.full_tensor() if isinstance(parameter, torch.distributed.tensor.DTensor) else parameter
        weights[name] = whole.detach().clone().contiguous()
    return weights


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes had after a step, by kind, with or without matching, and number of micro-batches."""
    folder = tmp_path_factory.mktemp("ranks")
    here = Path(__file__).parent
    paths = [str(here / "helpers"), str(here)]
    (folder / "train.py").write_text(SCRIPT.format(paths=paths, folder=folder), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29617"]
    done = subprocess.run(
        [*command, str(folder / "train.py")],
        capture_output=True, text=True, timeout=400, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "POLYSENSE_TYPECHECK": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    return folder


def close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], rtol=1e-5, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")


@pytest.fixture(scope="module")
def alone() -> dict[str, Tensor]:
    """What one process has after the same step."""
    model = build(False)
    return after(model, model, [batch()], Distributed())


@pytest.mark.parametrize("cuts", [2, 4])
def test_accumulation_has_the_gradients_of_one_batch(alone: dict[str, Tensor], cuts: int) -> None:
    model, size = build(False), ROWS // cuts
    pieces = [part(batch(), i * size, (i + 1) * size) for i in range(cuts)]
    close(after(model, model, pieces, Distributed()), alone)


def test_every_part_learns(alone: dict[str, Tensor]) -> None:
    """So that the comparisons can fail."""
    start = dict(build(False).named_parameters())
    still = [name for name, weight in alone.items() if torch.equal(weight, start[name]) and start[name].requires_grad]
    assert all(
        name.endswith(".bias") or "fusion.missing" in name or "norm" in name or name == "fusion.nothing"
        for name in still
    ), still


@pytest.mark.parametrize("cuts", [1, 2])
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_have_the_gradients_of_one(ranks: Path, alone: dict[str, Tensor], kind: str, cuts: int) -> None:
    close(load_file(ranks / f"{kind}-False-{cuts}.safetensors"), alone)


@pytest.mark.parametrize("cuts", [1, 2])
def test_sharded_or_not_makes_no_difference_with_every_objective(ranks: Path, cuts: int) -> None:
    """Image-text matching draws from a micro-batch, so it is no comparison with one process."""
    close(load_file(ranks / f"fsdp-True-{cuts}.safetensors"), load_file(ranks / f"ddp-True-{cuts}.safetensors"))
