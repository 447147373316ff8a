"""A head by itself: columns as one sequence, and what tests ask of it, in one line each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from polysense.core.batch import ColumnBatch
from polysense.core.prediction import Prediction
from polysense.core.rows import RowContext
from polysense.core.tokens import Fused, FusedColumn, Tokens

__all__ = ["Probe", "Rows", "losses", "num", "of", "predicted", "spans"]


@dataclass(frozen=True, eq=False)
class Rows:
    """What a head reads, with all columns' tokens in one tensor, so that a test can cut and spoil them at once.

    Attributes:
        tokens: Of all columns, one after another.
        pooled: The summary of all.
        spans: Which slice is which column's.
        summaries: Per column its own summary; the mean of its tokens where none is given.
        rows: Row numbers; from 0 by default.
        lengths: Per column [batch, items]; the valid tokens by default.
        prompts: At most one, of the target.
        grids: Per column what its slice unfolds to.
    """

    tokens: Tokens
    pooled: Tensor
    spans: Mapping[str, tuple[int, int]]
    summaries: Mapping[str, Tensor] = field(default_factory=dict)
    rows: Tensor | None = None
    lengths: Mapping[str, Tensor] = field(default_factory=dict)
    prompts: Mapping[str, ColumnBatch] = field(default_factory=dict)
    grids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def fused(self) -> Fused:
        """As a fusion gives it: 0 where masked."""
        columns = {}
        for name, (start, end) in self.spans.items():
            values, mask = self.tokens.values[:, start:end], self.tokens.mask[:, start:end]
            tokens = Tokens(values, mask, self.grids.get(name, (end - start,))).cleared()
            lengths = self.lengths.get(name, mask.sum(dim=1, keepdim=True))
            here = tokens.present
            columns[name] = FusedColumn(tokens, self.summaries.get(name, tokens.mean()), here, lengths * here[:, None])
        return Fused(self.pooled, columns)

    def context(self) -> RowContext:
        """Rows and prompt."""
        rows = torch.arange(len(self.pooled)) if self.rows is None else self.rows
        (prompt,) = self.prompts.values() or (None,)
        return RowContext(rows, rows, None, {} if prompt is None else {"prompt": prompt})


def spans(fused: Fused) -> dict[str, tuple[int, int]]:
    """Which slice of the joined tokens is which column's."""
    start, found = 0, {}
    for name, column in fused.columns.items():
        found[name] = (start, start + column.tokens.mask.shape[1])
        start = found[name][1]
    return found


def of(fused: Fused) -> RowContext:
    """The context of rows that are numbered from 0."""
    rows = torch.arange(len(fused.pooled), device=fused.pooled.device)
    return RowContext(rows, rows)


def losses(head: Any, output: object, truth: Any) -> Tensor:
    """Each row's losses, weighted and summed."""
    rows = head.loss(output, truth)
    each = [rows[name].total * weight for name, weight in head.loss_weights.items()]
    return sum(each[1:], each[0])


def num(head: Any, truth: Any) -> Tensor:
    """What each row counts for its first loss."""
    first: Tensor = next(iter(head.count(truth).values()))
    return first


def predicted(
    head: Any, fused: Fused, truth: Any = None, context: RowContext | None = None, *, write: bool = True
) -> Prediction:
    """The prediction, with how well the truth is explained."""
    context = of(fused) if context is None else context
    arrays = head.predict(fused, context) if write else head.brief(fused, context)
    if truth is not None:
        arrays = arrays | head.score(fused, context, truth)
    result: Prediction = arrays
    return result


class Probe:
    """A head that is asked about `Rows`; everything else is the head's own."""

    def __init__(self, head: nn.Module) -> None:
        self.module: Any = head

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def __call__(self, rows: Rows, truth: Any = None) -> Any:
        return self.module(rows.fused(), rows.context(), truth)

    def row_losses(self, output: object, truth: Any) -> Tensor:
        return losses(self.module, output, truth)

    def row_counts(self, truth: Any) -> Tensor:
        return num(self.module, truth)

    def read(self, rows: Rows, truth: Any = None, *, write: bool = True) -> Any:
        return predicted(self.module, rows.fused(), truth, rows.context(), write=write)

    def likelihood(self, rows: Rows, truth: Any) -> Tensor:
        likelihood: Tensor = self.module.likelihood(rows.fused(), rows.context(), truth)
        return likelihood

    def write(self, rows: Rows, *, use_cache: bool = True) -> Any:
        return self.module.write(rows.fused(), rows.context(), use_cache=use_cache)

    def train(self) -> Probe:
        self.module.train()
        return self

    def eval(self) -> Probe:
        self.module.eval()
        return self

    def redecoded(self, decoding: Any) -> Probe:
        return Probe(self.module.redecoded(decoding))
