"""Losses that contrast the rows of a batch, over all micro-batches and processes: gradients by way of a cache.

The loss of a row depends on who else is there, so it is not a sum over micro-batches. Gradient caching (Gao et al.,
"Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", 2021, section 3.2) gets round it exactly:
1. every micro-batch's outputs, without a graph, of these heads alone; 2. the loss of all of them together and its
gradient with respect to them; 3. the forward once more, micro-batch by micro-batch, each sent back with the gradient
that its outputs got. Memory is that of one micro-batch and of the outputs, which are small; the price is a second
forward. Dropout is seeded anew before 3, so both forwards draw the same.

Among several processes the outputs are gathered, every process takes the loss of its own rows against all, and the
gradients are summed: nothing has to be differentiated through the exchange. One micro-batch a step needs no second
forward, and one process with one micro-batch nothing of this. What such a loss learns, a temperature, is a field of the
output like the embeddings, so its gradient takes the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from polysense.core.batch import Batch
from polysense.core.pytree import concatenate, map_tensors, tensors
from polysense.training.distributed import Distributed
from polysense.training.protocols import ContrastingHead

__all__ = ["GradientCache", "buffers_preserved"]


class GradientCache:
    """The losses of one step's whole batch.

    Args:
        heads: The heads whose loss contrasts rows, by target.
        distributed: This process among its peers.
        batches: The micro-batches as they come; their truths and weights say what belongs together.
    """

    def __init__(
        self, heads: Mapping[str, ContrastingHead], distributed: Distributed, batches: Sequence[Batch]
    ) -> None:
        self._heads, self._distributed, self._batches = heads, distributed, batches
        self._totals: dict[str, Tensor] = {}
        # Per loss and tensor of the output the gradient of each micro-batch.
        self._gradients: dict[str, list[Sequence[Tensor | None]]] = {}
        self._targets: dict[str, str] = {}

    def fill(self, outputs: Sequence[Mapping[str, object]]) -> None:
        """Takes the losses of the whole batch.

        Args:
            outputs: Of each micro-batch, in order.
        """
        weights = torch.cat([batch.weights for batch in self._batches])
        sizes = [len(batch) for batch in self._batches]
        start = self._distributed.gather(weights)[1]
        own = slice(start, start + len(weights))
        for name, head in self._heads.items():
            everyone = self._gathered([piece[name] for piece in outputs])
            leaves = [leaf for leaf in tensors(everyone) if leaf.is_floating_point()]
            for leaf in leaves:
                leaf.requires_grad_()
            truth = self._gathered([head.truth(batch) for batch in self._batches])
            with torch.enable_grad():
                # Of the class and not of the instance: it uses no parameters, so none has to be gathered from shards.
                losses = type(head).loss(head, everyone, truth, own)
                totals = {head.loss_names[loss]: (row.total * weights).sum() for loss, row in losses.items()}
            for full, total in totals.items():
                gradients = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
                self._totals[full], self._targets[full] = total.detach(), name
                # What a row does to the losses of other processes' rows comes back to it.
                self._gradients[full] = [
                    [None] * len(sizes)
                    if gradient is None
                    else torch.split(self._distributed.sum(gradient.contiguous())[own], sizes)
                    for gradient in gradients
                ]

    def _gathered(self, pieces: Sequence[object]) -> object:
        """One tree of all micro-batches' and processes' rows, without a graph."""
        joined = map_tensors(torch.detach, concatenate(pieces))
        return map_tensors(lambda tensor: self._distributed.gather(tensor)[0], joined)

    def totals(self, outputs: Mapping[str, object], position: int) -> dict[str, Tensor]:
        """What stands in for the losses of a micro-batch, by their names.

        It has the gradients of the whole batch's loss, and summed over the micro-batches its value.

        Args:
            outputs: With their graph.
            position: Of the micro-batch.
        """
        if not self._totals:
            self.fill([outputs])
        stand_ins = {}
        for full, total in self._totals.items():
            leaves = [leaf for leaf in tensors(outputs[self._targets[full]]) if leaf.is_floating_point()]
            surrogate = torch.zeros_like(total)
            for leaf, gradients in zip(leaves, self._gradients[full], strict=True):
                gradient = gradients[position]
                # An unused leaf is touched, or DDP waits for ever after the last micro-batch.
                surrogate = surrogate + (leaf * (0.0 if gradient is None else gradient)).sum()
            value = total if position == 0 else torch.zeros_like(total)
            stand_ins[full] = surrogate - surrogate.detach() + value
        return stand_ins


@contextmanager
def buffers_preserved(model: object) -> Iterator[None]:
    """Puts the model's buffers back afterwards: running statistics must not move twice in one step."""
    assert isinstance(model, nn.Module), "a model is a torch.nn.Module"
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    yield
    with torch.no_grad():
        for buffer, value in before:
            buffer.copy_(value)
