"""Columns made absent, and what may stand in for an absent one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polysense.core.tokens import Tokens
from polysense.nn.layers.draws import uniforms

__all__ = ["excluding", "some_columns", "stand_in"]


def stand_in(tokens: Tokens, token: Float[Tensor, " width"]) -> Tokens:
    """The tokens with one learned token in rows that have none."""
    absent = ~tokens.present
    first = torch.zeros_like(tokens.mask[0])
    first[0] = True
    here = absent[:, None] & first
    values = torch.where(here[..., None], token.to(tokens.values.dtype), tokens.values)
    return replace(tokens, values=values, mask=tokens.mask | here)


def excluding(tokens: Mapping[str, Tokens], columns: Collection[str]) -> dict[str, Tokens]:
    """The tokens with some columns absent in all rows, and nothing left of them, not even how long they are."""
    rest = dict(tokens)
    for name in columns:
        if name in rest:
            values, levels, features = rest[name].values, rest[name].pyramid, rest[name].features
            nothing = Tokens.nothing(len(values), values.shape[2], values.device, values.dtype)
            there = torch.zeros_like(nothing.mask[:, 0])
            rest[name] = replace(
                nothing,
                pyramid=tuple(level.masked(there) for level in levels),
                features=None if features is None else torch.zeros_like(features),
            )
    return rest


def some_columns(tokens: Mapping[str, Tokens], keys: Int[Tensor, " batch"]) -> dict[str, Tokens]:
    """At least one and not all of the columns of each row, sampled by its key; all of a row that has one at most."""
    present = torch.stack([column.present for column in tokens.values()], dim=1)
    draws = uniforms(keys, present.shape[1] + 1, "some columns")
    # Sorted by chance, the present ones first; a number between 1 and what is there less 1 of them stays.
    order = (draws[:, 1:] + ~present).argsort(dim=1).argsort(dim=1)
    there = present.sum(dim=1)
    number = 1 + (draws[:, 0] * (there - 1)).long().clamp(min=0)
    keep = present & (order < torch.where(there > 1, number, there)[:, None])
    return {name: column.masked(keep[:, index]) for index, (name, column) in enumerate(tokens.items())}
