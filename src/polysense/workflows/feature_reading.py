"""Feature vectors are made where a model reads them, and nowhere else.

Estimators are fitted when the networks beside them are trained. Until then making their features is lost work: over
stored features of a frozen backbone it took a quarter of an epoch's time. Once they are fitted, rows without features
are other rows to the model: its estimators take every cell for a missing one, and a score of .84 becomes one of .06. So
what is made follows from the model as it stands, and `evaluate_model` refuses rows that lack it.
"""

from __future__ import annotations

from collections.abc import Sequence

from polysense.data.batches.dataset import TableDataset
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.model import MultimodalModel
from polysense.training.callbacks.base import Callback
from polysense.training.run import Run

__all__ = ["FeatureReading", "make_read_features", "reads_features"]


def reads_features(model: MultimodalModel) -> bool:
    """Whether a model reads any cell's feature vector, as it stands."""
    return bool(_read(model)) or any(encoder.reads_features for encoder in model.column_encoders.values())


def make_read_features(model: MultimodalModel, datasets: Sequence[TableDataset], *, to_fit: bool = False) -> None:
    """Has encoders and data sets make the feature vectors that a model reads, and no others.

    Args:
        model: As it stands.
        datasets: From now on for this model alone.
        to_fit: Whether estimators that are not fitted yet are about to be, so that theirs are read too.
    """
    requested = {column for head in model.by_target().values() for column in head.reads_features}
    read = requested if to_fit else _read(model)
    for name, encoder in model.column_encoders.items():
        if name in requested:
            encoder.gives_features = name in read
    for dataset in datasets:
        dataset.with_features = bool(read) or reads_features(model)


def _read(model: MultimodalModel) -> set[str]:
    """Columns whose feature vectors a head reads; an ensemble's only if an estimator of it is fitted."""
    return {
        column
        for head in model.by_target().values()
        if not isinstance(head, EnsembleHead) or any(each.is_fitted for each in head.named_estimators().values())
        for column in head.reads_features
    }


class FeatureReading(Callback):
    """Settles which feature vectors a training makes, once a checkpoint has said which estimators are fitted."""

    every_process = True

    def __init__(self, model: MultimodalModel, datasets: Sequence[TableDataset]) -> None:
        self._model, self._datasets = model, datasets

    def on_start(self, run: Run) -> None:
        """Before the first step."""
        del run
        make_read_features(self._model, self._datasets)
