"""Gaussians with diagonal covariance: their product, and how far one lies from the standard normal.

The product of Gaussian densities is a Gaussian whose precision is the sum of theirs and whose mean is theirs, weighted
by precision (Cao and Fleet, "Generalized Product of Experts", 2014). Several columns' opinions on one code so become
one (Wu and Goodman, "Multimodal Generative Models for Scalable Weakly-Supervised Learning", NeurIPS 2018, section 2.1):
an absent column is a factor that is not there, and no network has to know how to do without it.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["divergence", "product_of_experts"]


def product_of_experts(
    means: Float[Tensor, "batch experts size"],
    log_variances: Float[Tensor, "batch experts size"],
    present: Bool[Tensor, "batch experts"],
) -> tuple[Float[Tensor, "batch size"], Float[Tensor, "batch size"]]:
    """The product of the experts that are present and of the standard normal, the prior.

    Returns:
        Mean and log variance; of a row without any expert the prior's, both 0.
    """
    precisions = torch.exp(-log_variances).masked_fill(~present[..., None], 0.0)
    precision = 1.0 + precisions.sum(dim=1)
    # What an absent expert says may be anything, but not infinite: 0 times that is no number.
    mean = (means.masked_fill(~present[..., None], 0.0) * precisions).sum(dim=1) / precision
    return mean, -precision.log()


def divergence(mean: Float[Tensor, "batch size"], log_variance: Float[Tensor, "batch size"]) -> Float[Tensor, " batch"]:
    """KL(N(mean, variance) || N(0, 1)) in nats, summed over the code (Kingma and Welling, 2014, appendix B)."""
    return 0.5 * (mean * mean + log_variance.exp() - 1.0 - log_variance).sum(dim=1)
