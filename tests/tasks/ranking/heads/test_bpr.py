"""The matrix factorization: planted tastes are found, and draws are a function of the seed."""

from __future__ import annotations

import numpy as np
import torch

from polysense.tasks.ranking.heads.bpr import FACTORS, fit_bpr


def test_planted_tastes_are_found() -> None:
    draws = np.random.default_rng(0)
    users = np.repeat(np.arange(1, 41), 5)
    items = np.concatenate([draws.permutation(10)[:5] * 2 + 1 + user % 2 for user in range(1, 41)])
    own_users, own_items = fit_bpr(users, items, 40, 20)
    assert own_users.shape == (41, FACTORS + 1)
    scores = own_users[1:] @ own_items[1:].T
    liked = (torch.arange(1, 21)[None] - 1) % 2 == torch.arange(1, 41)[:, None] % 2
    chosen = torch.zeros(41, 21, dtype=torch.bool)
    chosen[torch.from_numpy(users), torch.from_numpy(items)] = True
    new = ~chosen[1:, 1:]
    # What a user likes and has not chosen is a negative of theirs, too: others' choices lift it above what nobody with
    # their taste chose, not above it for each and every user.
    areas = [
        (scores[user][liked[user] & new[user]][:, None] > scores[user][~liked[user]]).float().mean()
        for user in range(40)
    ]
    assert torch.stack(areas).mean() > 0.8  # .5 is chance
    again, _ = fit_bpr(users, items, 40, 20)
    assert torch.equal(again, own_users)


def test_nobody_and_nothing_are_zeros() -> None:
    users, items = fit_bpr(np.array([1, 1]), np.array([0, 2]), 2, 3)
    assert not users[0].any()
    assert not items[0].any()
    none, _ = fit_bpr(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32), 1, 2)
    assert torch.isfinite(none).all()
