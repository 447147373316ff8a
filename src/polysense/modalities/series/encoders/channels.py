"""Shared by the encoders of series: steps with missing values made inputs, and series positions.

A value that was not measured is 0, the channel's center, beside a 1 in an indicator channel of its own (the missing
indicator of Che et al., "Recurrent Neural Networks for Multivariate Time Series with Missing Values", 2018, section
2.1), so that "not measured" and "average" are told apart.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

__all__ = ["with_indicators"]


def with_indicators(
    values: Shaped[Tensor, "items steps channels"], lengths: Int[Tensor, " items"]
) -> tuple[Float[Tensor, "items steps inputs"], Bool[Tensor, "items steps"]]:
    """Values and missing indicators, 0 beyond each series' end.

    Args:
        values: Scaled, NaN where not measured; padding may hold anything.
        lengths: Steps of each series.

    Returns:
        float32 [items, steps, 2 channels], and which steps are a series' own.
    """
    valid = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
    missing = values.isnan() & valid[..., None]
    clean = values.float().masked_fill(missing | ~valid[..., None], 0.0)
    return torch.cat([clean, missing.float()], dim=2), valid
