"""Predict many variants of a batch at once: they are stacked as so many more rows.

A small model takes most of its time for the call and not for the rows: of eight numbers, 32 rows take as long as 500.
A row's prediction does not depend on its neighbors but for its last bits, which no interval shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from torch import Tensor

from polysense.core.prediction import Prediction
from polysense.core.pytree import concatenate, map_tensors, tensors
from polysense.nn.model import MultimodalModel
from polysense.workflows.audit.changes import Encoded

__all__ = ["predict_variants"]

_MOST_TOKENS = 2**15  # in one call; activations of a small transformer's then take some hundred MB
_MOST_VARIANTS = 64


def predict_variants(model: MultimodalModel, variants: Sequence[Encoded]) -> list[Mapping[str, Prediction]]:
    """The predictions of each variant by target, texts and reconstructions not written.

    Args:
        model: In eval mode.
        variants: Of one batch: so many rows each.
    """
    results: list[Mapping[str, Prediction]] = []
    for group in _stacks(variants):
        num_rows = len(group[0][0])
        batch, tokens = group[0] if len(group) == 1 else concatenate(group)
        (together,) = model.predict(batch, tokens=tokens, write=False)
        for i in range(len(group)):
            results.append(map_tensors(partial(_rows, of=slice(i * num_rows, (i + 1) * num_rows)), together))
    return results


def _rows(values: Tensor, of: slice) -> Tensor:
    return values[of]


def _stacks(variants: Sequence[Encoded]) -> Iterator[list[Encoded]]:
    """The variants in order, those that follow one another and have the same shapes together."""
    stack: list[Encoded] = []
    shapes: list[object] = []
    for variant in variants:
        _, tokens = variant
        own: list[object] = [(each.shape, each.dtype) for each in tensors(variant)]
        size = sum(each.mask.numel() for each in tokens.values())
        full = len(stack) >= min(_MOST_VARIANTS, max(1, _MOST_TOKENS // max(size, 1)))
        if stack and (full or own != shapes):
            yield stack
            stack = []
        stack.append(variant)
        shapes = own
    if stack:
        yield stack
