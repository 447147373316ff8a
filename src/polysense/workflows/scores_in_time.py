"""Scores of held-out rows within a run's time: of all of them where they can be had, else of a sample.

Rows are scored in parts that grow, with a look at the clock after each, in an order by chance: where the time is up,
those that are scored are a sample of the others, with intervals as wide as so few rows make them. A row's prediction
depends on no other row, so that parts give what all at once would have given.
"""

from __future__ import annotations

import numpy as np

from polysense.bundle import Bundle
from polysense.core.random import permutation
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.evaluation.evaluator import Evaluation, merged
from polysense.training.time_plan import Deadline
from polysense.workflows.scoring import evaluate_bundle
from polysense.workflows.table_split import row_groups

__all__ = ["scored_in_time"]

_FEWEST_ROWS = 32  # that are scored in any case
_FIRST_ROWS = 16  # of the first part; of rows that are not the headline's there may be no others
_GROWTH = 8  # of a part over the one before, which was timed
_FREE = 0.01  # of all the time, up to which rows are scored although none is left


def scored_in_time(
    bundle: Bundle,
    table: Table,
    deadline: Deadline | None,
    *,
    split: str,
    bootstrap: int,
    seed: int,
    is_headline: bool = True,
    dataset: TableDataset | None = None,
) -> tuple[Evaluation, Table]:
    """Scores as many rows as there is time for.

    Args:
        bundle: The model.
        table: The rows, with targets.
        deadline: When it must be over; rows that are left out are noted there. None: all are scored.
        split: What the rows are called.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples, and of the order.
        is_headline: Whether these rows' scores are the run's.
        dataset: The rows, which keeps what is decoded where all are scored at once.

    Returns:
        The scores, and the rows that they are of.
    """
    if deadline is None or len(table) <= _FEWEST_ROWS:
        return evaluate_bundle(bundle, table, bootstrap=bootstrap, seed=seed, dataset=dataset), table
    # Where there was no time for the features of all rows, these are the ones that have some (`feature_time.sampled`).
    order, parts, size = permutation(len(table), seed, "features"), list[tuple[np.ndarray, Evaluation]](), 0
    more, fewest = _FIRST_ROWS, _FEWEST_ROWS if is_headline else _FIRST_ROWS
    while more > 0:
        chosen = np.sort(order[size : size + more])
        began = deadline.now()
        parts.append((chosen, evaluate_bundle(bundle, table.select(chosen), bootstrap=0, seed=seed)))
        per_row = max((deadline.now() - began) / len(chosen), 1e-9)
        size += len(chosen)
        affordable = int(max(deadline.left, _FREE * deadline.seconds) / per_row)
        more = min(len(table) - size, max(affordable, fewest - size), _GROWTH * len(chosen))
    rows = np.sort(order[:size])
    missing = f"scores of {len(table) - size:,} of {len(table):,} {split} rows"
    deadline.note(f"scores of the {split} rows", missing if size < len(table) else "")
    scored = table if size == len(table) else table.select(rows)
    return (
        merged(
            [part for _, part in parts],
            [np.searchsorted(rows, chosen) for chosen, _ in parts],
            bundle.schema.targets,
            bootstrap=bootstrap,
            seed=seed,
            clusters=row_groups(bundle, scored),
        ),
        scored,
    )
