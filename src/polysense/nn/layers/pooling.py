"""Pooling: one vector of an item's tokens, whatever is padding left out.

Nothing is learned here, and nothing normalized over: a linear model over these vectors, fitted on a few hundred rows,
is the best use of most frozen networks, and a LayerNorm before the pooling costs it points. A deviation beside the mean
says how much a feature varies within the item, which of sounds and pictures tells about as much as the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from polysense.core.json import read_fields, write_json
from polysense.core.tokens import Tokens
from polysense.errors import BundleError

__all__ = ["CLASS_AND_MEAN", "MEAN", "MEAN_AND_DEVIATION", "PARTS", "Pooling", "has_class_token"]

PARTS = ("mean", "deviation", "first", "last", "max", "sum_by_root", "late_mean")
"""Of the valid tokens: their mean and standard deviation; the first (a class token) or the last; the largest of each
feature; their sum over the root of their number; a mean whose weights grow by 1 with each token."""

_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How an item's tokens become one vector.

    Attributes:
        parts: Of `PARTS`, one after another.
        unit: Whether the vector is scaled to the length 1, as models that were trained by cosines do.
    """

    parts: tuple[str, ...]
    unit: bool = False

    def __call__(self, tokens: Tokens) -> Float[Tensor, "items features"]:
        """The vectors, in float32; zeros for an item without a token."""
        valid = tokens.mask[..., None]
        values = tokens.values.float().masked_fill(~valid, 0.0)
        pooled = torch.cat([_part(part, values, tokens.mask) for part in self.parts], dim=1)
        pooled = F.normalize(pooled, dim=1) if self.unit else pooled
        return pooled.masked_fill(~tokens.present[:, None], 0.0)

    def write(self, path: Path) -> None:
        """As JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Pooling:
        """As `write` left it.

        Raises:
            BundleError: The file is broken.
        """
        parts, unit = read_fields(path, "parts", "unit")
        known = isinstance(parts, list) and 0 < len(parts) <= len(PARTS) and all(part in PARTS for part in parts)
        if not isinstance(parts, list) or not known or not isinstance(unit, bool):
            raise BundleError(
                f"{path}: found parts {str(parts)[:200]} and unit {unit!r}, which is no pooling; copy the bundle again"
            )
        return cls(parts=tuple(parts), unit=unit)


MEAN = Pooling(parts=("mean",))
MEAN_AND_DEVIATION = Pooling(parts=("mean", "deviation"))
CLASS_AND_MEAN = Pooling(parts=("first", "mean"))


def _part(
    part: str, values: Float[Tensor, "items length width"], mask: Bool[Tensor, "items length"]
) -> Float[Tensor, "items width"]:
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)
    if part == "first":
        return values[:, 0]
    if part == "last":
        last = (mask.long() * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(dim=1)
        return values.take_along_dim(last[:, None, None], dim=1)[:, 0]
    if part == "max":
        return values.masked_fill(~mask[..., None], torch.finfo(values.dtype).min).amax(dim=1)
    if part == "late_mean":
        weights = mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)
        return (values * weights[..., None]).sum(dim=1) / weights.sum(dim=1, keepdim=True).clamp(min=1)
    if part == "sum_by_root":
        return values.sum(dim=1) / count.sqrt()
    mean = values.sum(dim=1) / count
    if part == "mean":
        return mean
    assert part == "deviation", f"found {part!r}, expected one of {', '.join(PARTS)}"
    centered = (values - mean[:, None]).masked_fill(~mask[..., None], 0.0)
    return (centered.square().sum(dim=1) / count + _LEAST_VARIANCE).sqrt()


_CLASS_TOKENS = ("cls_token", "class_token", "class_embedding")  # parameters, as transformers and timm name them


def has_class_token(network: nn.Module) -> bool:
    """Whether a vision transformer puts a learned token before its patches, which sums the picture up."""
    names: Sequence[str] = [name.rpartition(".")[2] for name, _ in network.named_parameters()]
    return any(name in _CLASS_TOKENS for name in names)
