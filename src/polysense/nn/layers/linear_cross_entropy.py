"""Cross entropy from hidden states, without keeping the logits of all tokens.

Logits are the largest thing in a language model's training: 4,096 tokens of 32,000 words are 500 MiB, and the backward
pass keeps the softmax as well. In chunks they are computed, reduced to one number a token and forgotten; the backward
pass computes each chunk's once more (one multiplication more of three). Chunks alone would save nothing, since what
the backward pass needs would be kept for each.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

__all__ = ["linear_cross_entropy"]

_LARGE = 2**25  # logits, 128 MiB: below, keeping them is cheaper than computing them again
_CHUNK = 2**24


def linear_cross_entropy(
    hidden: Float[Tensor, "tokens width"],
    weight: Float[Tensor, "vocabulary width"],
    bias: Float[Tensor, " vocabulary"],
    expected: Int[Tensor, " tokens"],
    *,
    ignore: int,
    label_smoothing: float = 0.0,
    chunk: int | None = None,
) -> Float[Tensor, " tokens"]:
    """Each token's loss, 0 where it is to be ignored.

    Args:
        hidden: What logits are read from.
        weight: Each word's vector.
        bias: Each word's bias.
        expected: The true tokens.
        ignore: The id of those that do not count.
        label_smoothing: Share of the target probability that is spread over all words.
        chunk: Tokens whose logits are held at once; None decides by the size of all logits.
    """
    if chunk is None:
        tokens, vocabulary = len(hidden), len(weight)
        chunk = tokens if tokens * vocabulary <= _LARGE else max(1, _CHUNK // vocabulary)
    if chunk >= len(hidden):
        return _losses(hidden, weight, bias, expected, ignore, label_smoothing)
    parts: list[Tensor] = []
    for start in range(0, len(hidden), chunk):
        part = slice(start, start + chunk)
        # No draws within: nothing to put back before the second time.
        losses = checkpoint(
            _losses, hidden[part], weight, bias, expected[part], ignore, label_smoothing,
            use_reentrant=False, preserve_rng_state=False,
        )  # fmt: skip
        assert isinstance(losses, Tensor)
        parts.append(losses)
    return torch.cat(parts)


def _losses(hidden: Tensor, weight: Tensor, bias: Tensor, expected: Tensor, ignore: int, smoothing: float) -> Tensor:
    logits = F.linear(hidden, weight, bias).float()
    return F.cross_entropy(logits, expected, reduction="none", ignore_index=ignore, label_smoothing=smoothing)
