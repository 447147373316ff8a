"""Columns made absent at random, and what may stand in for an absent one."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from polysense.core.tokens import Tokens

__all__ = ["hidden", "some_columns", "stand_in"]


def stand_in(tokens: Tokens, token: Float[Tensor, " width"]) -> Tokens:
    """The tokens with one learned token in rows that have none."""
    absent = ~tokens.present
    first = torch.zeros_like(tokens.mask[0])
    first[0] = True
    here = absent[:, None] & first
    return Tokens(
        torch.where(here[..., None], token.to(tokens.values.dtype), tokens.values), tokens.mask | here, tokens.grid
    )


def hidden(tokens: Mapping[str, Tokens], columns: Collection[str]) -> dict[str, Tokens]:
    """The tokens with some columns absent in all rows, and nothing left of them, not even how long they are."""
    found = dict(tokens)
    for name in columns:
        if name in found:
            batch, _, width = found[name].values.shape
            found[name] = Tokens(
                found[name].values.new_zeros(batch, 1, width), torch.zeros_like(found[name].mask[:, :1]), (1,)
            )
    return found


def some_columns(tokens: Mapping[str, Tokens]) -> dict[str, Tokens]:
    """At least one and not all of the columns of each row, at random; all of a row that has one column at most."""
    present = torch.stack([column.present for column in tokens.values()], dim=1)
    # Sorted by chance, the present ones first; a number between 1 and what is there less 1 of them stays.
    order = (torch.rand(present.shape, device=present.device) + ~present).argsort(dim=1).argsort(dim=1)
    there = present.sum(dim=1)
    kept = 1 + (torch.rand(len(there), device=there.device) * (there - 1)).long().clamp(min=0)
    keep = present & (order < torch.where(there > 1, kept, there)[:, None])
    return {name: column.masked(keep[:, index]) for index, (name, column) in enumerate(tokens.items())}
