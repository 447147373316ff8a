"""Find the columns of a wide table that are worth being judged one by one, and groups of the others.

See `evaluation.players`. Two columns are alike as far as their tokens order the rows alike, by linear centered kernel
alignment (Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019, section 3), which
compares what any two encoders give. A group's effect is how far the finest measure of a row's prediction (log loss, or
squared error) moves while its columns are absent: without its sign, which is what is judged afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from polysense.bundle import Bundle
from polysense.core.pytree import concatenate
from polysense.data.batches.dataset import TableDataset
from polysense.evaluation.players import Player, as_players, ordered_by_likeness, partition
from polysense.workflows.audit.changes import Encoded, masked
from polysense.workflows.audit.row_values import RowValues
from polysense.workflows.audit.stacking import rows_of
from polysense.workflows.audit.subset_predictions import encoded_batch
from polysense.workflows.evaluating import fitted_processor

__all__ = ["chosen_players", "likeness_of"]

_COPIES = 8  # of the rows in one call


def chosen_players(bundle: Bundle, dataset: TableDataset, *, num_splits: int, most: int) -> tuple[Player, ...]:
    """The columns that stay on their own, and groups of the others.

    Args:
        bundle: The model, in eval mode.
        dataset: Some rows, on which nothing else is measured.
        num_splits: That there is time for, each of two subsets of the columns on all of these rows.
        most: Players.
    """
    names = bundle.schema.names
    encoded = [encoded_batch(bundle, batch) for batch in bundle.batches(dataset)]
    likeness = likeness_of(encoded, names)
    # A cell of a file says too much to be one of many in a group.
    columns = fitted_processor(dataset).columns
    alone = [i for i, name in enumerate(names) if columns[name].is_media]
    alone = alone if len(alone) <= most // 2 else []
    others = [i for i in ordered_by_likeness(likeness) if i not in alone]
    groups = [[i] for i in alone] + ([others] if others else [])

    chosen = partition(
        groups, _Effects(bundle, encoded).of, likeness, num_splits=num_splits, most=most, at_once=_COPIES // 2
    )
    return as_players([[names[i] for i in group] for group in chosen], names)


class _Effects:
    """How far a row's prediction moves, on average, without some columns.

    The rows are repeated, so that a call predicts them without one group after another: of a wide table 32 rows take
    half as long as 192.

    Args:
        bundle: The model.
        encoded: Some rows, batch by batch.
    """

    def __init__(self, bundle: Bundle, encoded: Sequence[Encoded]) -> None:
        self._bundle, self._names = bundle, bundle.schema.names
        self._own = [batch for batch, _ in encoded]
        self._repeated = [concatenate([one] * _COPIES) for one in encoded]
        self._whole = self._finest([()])

    def of(self, groups: Sequence[Sequence[int]]) -> Sequence[float]:
        """The effect of each group; of several targets the largest."""
        results = np.zeros(len(groups))
        for start in range(0, len(groups), _COPIES):
            asked = groups[start : start + _COPIES]
            for whole, without in zip(self._whole, self._finest(asked), strict=True):
                moved = np.abs(without - whole).mean(axis=0) if len(whole) else np.zeros(len(asked))
                results[start : start + len(asked)] = np.maximum(results[start : start + len(asked)], moved)
        known: list[float] = np.nan_to_num(results).tolist()
        return known

    def _finest(self, groups: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Per target the finest measure of every row without each group; float64 [rows, groups]."""
        values = RowValues(self._bundle, len(groups))
        for batch, repeated in zip(self._own, self._repeated, strict=True):
            size = len(batch)
            keep: dict[str, np.ndarray] = {}
            for i, group in enumerate(groups):
                for column in group:
                    own = keep.setdefault(self._names[column], np.ones(_COPIES * size, dtype=bool))
                    own[i * size : (i + 1) * size] = False
            changed, tokens = masked(repeated, keep)
            (together,) = self._bundle.model.predict(changed, tokens=tokens, write=False)
            predicted = ((batch, rows_of(together, i * size, size)) for i in range(len(groups)))
            values.add_predictions(predicted, batch.rows.cpu().numpy())
        return [values.measured(target)[0][-1] for target in values.targets]


def likeness_of(encoded: Sequence[Encoded], names: Sequence[str]) -> Float[np.ndarray, "columns columns"]:
    """How alike the columns order the rows, from 0 to 1; a column that is the same in all rows is like no other.

    Args:
        encoded: The rows, batch by batch.
        names: The columns.
    """
    grams = []
    for name in names:
        means = []
        for batch, tokens in encoded:
            each = tokens[name]
            counts = each.mask.sum(dim=1, keepdim=True).clamp(min=1)
            mean = (each.values * each.mask[:, :, None]).sum(dim=1) / counts
            means.append(mean[batch.rows >= 0].double().cpu().numpy())  # without the rows that fill a block
        rows = np.concatenate(means)
        rows = rows - rows.mean(axis=0)
        gram = (rows @ rows.T).ravel()
        size = np.linalg.norm(gram)
        grams.append(gram / size if size > 0 else gram)
    every = np.stack(grams) if grams else np.zeros((0, 0))
    result: np.ndarray = np.clip(every @ every.T, 0.0, 1.0)
    return result
