from __future__ import annotations

import torch
from torch import nn

from polysense.nn.layers.batchnorm import BatchNorm, over_present


def test_it_equals_torchs() -> None:
    torch.manual_seed(0)
    mine, theirs = BatchNorm(5), nn.BatchNorm2d(5)
    for module in (mine, theirs):
        nn.init.constant_(module.weight, 1.5)
        nn.init.constant_(module.bias, -0.5)
    for _ in range(3):
        x = torch.randn(4, 5, 3, 2) * 3 + 1
        torch.testing.assert_close(mine(x), theirs(x))
    torch.testing.assert_close(mine.running_mean, theirs.running_mean)
    torch.testing.assert_close(mine.running_var, theirs.running_var)
    torch.testing.assert_close(mine.eval()(x), theirs.eval()(x))


def test_one_value_or_none_leaves_the_running_averages_alone() -> None:
    norm = BatchNorm(3)
    norm(torch.randn(8, 3, 2, 2) + 5)
    before = norm.running_mean.clone()
    one = torch.randn(1, 3, 1, 1)
    trained = norm(one)
    torch.testing.assert_close(trained, norm.eval()(one))
    assert norm.train()(torch.zeros(0, 3, 2, 2)).shape == (0, 3, 2, 2)
    torch.testing.assert_close(norm.running_mean, before)
    norm(torch.randn(1, 3, 1, 2))
    assert not norm.running_mean.equal(before)


def test_only_what_is_present_is_seen() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), BatchNorm(3), nn.MaxPool2d(2), nn.ReLU(inplace=True))
    x = torch.randn(5, 2, 8, 6)
    x[2] = torch.nan
    x[4] = torch.inf
    (found,) = over_present(lambda each: [network(each)], x, torch.tensor([1, 7, 0, 1, 0]))
    torch.testing.assert_close(found[[0, 1, 3]], network(x[[0, 1, 3]]))
    assert not found[[2, 4]].any()
    (found,) = over_present(lambda each: [network(each)], x, torch.zeros(5, dtype=torch.int64))
    assert found.shape == (5, 3, 3, 2)
    assert not found.any()
    network.zero_grad()
    found.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in network.parameters())
