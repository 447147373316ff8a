"""Calibrate a trained model on its validation rows: temperatures of classes, intervals of numbers.

It comes after the fusion weights, since it is about the prediction as it is delivered. After what is fitted on the rows
as they are comes what depends on the columns that a row has. Up to six columns every subset of them has rows: those
that have these columns, the rest masked. Up to twenty, each column alone has, and all but each one, beside the subsets
that rows have by themselves; of more columns only these are known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from polysense.core.batch import Batch, Truth
from polysense.core.logs import get_logger
from polysense.core.pytree import concatenate, map_tensors, tensors
from polysense.core.random import permutation
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.nn.head import Head
from polysense.nn.held_out import Outputs
from polysense.nn.model import MultimodalModel
from polysense.nn.temperature import MOST_SUBSETS, SubsetRows
from polysense.workflows.audit.changes import masked
from polysense.workflows.audit.stacking import stacks

__all__ = [
    "MOST_MASKED_COLUMNS", "MOST_MASKED_ROWS", "JudgedOutputs", "SubsetOutputs", "calibrate", "calibrate_on",
    "masked_subsets", "read_subsets",
]  # fmt: skip

SubsetOutputs: TypeAlias = Mapping[str, Mapping[frozenset[str], list[tuple[object, Truth, Tensor]]]]
"""Per target and subset of its head's columns, part by part, outputs, truth and weights; 0 of rows that lack any."""

_MOST_IN_EVERY_SUBSET = 6  # columns
MOST_MASKED_COLUMNS = 20
"""Of a table whose columns are masked."""

MOST_MASKED_ROWS = 500
"""Rows that are read with every subset of the columns."""

_COST_OF_SUBSET = 0.1  # of a row's, which is encoded once
_MOST_VALUES = 2**25  # in what is kept of all subsets
_FEWEST_ROWS = 20

_log = get_logger("polysense.workflows")


class JudgedOutputs(ABC):
    """What models of other rows say of rows that they have not seen, in a model's terms."""

    @abstractmethod
    def __call__(self, model: MultimodalModel) -> Outputs:
        """Of the rows as they are."""

    @abstractmethod
    def subsets(self, model: MultimodalModel) -> SubsetOutputs:
        """Of rows with each subset of the columns."""


@torch.no_grad()
def calibrate(
    model: MultimodalModel,
    dataset: TableDataset,
    *,
    prediction: PredictionConfig,
    has_time: Callable[[float], bool] = lambda rows: True,
) -> dict[str, str]:
    """Lets every head that does so fit how sure its predictions say that they are.

    Args:
        model: In evaluation mode, trained.
        dataset: The validation rows, with targets and the feature vectors that the model reads.
        prediction: In which blocks they are computed.
        has_time: Whether there is time for what takes as long as to predict so many rows; else what depends on the
            columns of a row is not fitted.

    Returns:
        Per target what was fitted, in words.
    """
    heads = {name: head for name, head in model.by_target().items() if head.calibrates}
    if not heads:
        return {}
    device = next(model.parameters()).device
    parts: dict[str, list[tuple[object, Truth, Tensor]]] = {name: [] for name in heads}
    for batch in PredictLoader(dataset, model.schema, prediction=prediction):
        moved = batch.to(device)
        outputs = model(moved, only=tuple(heads)).outputs
        for name, head in heads.items():
            truth = head.truth(moved)
            assert truth is not None
            parts[name].append((outputs[name], truth, moved.weights * (moved.rows >= 0)))
    cost = min(len(dataset), MOST_MASKED_ROWS) * (1 + _COST_OF_SUBSET * len(masked_subsets(model.schema.names)))
    subsets = read_subsets(model, dataset, prediction=prediction) if has_time(cost) else {}
    return calibrate_on(model, parts, subsets)


@torch.no_grad()
def calibrate_on(
    model: MultimodalModel, rows: Outputs, subsets: SubsetOutputs | None = None, kind: str = "validation"
) -> dict[str, str]:
    """The same on outputs that are there already.

    Args:
        model: In evaluation mode, trained.
        rows: What its heads, or those of models of other rows, gave for rows that were not trained on.
        subsets: The same of subsets of the columns; None: rows that lack some are treated as all.
        kind: Which rows these are, for the log.
    """
    results = {}
    for name, head in model.by_target().items():
        if not head.calibrates or not rows.get(name):
            continue
        output, truth, weights = concatenate(rows[name])
        said = head.calibrate(output, truth, weights)
        if said is None:
            _log.info("%s: too few %s rows to calibrate", name, kind)
            continue
        results[name] = said
        _log.info("%s: calibrated on %d %s rows: %s", name, int((weights > 0).sum()), kind, said)
        known = [_subset(columns, parts) for columns, parts in (subsets or {}).get(name, {}).items()]
        by_subset = head.calibrate_subsets([each for each in known if int((each.weights > 0).sum()) >= _FEWEST_ROWS])
        if by_subset is not None:
            results[name] = f"{said}; {by_subset}"
            _log.info("%s: calibrated by subset on %s rows: %s", name, kind, by_subset)
    return results


