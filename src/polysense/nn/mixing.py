"""Mixup of tokens: after the encoders, before the fusion, with one share per row for all columns.

Where both rows have a token, the mixture is share * own + (1 - share) * partner's (manifold mixup: Verma et al., ICML
2019, section 2). Where only one has it, because the other lacks the column or is shorter, there is nothing to mix with:
zeros in its place would be a cell that nobody has. A mixed row then has the presence of one of the two rows, in all
columns together, drawn with the share as its probability. So it always has something, columns are missing together as
they are in the table, and no column is there for a label that hardly counts.

Of a column whose images were pasted into one another (CutMix) the row's own token is the mixture already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from polysense.core.batch import Batch, ColumnBatch, MixedRows
from polysense.core.tokens import Tokens

__all__ = ["mix"]


def mix(
    batch: Batch, tokens: Mapping[str, Tokens], partners: Mapping[str, Tokens], mixed: MixedRows
) -> tuple[Batch, dict[str, Tokens]]:
    """The mixed tokens, and the batch with the presence that they have.

    Args:
        batch: The rows.
        tokens: Of the rows.
        partners: Of their partners.
        mixed: The partners and the shares.
    """
    columns = {
        name: _presence(column, mixed.batch.columns[name], mixed.own_presence) for name, column in batch.columns.items()
    }
    whole = torch.ones_like(mixed.share)
    both = {
        name: _mixed(
            own, partners[name], mixed.share, whole if name in mixed.pasted else mixed.share, mixed.own_presence
        )
        for name, own in tokens.items()
    }
    return replace(batch, columns=columns), both


def _mixed(
    own: Tokens,
    other: Tokens,
    share: Float[Tensor, " batch"],
    of_tokens: Float[Tensor, " batch"],
    keeps: Bool[Tensor, " batch"],
) -> Tokens:
    length = max(own.mask.shape[1], other.mask.shape[1])
    values, others = (F.pad(each.values, (0, 0, 0, length - each.values.shape[1])) for each in (own, other))
    mask, other_mask = (F.pad(each.mask, (0, length - each.mask.shape[1])) for each in (own, other))
    # Of a token that one of them lacks the other's counts whole.
    part = torch.where(mask & other_mask, of_tokens[:, None], mask.to(share.dtype))[:, :, None].to(values.dtype)
    joint = torch.where(keeps[:, None], mask, other_mask)
    result = (part * values + (1 - part) * others).masked_fill(~joint[:, :, None], 0.0)
    features = None
    if own.features is not None and other.features is not None:
        present = own.present & other.present
        weight = torch.where(present, share, keeps.to(share.dtype))[:, None]
        features = weight * own.features + (1 - weight) * other.features
    grid = own.grid if own.mask.shape[1] == length else other.grid
    return Tokens(result, joint, grid, (), features)


def _presence(own: ColumnBatch, other: ColumnBatch, keeps: Bool[Tensor, " batch"]) -> ColumnBatch:
    """The column as far as anything after the encoders asks for it: which rows have how much of it."""
    items = max(own.lengths.shape[1], other.lengths.shape[1])
    lengths, others = (F.pad(each.lengths, (0, items - each.lengths.shape[1])) for each in (own, other))
    more = own.values.new_zeros(len(own.values), items - own.values.shape[1], *own.values.shape[2:])
    values = torch.cat([own.values, more], dim=1)
    return replace(own, values=values, lengths=torch.where(keeps[:, None], lengths, others), stored=None)
