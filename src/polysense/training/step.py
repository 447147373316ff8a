"""One optimization step over k micro-batches and all processes.

The loss is the sum over losses of weight * total / count, where each count is summed over the micro-batches and
processes before anything is differentiated. So how a batch is cut up changes nothing, whatever the rows' lengths and
missing targets; averaging each piece's mean would weigh a row by how full its piece happens to be. A loss that no row
of the whole batch has a target for gets the factor 0, and stays in the graph, so no process waits for its gradients.

Dropout is seeded with (seed, epoch, step, rank) at each step: a resumed run draws what it would have drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polysense.core.batch import Batch
from polysense.core.device import autocast
from polysense.core.random import fold
from polysense.core.rows import ModelOutput
from polysense.errors import TrainingError
from polysense.training.balance.base import Balance
from polysense.training.distributed import Distributed
from polysense.training.ema import WeightAverage
from polysense.training.gradient_cache import GradientCache, buffers_preserved
from polysense.training.protocols import Augment, ContrastingModel, TrainableModel
from polysense.training.schedule import Schedule

__all__ = ["Step", "not_finite"]


@dataclass(eq=False)
class Step:
    """Forward, backward and update.

    Attributes:
        model: Gives losses and counts.
        forward: The same model, compiled or wrapped for several processes.
        optimizer: Makes the update.
        schedule: Factor of the learning rate.
        peak_lr: The peak learning rate, for the reports.
        clip_norm: Longest gradient, None for any.
        precision: Of the forward pass.
        seed: Of dropout.
        device: Where the model lies.
        distributed: This process among its peers.
        augment: Applied to each micro-batch on the device.
        average: Updated after each step.
        balance: Looks at each micro-batch's outputs, and may change the gradients before they are clipped.
        lr: The learning rate of the last step.
    """

    model: TrainableModel
    forward: Callable[..., object]
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    _: KW_ONLY
    peak_lr: float
    clip_norm: float | None
    precision: torch.dtype
    seed: int
    device: torch.device
    distributed: Distributed
    augment: Augment | None = None
    average: WeightAverage | None = None
    balance: Balance | None = None
    lr: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._peak_lrs = [group["lr"] for group in self.optimizer.param_groups]
        self._parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self._losses = tuple(self.model.loss_weights)
        self._contrasting = self.model.contrasting() if isinstance(self.model, ContrastingModel) else {}
        # Reading a number waits for the GPU, and is free on the CPU: there each loss is checked before it does harm.
        self._check = self.device.type == "cpu"

    def __call__(
        self, batches: Sequence[Batch], epoch: int, step: int, global_step: int
    ) -> Float[Tensor, " losses_and_counts_and_norm"]:
        """Makes one step.

        Args:
            batches: The micro-batches of this process, on the model's device.
            epoch: From 0.
            step: Within the epoch, from 0.
            global_step: Over the run, from 0; sets the learning rate.

        Returns:
            Each loss's sum in this process, each one's count over all, and the gradient's norm (0 if it isn't
            clipped), still on the device.

        Raises:
            TrainingError: A loss or the gradient is not finite (on the CPU; elsewhere it shows in the result).
        """
        self._seed_dropout(epoch, step)
        # First of all: what a loss counts may depend on what augmentation leaves of a target.
        batches = [self._augmented(batch, epoch) for batch in batches]
        factor = self.schedule.factor(global_step)
        self.lr = self.peak_lr * factor

        # 1. What to divide by.
        counts = self.distributed.sum(self._counts(batches))
        # Times the world's size, because gradients are averaged over processes and are to be summed.
        peers = self.distributed.world_size
        weights = [self.model.loss_weights[name] * peers for name in self._losses]
        scales = torch.where(counts > 0, torch.tensor(weights, device=self.device) / counts, torch.zeros_like(counts))

        # 2. What needs the whole batch at once.
        cache = self._cache(batches, epoch, step)

        # 3. Gradients, piece by piece.
        summed = torch.zeros_like(counts)
        for i, batch in enumerate(batches):
            with self._sync(last=i == len(batches) - 1):
                totals = self._totals(batch, epoch, step, cache, i)
                torch.autograd.backward((totals * scales).sum())
            summed += totals.detach()
        if self.balance is not None:
            self.balance.adjust(epoch, step)

        # 4. The update.
        norm = torch.zeros_like(summed[:1])
        if self.clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(self._parameters, self.clip_norm).reshape(1)
            if self._check and not math.isfinite(norm.item()):
                raise not_finite("the gradient", norm.item(), epoch, step, rows_of(batches), self.lr)
        for group, peak in zip(self.optimizer.param_groups, self._peak_lrs, strict=True):
            group["lr"] = peak * factor
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update()
        return torch.cat([summed, counts, norm])

    def _counts(self, batches: Sequence[Batch]) -> Tensor:
        """Each loss's count over this process's micro-batches."""
        pieces = []
        for batch in batches:
            counts = self.model.counts(batch)
            pieces.append(torch.stack([counts[name] for name in self._losses]))
        return (pieces[0] if len(pieces) == 1 else torch.stack(pieces).sum(dim=0)).float()

    def _augmented(self, batch: Batch, epoch: int) -> Batch:
        """What is trained on; a pure function of the batch and the epoch."""
        if self.augment is None:
            return batch
        with torch.no_grad():
            return self.augment(batch, epoch)

    def _cache(self, batches: Sequence[Batch], epoch: int, step: int) -> GradientCache | None:
        """The losses that contrast rows, where these lie in several micro-batches or processes."""
        if not self._contrasting or (len(batches) == 1 and self.distributed.world_size == 1):
            return None
        cache = GradientCache(self._contrasting, self.distributed, batches)
        if len(batches) > 1:
            only = tuple(self._contrasting)
            with torch.no_grad(), buffers_preserved(self.model), autocast(self.device, self.precision):
                cache.fill([self.model(batch, only=only).outputs for batch in batches])
            self._seed_dropout(epoch, step)  # the second forward draws what the first one drew
        return cache

    def _totals(self, batch: Batch, epoch: int, step: int, cache: GradientCache | None, position: int) -> Tensor:
        """Each loss summed over a micro-batch."""
        with autocast(self.device, self.precision):
            output = self.forward(batch) if cache is None else self.forward(batch, deferred=tuple(self._contrasting))
        assert isinstance(output, ModelOutput), f"forward gave a {type(output).__name__}, expected a ModelOutput"
        sums = {name: loss.total.sum() for name, loss in output.losses.items()}
        if cache is not None:
            sums |= cache.totals(output.outputs, position)
        if self.balance is not None:
            self.balance.observe(output.losses, batch, epoch)
        totals = torch.stack([sums[name] for name in self._losses]).float()
        if self._check and not math.isfinite(totals.sum().item()):
            for name, total in zip(self._losses, totals.tolist(), strict=True):
                if not math.isfinite(total):
                    rows = batch.rows.tolist()
                    bad = ~output.losses[name].total.isfinite() if name in output.losses else None
                    culprits = [] if bad is None else batch.rows[bad].tolist()
                    raise not_finite(f"the loss of {name!r}", total, epoch, step, rows, self.lr, culprits)
        return totals

    def _sync(self, *, last: bool) -> AbstractContextManager[object]:
        """Gradients are exchanged with the last piece only."""
        if self.distributed.world_size == 1:
            return nullcontext()
        from torch.distributed.fsdp import FSDPModule  # whose import takes a second, and it is for many processes alone

        forward: object = self.forward
        if isinstance(forward, FSDPModule):
            forward.set_requires_gradient_sync(last)
            return nullcontext()
        if last:
            return nullcontext()
        assert isinstance(self.forward, nn.parallel.DistributedDataParallel)
        context: AbstractContextManager[object] = self.forward.no_sync()
        return context

    def _seed_dropout(self, epoch: int, step: int) -> None:
        seed = int(fold(self.seed, epoch, step, self.distributed.rank))
        # torch.manual_seed would also ask every kind of accelerator: 234 us against 2 us.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)


def rows_of(batches: Sequence[Batch]) -> list[int]:
    """The table's rows in some micro-batches."""
    return [row for batch in batches for row in batch.rows.tolist()]


def not_finite(
    what: str, value: float, epoch: int, step: int, rows: Sequence[int], lr: float, culprits: Sequence[int] = ()
) -> TrainingError:
    """The error for a loss or a gradient that is infinite or not a number."""
    where = f"in epoch {epoch + 1}, step {step + 1}"
    if culprits and len(culprits) < len(rows):
        who = f"it is not finite in rows {_listed(culprits)}, of a batch of {len(rows)}"
    else:
        who = f"the batch held rows {_listed(rows)}"
    return TrainingError(
        f"{what} is {value} {where}; {who}. The last checkpoint is from before. Look at those rows for extreme "
        f"numbers; otherwise lower training.optimizer.lr (it was {lr:.3g} in this step) or set training.clip_norm"
    )


def _listed(rows: Sequence[int]) -> str:
    listed = ", ".join(map(str, rows[:64]))
    return listed if len(rows) <= 64 else f"{listed} and {len(rows) - 64} more"