def _subset(columns: frozenset[str], parts: list[tuple[object, Truth, Tensor]]) -> SubsetRows[object]:
    output, truth, weights = concatenate(parts)
    return SubsetRows(columns=columns, output=output, truth=truth, weights=weights)


@torch.no_grad()
def read_subsets(
    model: MultimodalModel, dataset: TableDataset, *, prediction: PredictionConfig, most_rows: int = MOST_MASKED_ROWS
) -> SubsetOutputs:
    """What heads that calibrate give for rows that have a subset of the columns.

    Args:
        model: In evaluation mode, trained.
        dataset: Rows that were not trained on, with targets.
        prediction: In which blocks they are computed.
        most_rows: Of a sample of them.
    """
    names, heads = model.schema.names, {n: head for n, head in model.by_target().items() if head.calibrates}
    if len(names) < 2 or not heads:
        return {}
    device, chosen = next(model.parameters()).device, np.sort(permutation(len(dataset), 0, "subsets")[:most_rows])
    part = TableDataset(dataset.table.select(chosen), dataset.processor, stored=dataset.stored)
    subsets, num_values = masked_subsets(names), 0
    read: list[tuple[frozenset[str], Batch, Mapping[str, object]]] = []
    present: list[Tensor] = []
    for batch in PredictLoader(part, model.schema, prediction=prediction):
        moved = batch.to(device)
        present.append(moved.presence(names)[moved.rows >= 0])
        for columns, (own, outputs) in zip(subsets, _outputs(model, moved, subsets, tuple(heads)), strict=True):
            read.append((columns, own, outputs))
            num_values += sum(each.numel() for each in tensors(outputs))
        if num_values > _MOST_VALUES:
            break
    if not present:
        return {}
    return {name: _of_head(head, read, torch.cat(present), names) for name, head in heads.items()}


def masked_subsets(names: Sequence[str], *, few: bool = False) -> list[frozenset[str]]:
    """The subsets of the columns that rows are masked to, all columns first.

    Args:
        names: Of the columns.
        few: Of up to six columns, too, those of one alone and of all but one.
    """
    every = frozenset(names)
    if len(names) > MOST_MASKED_COLUMNS:
        return [every]
    if few or len(names) > _MOST_IN_EVERY_SUBSET:
        chosen = [every, *(every - {name} for name in names), *(frozenset({name}) for name in names)]
        return [each for each in dict.fromkeys(chosen) if each]
    return [frozenset(each) for size in range(len(names), 0, -1) for each in combinations(names, size)]


def _of_head(
    head: Head[object],
    read: Sequence[tuple[frozenset[str], Batch, Mapping[str, object]]],
    present: Tensor,
    names: Sequence[str],
) -> dict[frozenset[str], list[tuple[object, Truth, Tensor]]]:
    """What one head gave, by the columns that it saw."""
    seen = [name for name in names if name not in head.excludes]
    positions = [names.index(name) for name in seen]
    counts = Counter(map(tuple, present[:, positions].tolist()))
    # Where all rows have the same columns, these have been fitted.
    fitted = set() if len(counts) > 1 else {_named(seen, row) for row in counts}
    # Masked rows are more than those that are so by themselves, which the batch as it is holds.
    sources = {columns: columns for columns in masked_subsets(names) if columns <= set(seen)}
    for row, _ in counts.most_common():
        if len(sources) < MOST_SUBSETS:
            sources.setdefault(_named(seen, row), frozenset(names))
    results = {}
    for columns, source in sources.items():
        if columns and columns not in fitted:
            expected = torch.tensor([name in columns for name in seen], device=present.device)
            results[columns] = [
                _part(head, own, outputs[head.target.name], own.presence(seen).eq(expected).all(dim=1))
                for masked_to, own, outputs in read
                if masked_to == source
            ]
    return results


def _named(names: Sequence[str], row: Sequence[bool]) -> frozenset[str]:
    return frozenset(name for name, there in zip(names, row, strict=True) if there)


def _part(head: Head[object], batch: Batch, output: object, has_them: Tensor) -> tuple[object, Truth, Tensor]:
    truth = head.truth(batch)
    assert truth is not None
    return output, truth, batch.weights * (batch.rows >= 0) * has_them


def _outputs(
    model: MultimodalModel, batch: Batch, subsets: Sequence[frozenset[str]], only: tuple[str, ...]
) -> Iterator[tuple[Batch, Mapping[str, object]]]:
    """The batch with each subset of its columns, and what the heads read from it."""
    encoded, none = (batch, model.encode(batch)), np.zeros(len(batch), dtype=bool)
    variants = (
        masked(encoded, {name: none for name in model.schema.names if name not in subset}) for subset in subsets
    )
    for group in stacks(variants):
        num_rows = len(group[0][0])
        stacked, tokens = group[0] if len(group) == 1 else concatenate(group)
        outputs = model(stacked, only, tokens=tokens).outputs
        for i, (own, _) in enumerate(group):
            rows = slice(i * num_rows, (i + 1) * num_rows)
            yield own, map_tensors(partial(_rows, of=rows), outputs)


def _rows(values: Tensor, of: slice) -> Tensor:
    return values[of]
