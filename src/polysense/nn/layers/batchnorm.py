"""Batch normalization over what is present.

Ioffe and Szegedy, "Batch Normalization", 2015. In training it normalizes by the statistics of the batch, so a row that
has no image must not be in the batch at all; in prediction it normalizes by running averages, and rows are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BatchNorm", "over_present"]


class BatchNorm(nn.Module):
    """Batch normalization of [items, channels, height, width] that also takes one value per channel, or none.

    One value has no spread: torch's own layer raises an error there. This one falls back on the running averages and
    leaves them as they are. Weights bear the same names as torch's.

    Args:
        num_channels: Channels.
        momentum: Share of each batch in the running averages.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_channels: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.register_buffer("running_mean", torch.zeros(num_channels))
        self.register_buffer("running_var", torch.ones(num_channels))

    def forward(self, x: Float[Tensor, "items channels height width"]) -> Float[Tensor, "items channels height width"]:
        """Normalizes each channel."""
        from_batch = self.training and x.shape[0] * x.shape[2] * x.shape[3] > 1
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, from_batch, self.momentum, eps=1e-5
        )


def over_present(
    network: Callable[[Tensor], Sequence[Tensor]], items: Float[Tensor, "items ..."], lengths: Int[Tensor, " items"]
) -> Sequence[Tensor]:
    """Runs a network over the items of length above 0 alone; the others get zeros.

    With no item present the network runs over an empty batch, so that every parameter still has a (zero) gradient.

    Args:
        network: From a batch of items to batches of anything of a fixed shape, such as feature maps.
        items: All items; absent ones may hold junk.
        lengths: 0 = absent.
    """
    present = lengths.nonzero().squeeze(1)
    if len(present) == len(items):
        return network(items)
    results = network(items[present])
    return [each.new_zeros(len(items), *each.shape[1:]).index_copy(0, present, each) for each in results]
