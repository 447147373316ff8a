"""Losses that compare the rows of a batch, over all micro-batches and processes: gradients by way of a cache.

The loss of a row depends on who else is there, so it is not a sum over micro-batches. Gradient caching (Gao et al.,
"Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021, section 3.2) gets round it exactly:
1. every micro-batch's outputs, without a graph; 2. the loss of all of them together and its gradient with respect to
them; 3. the forward once more, micro-batch by micro-batch, each sent back with the gradient that its outputs got.
Memory is that of one micro-batch and of the outputs, which are small; the price is a second forward. Dropout is seeded
anew before 3, so both forwards draw the same.

Among several processes the outputs are gathered, every process takes the loss of its own rows against all, and the
gradients are summed: nothing has to be differentiated through the exchange. One micro-batch a step needs no second
forward, and one process with one micro-batch nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from polysense.core.batch import Batch, TargetBatch
from polysense.core.prediction import Loss
from polysense.training.distributed import Distributed
from polysense.training.protocols import WholeBatchHead

__all__ = ["WholeBatch", "buffers_kept"]


@dataclass(frozen=True, eq=False)
class _Cached:
    """A head's loss and where it sends its micro-batches."""

    total: Tensor
    gradients: Sequence[Tensor]
    parameters: Sequence[nn.Parameter]
    parameter_gradients: Sequence[Tensor]


class WholeBatch:
    """The losses of one step's whole batch.

    Args:
        heads: The heads whose loss compares rows, by target.
        distributed: This process among its peers.
        batches: The micro-batches as they come; their targets and weights say what belongs together.
    """

    def __init__(self, heads: Mapping[str, WholeBatchHead], distributed: Distributed, batches: Sequence[Batch]) -> None:
        self._heads, self._distributed, self._batches = heads, distributed, batches
        self._cached: dict[str, _Cached] = {}

    def fill(self, outputs: Sequence[Mapping[str, Tensor]]) -> None:
        """Takes the losses of the whole batch.

        Args:
            outputs: Of each micro-batch, in order, in float32.
        """
        for name, head in self._heads.items():
            pieces = [piece[name].detach() for piece in outputs]
            targets = [batch.targets[name] for batch in self._batches]
            everyone, start = self._distributed.gather(torch.cat(pieces))
            target = TargetBatch(
                values=self._distributed.gather(torch.cat([each.values for each in targets]))[0],
                present=self._distributed.gather(torch.cat([each.present for each in targets]))[0],
            )
            weights = torch.cat([batch.weights for batch in self._batches])
            own = slice(start, start + len(weights))
            everyone.requires_grad_()
            with torch.enable_grad():
                total = (head.row_losses(everyone, target, own) * weights).sum()
            gradient, *rest = torch.autograd.grad(total, [everyone, *head.loss_parameters])
            # What a row does to the losses of other processes' rows comes back to it.
            gradient = self._distributed.sum(gradient.contiguous())[own]
            self._cached[name] = _Cached(
                total.detach(), torch.split(gradient, [len(piece) for piece in pieces]), head.loss_parameters, rest
            )

    def losses(self, losses: Mapping[str, Loss], outputs: Mapping[str, Tensor], position: int) -> dict[str, Loss]:
        """The losses of a micro-batch, with those that compare rows replaced.

        What stands in for one has the gradients of the whole batch's loss, and summed over the micro-batches its value.

        Args:
            losses: As the model gave them for the micro-batch alone.
            outputs: With their graph.
            position: Of the micro-batch.
        """
        if not self._cached:
            self.fill([outputs])
        found = dict(losses)
        for name, cached in self._cached.items():
            stand_in = (outputs[name] * cached.gradients[position]).sum()
            if position == 0:
                for parameter, gradient in zip(cached.parameters, cached.parameter_gradients, strict=True):
                    stand_in = stand_in + (parameter * gradient).sum()
            else:  # touched, or DDP waits for ever after the last micro-batch
                stand_in = stand_in + sum(parameter.sum() * 0.0 for parameter in cached.parameters)
            value = cached.total if position == 0 else torch.zeros_like(cached.total)
            found[name] = replace(losses[name], total=stand_in - stand_in.detach() + value)
        return found


@contextmanager
def buffers_kept(model: object) -> Iterator[None]:
    """Puts the model's buffers back afterwards: running statistics must not move twice in one step."""
    assert isinstance(model, nn.Module), "a model is a torch.nn.Module"
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    yield
    with torch.no_grad():
        for buffer, value in before:
            buffer.copy_(value)
