"""Measure what each column contributes to a model's predictions of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.prediction import Prediction
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table
from polysense.evaluation.contribution import contribution_rows, contributions
from polysense.evaluation.contribution_result import Contributions
from polysense.evaluation.simple_baselines import TargetBaselines
from polysense.workflows.audit.changes import masked
from polysense.workflows.audit.stacking import num_stacked, predict_variants
from polysense.workflows.scoring import contributed_targets
from polysense.workflows.stored_features import store_for_bundle
from polysense.workflows.table_split import row_groups

__all__ = ["measured_contributions"]


def measured_contributions(
    bundle: Bundle,
    table: Table,
    *,
    max_rows: int,
    bootstrap: int,
    seed: int,
    trained_alone: Mapping[str, TargetBaselines] | None = None,
) -> Contributions:
    """The contributions, by a random sample of the table's rows.

    Args:
        bundle: The model.
        table: The rows.
        max_rows: Of the sample.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the sample and of the resamples.
        trained_alone: By target simple models, see `contributions`.
    """
    rows = table.select(contribution_rows(len(table), max_rows=max_rows, seed=seed))
    dataset = TableDataset(rows, bundle.processor)
    store_for_bundle(bundle, [dataset])

    def predict(batch: Batch, subsets: list[frozenset[str]]) -> Sequence[Mapping[str, Prediction]]:
        moved = batch.to(bundle.device)
        with torch.no_grad():
            tokens = bundle.model.encode(moved)
        if num_stacked(tokens) == 1:
            return bundle.model.predict(moved, subsets, tokens=tokens, write=False)
        none = np.zeros(len(moved), dtype=bool)
        absent = ({name: none for name in bundle.schema.names if name not in subset} for subset in subsets)
        variants = (masked((moved, tokens), each) for each in absent)
        return [predictions for _, predictions in predict_variants(bundle.model, variants)]

    return contributions(
        predict,
        bundle.batches(dataset),
        contributed_targets(bundle.schema),
        bundle.schema.columns,
        bootstrap=bootstrap,
        seed=seed,
        num_available=len(table),
        clusters=row_groups(bundle, rows),
        trained_alone=trained_alone,
    )
