"""One process or several, behind the same few calls; with one, each is a branch that is not taken.

torchrun (or whoever has already initialized torch.distributed, as Ray does) says who we are. Gradients are averaged by
DistributedDataParallel; what the loop adds are the counts, which must be summed before the backward pass.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["Distributed"]

T = TypeVar("T")
# The others wait while the first process validates and saves: gloo's and NCCL's own 30 and 10 minutes are too few.
_TIMEOUT = timedelta(hours=2)


@dataclass(frozen=True, kw_only=True)
class Distributed:
    """This process among its peers.

    Attributes:
        rank: Which of all processes, from 0.
        world_size: How many there are.
        local_rank: Which of this machine's, and so which GPU.
        owned: Whether the process group was opened here and is to be closed here.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    owned: bool = False

    @classmethod
    def from_environment(cls, *, use_cuda: bool = False) -> Distributed:
        """Joins the peers that torchrun's environment names; alone where there are none.

        Args:
            use_cuda: Whether tensors will lie on GPUs (NCCL, else gloo).
        """
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        if dist.is_available() and dist.is_initialized():
            return cls(rank=dist.get_rank(), world_size=dist.get_world_size(), local_rank=local_rank)
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return cls()
        if use_cuda:
            torch.cuda.set_device(local_rank)
        dist.init_process_group("nccl" if use_cuda else "gloo", timeout=_TIMEOUT)
        return cls(rank=dist.get_rank(), world_size=dist.get_world_size(), local_rank=local_rank, owned=True)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The element-wise sum over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, rows: Tensor) -> tuple[Tensor, int]:
        """Every process's rows, one process after another; no gradient passes.

        Args:
            rows: [rows, ...]; processes may have different numbers of them.

        Returns:
            [all rows, ...], and where this process's own begin.
        """
        if self.world_size == 1:
            return rows, 0
        sizes = torch.zeros(self.world_size, dtype=torch.int64, device=rows.device)
        sizes[self.rank] = len(rows)
        counts = self.sum(sizes).tolist()
        # Equal shapes are what every backend can gather; bytes, because not every backend knows every type.
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows.detach()
        plain = padded.to(torch.uint8) if rows.dtype == torch.bool else padded
        parts = [torch.empty_like(plain) for _ in counts]
        dist.all_gather(parts, plain)
        result = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]).to(rows.dtype)
        return result, sum(counts[: self.rank])

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in any process."""
        if self.world_size == 1:
            return flag
        return bool(self.sum(torch.tensor([float(flag)], device=device)).item())

    def from_main(self, value: T) -> T:
        """The main process's value, in every process."""
        if self.world_size == 1:
            return value
        holder: list[Any] = [value if self.is_main else None]
        dist.broadcast_object_list(holder)
        received: T = holder[0]
        return received

    def barrier(self) -> None:
        """Waits for every process."""
        if self.world_size > 1:
            dist.barrier()

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module with its gradients averaged over all processes; the module itself if alone."""
        if self.world_size == 1:
            return module
        devices = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=devices, gradient_as_bucket_view=True)

    def close(self) -> None:
        """Leaves the peers, if they were joined here."""
        if self.owned:
            dist.destroy_process_group()
