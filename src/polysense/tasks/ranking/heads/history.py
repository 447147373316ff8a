"""What a user's history says: the mean of its items, a recurrent network, or self-attention over them in time."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

__all__ = ["History", "HistoryEncoder"]

HistoryEncoder: TypeAlias = Literal["none", "mean", "gru", "attention"]


class History(nn.Module):
    """Reads items in time, the last one last.

    "mean": their mean. "gru": the state of a gated recurrent unit after the last one (GRU4Rec; Hidasi et al.,
    "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016). "attention": transformer blocks over
    items and positions counted from the end, read at the last one (SASRec; Kang, McAuley, "Self-Attentive Sequential
    Recommendation", ICDM 2018; only the last position is read, so nothing has to be hidden from earlier ones).
    """

    def __init__(self, kind: HistoryEncoder, size: int, length: int, dropout: float) -> None:
        super().__init__()
        self._kind = kind
        if kind == "gru":
            self.network: nn.Module = nn.GRU(size, size, batch_first=True)
        elif kind == "attention":
            heads = next(number for number in (4, 2, 1) if size % number == 0)
            layer = nn.TransformerEncoderLayer(
                size, heads, 2 * size, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            self.network = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.positions = nn.Parameter(torch.empty(length, size).normal_(std=0.02))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(size, size)

    def forward(
        self, items: Float[Tensor, "batch length size"], mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch size"]:
        """The user's part of a query; 0 where there is no history.

        Args:
            items: Right-aligned: padding comes first.
            mask: Which of them are there.
        """
        there = mask.any(dim=1)
        items = items * mask[:, :, None]
        if self._kind == "mean":
            summary = items.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        elif self._kind == "gru":
            # From the first item on: what padding would do to the state depends on how much of it there is.
            lengths, width = mask.sum(dim=1, keepdim=True), items.shape[1]
            positions = (torch.arange(width, device=items.device) + width - lengths).clamp(max=width - 1)
            from_first = items.gather(1, positions[:, :, None].expand_as(items))
            states = self.network(from_first)[0]
            last = (lengths - 1).clamp(min=0)[:, :, None].expand(-1, 1, states.shape[2])
            summary = states.gather(1, last)[:, 0]
        else:
            # A row without history would attend to nothing, which is NaN: it attends to a padding, and counts for 0.
            hidden = ~(mask | ~there[:, None])
            values = items + self.positions[-items.shape[1] :]
            summary = self.network(values, src_key_padding_mask=hidden)[:, -1]
        result: Tensor = self.output(self.dropout(summary)) * there[:, None]
        return result
