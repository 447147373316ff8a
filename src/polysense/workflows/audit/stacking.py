"""Predict many variants of a batch at once: they are stacked as so many more rows.

A small model takes most of its time for the call and not for the rows: of eight numbers, 32 rows take as long as 500.
A row's prediction does not depend on its neighbors but for its last bits, which no interval shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TypeVar

from torch import Tensor

from polysense.core.batch import Batch
from polysense.core.prediction import Prediction
from polysense.core.pytree import concatenate, map_tensors, tensors
from polysense.core.tokens import Tokens
from polysense.nn.model import MultimodalModel
from polysense.workflows.audit.changes import Encoded

__all__ = ["BLOCK", "MOST_COLUMNS", "num_stacked", "predict_variants", "rows_of", "rows_together", "stacks"]

T = TypeVar("T")

_MOST_TOKENS = 2**15  # in one call; activations of a small transformer's then take some hundred MB
_MOST_VARIANTS = 64
_MOST_ROWS = 512

BLOCK = 32
"""Rows of which blocks are multiples."""

MOST_COLUMNS = 16
"""Of a table whose variants are stacked; joining the tensors of more takes as long as it saves."""


def num_stacked(tokens: Mapping[str, Tokens]) -> int:
    """Variants of a batch that go into one call; 1 for a large model or a wide table."""
    if len(tokens) > MOST_COLUMNS:
        return 1
    size = sum(each.mask.numel() for each in tokens.values())
    return min(_MOST_VARIANTS, max(1, _MOST_TOKENS // max(size, 1)))


def rows_together(tokens: Mapping[str, Tokens]) -> int:
    """Rows of a wide table that go into one call in place of variants: a multiple of 32.

    Args:
        tokens: Of some rows.
    """
    num_rows = len(next(iter(tokens.values())).mask)
    size = sum(each.mask.numel() for each in tokens.values()) / max(num_rows, 1)
    return max(1, min(_MOST_ROWS, int(_MOST_TOKENS / max(size, 1))) // BLOCK) * BLOCK


def predict_variants(
    model: MultimodalModel, variants: Iterable[Encoded]
) -> Iterator[tuple[Batch, Mapping[str, Prediction]]]:
    """Each variant's batch, and its predictions by target; texts and reconstructions are not written.

    Variants are taken as they are needed, so that no more than a call's are held.

    Args:
        model: In eval mode.
        variants: Of one batch: so many rows each.
    """
    for group in stacks(variants):
        num_rows = len(group[0][0])
        batch, tokens = group[0] if len(group) == 1 else concatenate(group)
        (together,) = model.predict(batch, tokens=tokens, write=False)
        if len(group) == 1:
            yield batch, together
            continue
        for i, (own, _) in enumerate(group):
            yield own, rows_of(together, i * num_rows, num_rows)


def rows_of(predictions: T, start: int, number: int) -> T:
    """Some rows of tensors that lie in mappings, such as predictions by target."""
    return map_tensors(partial(_rows, of=slice(start, start + number)), predictions)


def _rows(values: Tensor, of: slice) -> Tensor:
    return values[of]


def stacks(variants: Iterable[Encoded]) -> Iterator[list[Encoded]]:
    """The variants in order, those that follow one another and have the same shapes together."""
    stack: list[Encoded] = []
    shapes: list[object] = []
    for variant in variants:
        if num_stacked(variant[1]) == 1:  # what follows is alone, and comes after what waits
            if stack:
                yield stack
                stack = []
            yield [variant]
            continue
        own: list[object] = [(each.shape, each.dtype) for each in tensors(variant)]
        if stack and (len(stack) >= num_stacked(variant[1]) or own != shapes):
            yield stack
            stack = []
        stack.append(variant)
        shapes = own
    if stack:
        yield stack
