"""FiLM, feature-wise linear modulation: one column, the condition c, changes how the others' tokens read.

    h_m = norm(V_m norm(x_m)),  t_m = gamma_m(c) * h_m + beta_m(c),  h = sum_m W_m mean(relu(t_m)) + b

Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", 2018, section 2: gamma and beta are affine in
the condition's summary c and modulate features that were normalized without a scale and shift of their own; a ReLU
follows. At the start gamma = 1 and beta = 0, so the condition changes nothing. The ReLU stands before the mean over
tokens, so the condition can select some and not only rescale their mean. The cost is linear in the number of tokens;
the columns other than the condition don't see each other.

The condition's own tokens are read like the others', unmodulated, so a row in which it alone is present still says what
it says. Where the condition is absent gamma is 1 and beta 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.config.limits import FractionBelowOne
from polysense.core.tokens import Tokens
from polysense.errors import ConfigError
from polysense.nn.fusion.base import Fusion, FusionConfig, Pooled, Present, Summaries

__all__ = ["FilmFusion", "FilmFusionConfig"]


@dataclass(frozen=True, kw_only=True)
class FilmFusionConfig(FusionConfig):
    """Feature-wise linear modulation: one column scales and shifts the others' features.

    Attributes:
        condition: The column that modulates the others, such as the question about an image; null = the last column.
        dropout: On the columns' modulated summaries and on the condition.
    """

    type: Literal["film"] = "film"
    condition: str | None = None
    dropout: FractionBelowOne = 0.1

    def build(self, columns: Sequence[str], width: int) -> FilmFusion:
        """Builds the fusion.

        Raises:
            ConfigError: The condition is not one of the columns.
        """
        # With a single column there is nothing to modulate, so a unimodal baseline takes the same config.
        if self.condition is not None and self.condition not in columns and len(columns) > 1:
            raise ConfigError(
                f"model.fusion.condition: no such column as {self.condition!r} among {', '.join(columns)}; name one of "
                f"them, or null for the last one"
            )
        return FilmFusion(self, columns, width)


class FilmFusion(Fusion):
    """A projection per column, and gamma and beta for every column but the condition."""

    def __init__(self, config: FilmFusionConfig, columns: Sequence[str], width: int) -> None:
        super().__init__(columns, width)
        condition = config.condition if config.condition in self.columns else self.columns[-1]
        self.condition = self.columns.index(condition)
        self.dropout = nn.Dropout(config.dropout)
        self.features = self._projections()
        self.out = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in self.columns)
        self.bias = nn.Parameter(torch.zeros(width))
        # Gamma less 1, and beta: zero at the start.
        self.modulation = nn.ModuleList(nn.Linear(width, 2 * width) for _ in self.columns[1:])
        for layer in self.modulation:
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def fuse(self, tokens: Sequence[Tokens], summaries: Summaries, present: Present) -> Pooled:
        condition = self.dropout(summaries[:, self.condition])
        known = present[:, self.condition, None]
        modulations = iter(self.modulation)
        modulated: list[Tokens] = []
        parts: list[Tensor] = []
        for index, column in enumerate(tokens):
            values = F.layer_norm(self.features[index](column.values), (self.width,))
            if index != self.condition:
                scale, shift = (next(modulations)(condition) * known).chunk(2, dim=-1)
                values = (1 + scale[:, None]) * values + shift[:, None]
            modulated.append(Tokens(values, column.mask, column.grid))
            # A column without valid tokens has a mean of 0 and no bias, so it adds nothing.
            read = Tokens(values.relu(), column.mask, column.grid).mean()
            parts.append(self.out[index](self.dropout(read)))
        return self.join(modulated), torch.stack(parts, dim=-1).sum(dim=-1) + self.bias
