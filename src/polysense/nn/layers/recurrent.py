"""Recurrent layers over sequences of different lengths, without packing.

The backward direction reads each sequence reversed in place, from its own last step, so padding comes after the
sequence in both directions and never enters a state: the states are those of torch's packed sequences, which take up to
three times as long on a CPU and make the host wait for a GPU.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["BidirectionalRNN", "mirrored"]


def mirrored(
    sequences: Float[Tensor, "batch length width"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch length width"]:
    """Each sequence's own steps in reverse order; its padding stays where it is."""
    positions = torch.arange(sequences.shape[1], device=sequences.device)
    lengths = lengths[:, None]
    index = torch.where(positions < lengths, lengths - 1 - positions, positions)
    return sequences.gather(1, index[..., None].expand(-1, -1, sequences.shape[2]))


class BidirectionalRNN(nn.Module):
    """LSTM or GRU layers that read sequences from both ends, or from their beginnings alone.

    Args:
        cell: nn.LSTM or nn.GRU.
        num_inputs: Width of a step.
        hidden: Width of the state in each direction.
        num_layers: Layers, each of which reads both directions' states of the one below.
        dropout: Between layers.
        bidirectional: Whether there is a backward direction.
    """

    def __init__(
        self,
        cell: type[nn.LSTM] | type[nn.GRU],
        num_inputs: int,
        hidden: int,
        num_layers: int,
        dropout: float = 0.0,
        bidirectional: bool = True,
    ) -> None:
        super().__init__()
        sizes = [num_inputs] + [hidden * (2 if bidirectional else 1)] * (num_layers - 1)
        self.forwards = nn.ModuleList(cell(size, hidden, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(cell(size, hidden, batch_first=True) for size in sizes if bidirectional)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch length inputs"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch length states"]:
        """The states at every step, forward direction first; beyond a sequence's length they are junk."""
        # On a CPU a cell of reduced precision is no faster, and some processors have no kernel for it at all.
        with torch.autocast("cpu", enabled=False) if x.is_cpu else nullcontext():
            x = x.to(next(self.parameters()).dtype) if x.is_cpu else x
            for layer, forwards in enumerate(self.forwards):
                if layer:
                    x = self.dropout(x)
                states = [forwards(x)[0]]
                if self.backwards:
                    states.append(mirrored(self.backwards[layer](mirrored(x, lengths))[0], lengths))
                x = torch.cat(states, dim=2)
        return x
