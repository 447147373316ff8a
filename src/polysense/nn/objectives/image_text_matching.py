"""Do these columns belong together? Rows with one column from another row, and a loss for telling them from true ones.

A shared space compares columns that never saw one another; a fusion sees them at once and can tell what no single place
holds ("the red cube left of the blue ball"). Image-text matching (Li et al., "Align before Fuse", NeurIPS 2021, section
3.2) asks it: for each column of a row, another row's takes its place, drawn in proportion to how close the space
already finds the two, so the hardest mistakes are asked most. Rows that hold the same thing are never drawn: they would
be right.

What is drawn from are the rows of a micro-batch, whose tokens are at hand. So here, unlike in the contrastive loss, how
a batch is cut changes which negatives there are; each draw is a function of its row's key all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from polysense.core.batch import Batch
from polysense.core.tokens import Fused, Tokens
from polysense.nn.layers.draws import uniforms

if TYPE_CHECKING:
    from polysense.tasks.retrieval.heads.contrastive import ContrastiveHead

__all__ = ["hard_negatives", "matching_losses"]


def matching_losses(
    head: ContrastiveHead,
    tokens: Mapping[str, Tokens],
    places: Float[Tensor, "batch columns size"],
    batch: Batch,
    fuse: Callable[[Mapping[str, Tokens]], Fused],
) -> Float[Tensor, " batch"]:
    """Each row's binary cross entropy: half for the row as it is, half for the mean of its mixed ones.

    Args:
        head: Of the shared space.
        tokens: Every column's.
        places: What the head gave for them.
        batch: What they were made of.
        fuse: Joins columns.

    Returns:
        Nats, times the row's weight; 0 in a row that has fewer than two of the columns, or no other to be told from.
    """
    target = batch.targets[head.target.name]
    nobody = torch.zeros(len(batch), dtype=torch.bool, device=batch.device)
    # Other columns than the space's could give the answer away, or need not be there: they are masked.
    own = {name: each if name in head.members else each.masked(nobody) for name, each in tokens.items()}
    chosen = hard_negatives(
        places.detach(), target.values, target.present, head.log_sharpness.detach().exp(), batch.keys
    )
    found = F.softplus(-head.match(fuse(own).pooled).float())
    negatives, num_negatives = torch.zeros_like(found), torch.zeros_like(found)
    for index, name in enumerate(head.members):
        there = chosen[:, index] >= 0
        rows = chosen[:, index].clamp(min=0)
        mixed = Tokens(own[name].values[rows], own[name].mask[rows], own[name].grid)
        logits = head.match(fuse({**own, name: mixed}).pooled).float()
        negatives = negatives + F.softplus(logits) * there
        num_negatives = num_negatives + there
    mean = negatives / num_negatives.clamp(min=1)
    return 0.5 * (found + mean) * (num_negatives > 0) * batch.weights


def hard_negatives(
    places: Float[Tensor, "batch columns size"],
    keys: Int[Tensor, "batch keys"],
    present: Bool[Tensor, " batch"],
    sharpness: Float[Tensor, " 1"],
    row_keys: Int[Tensor, " batch"] | None,
) -> Int[Tensor, "batch columns"]:
    """For each column of each row the row whose cell takes its place, -1 for none.

    Args:
        places: In the shared space; zeros where a column is absent.
        keys: What the rows hold, columns first; 0 is unknown. Rows that share any key hold the same.
        present: Which rows count.
        sharpness: What cosines are multiplied by: the higher, the more the closest is preferred.
        row_keys: What to draw from, `Batch.keys`; None takes the closest row.
    """
    there = (places != 0).any(dim=2) & present[:, None]
    size, columns = there.shape
    again = torch.zeros(size, size, dtype=torch.bool, device=places.device)
    for key in keys.unbind(1):
        again |= (key[:, None] == key[None]) & (key[:, None] != 0)
    again.fill_diagonal_(True)
    draws = None if row_keys is None else uniforms(row_keys, columns, "matching")
    found = []
    for column in range(columns):
        others = there.clone()
        others[:, column] = False
        # A row's other columns look for one to go with them: the mean of their cosines.
        looking = (places * others[..., None]).sum(dim=1) / others.sum(dim=1).clamp(min=1)[:, None]
        logits = (looking @ places[:, column].T).float() * sharpness
        allowed = ~again & there[:, column] & (there[:, column] & others.any(dim=1))[:, None]
        logits = logits.masked_fill(~allowed, -torch.inf)
        if draws is None:
            rows = logits.nan_to_num(neginf=-1e9).argmax(dim=1)
        else:
            shares = logits.nan_to_num(neginf=-1e9).softmax(dim=1) * allowed
            sums = shares.cumsum(dim=1)
            # The first whose share reaches beyond the draw: never one without a share.
            rows = (sums <= draws[:, column, None] * sums[:, -1:]).sum(dim=1)
            rows = torch.where(rows < size, rows, shares.argmax(dim=1))
        found.append(torch.where(allowed.any(dim=1), rows, -1))
    return torch.stack(found, dim=1)
