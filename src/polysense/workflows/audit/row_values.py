"""Measure a model on changed rows: the rows in chunks, encoded once, every change of them predicted from the tokens.

What is kept of a prediction is its row's value (`TaskSpec.contribution`), so memory does not grow with what is
predicted, and grows with the rows by a few numbers each. Rows come in random order: a measurement that runs out of time
stops after a chunk, and what it has is a random sample of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from polysense.bundle import Bundle
from polysense.core.batch import Batch
from polysense.core.prediction import Prediction
from polysense.core.random import permutation
from polysense.core.registry import task
from polysense.core.schema import Target
from polysense.core.task_spec import Measure
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.evaluation.contribution import contribution_of
from polysense.evaluation.evaluator import batch_statistics
from polysense.workflows.audit.changes import Encoded
from polysense.workflows.audit.stacking import predict_variants
from polysense.workflows.audit.subject import AuditSubject
from polysense.workflows.scoring import contributed_targets

__all__ = ["Chunk", "RowValues", "chunks"]

_CHUNK = 128  # rows
_CACHE_BYTES = 2**27


@dataclass(frozen=True, eq=False, kw_only=True)
class Chunk:
    """Some rows of a subject's table, ready to be read.

    Attributes:
        dataset: The rows; what is read of them is kept.
        positions: int64 [rows], their positions in the subject's table.
    """

    dataset: TableDataset
    positions: np.ndarray

    def encoded(self, subject: AuditSubject) -> Iterator[Encoded]:
        """The rows' batches and their tokens."""
        model, bundle = subject.bundle.model, subject.bundle
        # Nobody compares a row's last bits here, so no rows fill the blocks.
        for batch in PredictLoader(self.dataset, bundle.schema, prediction=bundle.prediction, fillers=False):
            moved = batch.to(bundle.device)
            with torch.no_grad():
                tokens = model.encode(moved)
            yield moved, tokens

    def rows(self, batch: Batch) -> np.ndarray:
        """The rows' numbers in the subject's table; -1 for those that fill the shape. int64 [batch]."""
        rows = batch.rows.cpu().numpy()
        return np.where(rows >= 0, self.positions[np.maximum(rows, 0)], -1)


def chunks(subject: AuditSubject, most_rows: int, name: str) -> Iterator[Chunk]:
    """The rows of a subject in random order, the same for the same seed.

    Args:
        subject: Whose rows.
        most_rows: At most.
        name: Of what is measured.
    """
    chosen = permutation(len(subject.table), subject.seed, name)[:most_rows]
    for start in range(0, len(chosen), _CHUNK):
        positions = chosen[start : start + _CHUNK]
        yield Chunk(dataset=subject.dataset.part(positions, cache_bytes=_CACHE_BYTES), positions=positions)


class RowValues:
    """Row values of every variant, collected batch by batch, for every target whose task says how rows are valued.

    Args:
        bundle: The model that predicts.
        num_variants: Of each batch.

    Attributes:
        targets: Those that are measured. What is chosen from a catalogue is none: its columns are mostly the
            candidates', which no change of the rows reaches, and column importance says what they are worth.
    """

    def __init__(self, bundle: Bundle, num_variants: int) -> None:
        self.targets: Sequence[Target] = [
            target
            for target in contributed_targets(bundle.schema)
            if isinstance(task(target.task).candidates, Unsupported)
        ]
        self._model, self._num_variants = bundle.model, num_variants
        self._values: dict[str, list[np.ndarray]] = {target.name: [] for target in self.targets}
        self._truths: dict[str, list[np.ndarray]] = {target.name: [] for target in self.targets}
        self._rows: dict[str, list[np.ndarray]] = {target.name: [] for target in self.targets}

    def add(self, variants: Iterable[Encoded], rows: np.ndarray) -> None:
        """Predicts a batch in all its variants.

        Args:
            variants: The batch and its tokens as each variant has them, taken as they are needed; truths are the first
                one's.
            rows: int64 [batch], the rows' numbers in the subject's table.
        """
        self.add_predictions(predict_variants(self._model, variants), rows)

    def add_predictions(self, variants: Iterable[tuple[Batch, Mapping[str, Prediction]]], rows: np.ndarray) -> None:
        """Takes what was predicted of a batch in all its variants; arguments else as in `add`."""
        values: dict[str, list[np.ndarray]] = {target.name: [] for target in self.targets}
        for batch, predictions in variants:
            for target in self.targets:
                if target.name not in batch.truths:
                    continue
                own = batch_statistics(target, batch, [predictions[target.name]])
                counted = own["present"]
                own = {name: array[counted] for name, array in own.items()}
                if not values[target.name]:
                    self._truths[target.name].append(own.get("truth", counted[counted]))
                    self._rows[target.name].append(rows[batch.rows.cpu().numpy() >= 0][counted])
                values[target.name].append(contribution_of(target).row_values(target, own))
        for name, every in values.items():
            assert len(every) in (0, self._num_variants), f"{len(every)} variants, expected {self._num_variants}"
            if every:
                self._values[name].append(np.stack(every, axis=1))

    def measures(self, target: Target) -> Sequence[Measure]:
        """What its rows are valued by, the score first."""
        return contribution_of(target).measures

    def measured(self, target: Target) -> tuple[np.ndarray, np.ndarray]:
        """Every row's value, float64 [measures, rows, variants], and the rows' numbers in the subject's table."""
        way, values = contribution_of(target), self._values[target.name]
        if not values:
            return np.zeros((len(way.measures), 0, self._num_variants)), np.zeros(0, dtype=np.int64)
        truths = np.concatenate(self._truths[target.name])
        return way.measured(target, np.concatenate(values), truths), np.concatenate(self._rows[target.name])
