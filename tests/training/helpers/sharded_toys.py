"""A small network whose optimizer's state travels between numbers of processes by `torch.distributed.checkpoint`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from polysense.training.optim import OptimizerConfig, sort_parameters
from polysense.training.optimizers import AdamWConfig, SGDConfig

CONFIGS: dict[str, OptimizerConfig] = {
    "adamw": AdamWConfig(lr=0.01, weight_decay=0.1),
    "sgd": SGDConfig(lr=0.05, weight_decay=0.1),
}
ROWS, STEPS = 8, 3
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class Training:
    """A network and its optimizer: whole, replicated (`ddp`) or in shards (`fsdp`) over all processes.

    No dimension is even, so shards are of unequal size; one parameter has a learning rate of its own.
    """

    def __init__(self, optimizer: str, kind: str | None = None) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 9), nn.LayerNorm(9), nn.Linear(9, 3))
        self.module: nn.Module = network
        if kind == "ddp":
            self.module = nn.parallel.DistributedDataParallel(network)
        elif kind == "fsdp":
            fully_shard(network, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
        special = [{"params": [network[3].weight], "lr_scale": 0.1}]
        config = CONFIGS[optimizer]
        self.optimizer = config.build(sort_parameters(config, network, special))

    def train(self, steps: range) -> None:
        """Steps whose gradients are those of all rows, whatever the number of processes."""
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        for step in steps:
            draws = torch.Generator().manual_seed(step)
            words = torch.randint(0, 7, (ROWS,), generator=draws)[rank::world]
            labels = torch.randint(0, 3, (ROWS,), generator=draws)[rank::world]
            nn.functional.cross_entropy(self.module(words), labels).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    def save(self, folder: Path) -> None:
        """Writes a checkpoint, every process its part."""
        with quiet():
            dcp.save(self._state(), checkpoint_id=folder)

    def load(self, folder: Path) -> None:
        """Takes up a checkpoint of any number of processes."""
        state = self._state()
        with quiet():
            dcp.load(state, checkpoint_id=folder)
        set_model_state_dict(self.module, state["model"])
        set_optimizer_state_dict(self.module, self.optimizer, state["optimizer"])

    def _state(self) -> dict[str, Any]:
        return {
            "model": get_model_state_dict(self.module),
            "optimizer": get_optimizer_state_dict(self.module, self.optimizer),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Weights and the optimizer's state by name, whole; every process must ask."""
        model: Mapping[str, Tensor] = get_model_state_dict(self.module, options=WHOLE)
        state: Mapping[str, Any] = get_optimizer_state_dict(self.module, self.optimizer, options=WHOLE)
        named = {f"model/{name}": value for name, value in model.items()}
        for name, values in state.get("state", {}).items():
            named |= {f"optimizer/{name}/{key}": value for key, value in values.items()}
        return {name: value.detach().clone() for name, value in named.items()}

    def settings(self) -> list[tuple[list[str], float, float]]:
        """Each group's names, learning rate and weight decay."""
        return [(g["param_names"], g["lr"], g["weight_decay"]) for g in self.optimizer.param_groups]


class quiet(warnings.catch_warnings):
    """Without torch's remark that there is one process, or that part of its own code is deprecated."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
