"""Matrix factorization of who chose what, learned by BPR: a baseline that knows keys alone.

Source: Rendle, Freudenthaler, Gantner, Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI
2009, section 4.3.1, with Adam over batches in place of single steps.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["FACTORS", "fit_bpr"]

FACTORS = 32

_BATCH, _RATE, _DECAY, _START = 4096, 5e-3, 1e-5, 0.05
_FEWEST_STEPS, _MOST_STEPS, _EPOCHS = 300, 2_000, 30


def fit_bpr(
    users: np.ndarray, items: np.ndarray, num_users: int, num_items: int, seed: int = 0
) -> tuple[Float[Tensor, "users factors"], Float[Tensor, "items factors"]]:
    """Learns factors; row 0 of either, which is nobody, is zeros.

    Negatives are drawn uniformly from all items; one that the user chose too is left out.

    Args:
        users: int64 [interactions], from 1.
        items: int [interactions], from 1; 0 is left out.
        num_users: Of them.
        num_items: Of the catalogue.
        seed: Of the start and of the draws.

    Returns:
        [users + 1, factors] and [items + 1, factors]; the last factor is 1 for users and the item's bias.
    """
    known = items > 0
    pairs = np.unique(users[known].astype(np.int64) * (num_items + 1) + items[known])
    generator = torch.Generator().manual_seed(seed)
    user_factors = _START * torch.randn(num_users + 1, FACTORS, generator=generator)
    item_factors = _START * torch.randn(num_items + 1, FACTORS, generator=generator)
    bias = torch.zeros(num_items + 1)
    parameters = [each.requires_grad_() for each in (user_factors, item_factors, bias)]
    every = torch.from_numpy(pairs)
    if len(every):
        optimizer = torch.optim.Adam(parameters, lr=_RATE)
        steps = min(max(_EPOCHS * math.ceil(len(every) / _BATCH), _FEWEST_STEPS), _MOST_STEPS)
        size = min(_BATCH, len(every))
        for _ in range(steps):
            chosen = every[torch.randint(len(every), (size,), generator=generator)]
            user, item = chosen // (num_items + 1), chosen % (num_items + 1)
            other = torch.randint(1, num_items + 1, (size,), generator=generator)
            codes = user * (num_items + 1) + other
            places = torch.searchsorted(every, codes).clamp(max=len(every) - 1)
            is_new = every[places] != codes
            u, i, j = user_factors[user], item_factors[item], item_factors[other]
            margin = (u * (i - j)).sum(dim=1) + bias[item] - bias[other]
            penalty = _DECAY * (u.square().sum() + i.square().sum() + j.square().sum()) / size
            loss = (F.softplus(-margin) * is_new).sum() / is_new.sum().clamp(min=1) + penalty
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        whole_users = torch.cat([user_factors, torch.ones(num_users + 1, 1)], dim=1)
        whole_items = torch.cat([item_factors, bias[:, None]], dim=1)
        whole_users[0] = whole_items[0] = 0.0
    return whole_users.detach(), whole_items.detach()
