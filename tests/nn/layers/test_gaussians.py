"""Products and divergences of Gaussians, against their closed forms and torch.distributions."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from polysense.nn.layers.gaussians import divergence, product_of_experts


def experts(seed: int, batch: int, num: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, num, size, generator=generator), torch.randn(batch, num, size, generator=generator)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), num=st.integers(1, 5))
def test_the_product_has_the_summed_log_density(seed: int, num: int) -> None:
    """Up to a constant: so its differences between two points are those of the factors, and of the prior."""
    means, log_variances = experts(seed, 3, num, 4)
    present = torch.rand(3, num, generator=torch.Generator().manual_seed(seed)) < 0.6
    mean, log_variance = product_of_experts(means.double(), log_variances.double(), present)
    points = torch.randn(2, 3, 4, dtype=torch.float64)
    product = Normal(mean, (0.5 * log_variance).exp()).log_prob(points)
    factors = Normal(means.double(), (0.5 * log_variances.double()).exp())
    summed = Normal(0.0, 1.0).log_prob(points)
    for expert in range(num):
        summed = summed + factors.log_prob(points[:, :, None])[:, :, expert] * present[:, expert, None]
    torch.testing.assert_close(product[0] - product[1], summed[0] - summed[1], rtol=1e-9, atol=1e-9)


def test_one_expert_beside_the_prior_in_closed_form() -> None:
    mean, log_variance = product_of_experts(torch.tensor([[[3.0]]]), torch.tensor([[[0.0]]]), torch.tensor([[True]]))
    torch.testing.assert_close(mean, torch.tensor([[1.5]]))
    torch.testing.assert_close(log_variance.exp(), torch.tensor([[0.5]]))


def test_an_absent_expert_is_not_there() -> None:
    means, log_variances = experts(0, 4, 3, 5)
    present = torch.tensor([[True, False, True]]).expand(4, -1)
    means[:, 1], log_variances[:, 1] = 1e30, -60.0
    found = product_of_experts(means, log_variances, present)
    expected = product_of_experts(means[:, [0, 2]], log_variances[:, [0, 2]], present[:, [0, 2]])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    prior = product_of_experts(means, log_variances, torch.zeros(4, 3, dtype=torch.bool))
    assert all((each == 0).all() for each in prior)


def test_the_divergence_is_that_of_torch() -> None:
    mean, log_variance = (each[:, 0] for each in experts(1, 6, 1, 7))
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(divergence(mean, log_variance), expected)
    assert divergence(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0
