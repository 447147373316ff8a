"""Class probabilities of rows by models that have not seen them: those of a run, or of a linear model out of fold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from polysense.bundle import as_bundle
from polysense.core.random import fold
from polysense.data.tables.sources import Table, read_table
from polysense.errors import SplitError
from polysense.evaluation.findings.checked import CheckedTable, CheckedTarget, Probabilities
from polysense.nn.estimators.examples import FitRows, folds_of
from polysense.nn.estimators.linear import LinearEstimatorConfig
from polysense.workflows.predict import predict
from polysense.workflows.table_split import part_of

__all__ = ["run_probabilities", "simple_probabilities"]

_OUT_OF_FOLD = "out_of_fold.csv"
_FEWEST_ROWS, _FEWEST_OF_CLASS = 100, 5
_NUM_FOLDS = 5
_MOST_SECONDS = 20.0


def run_probabilities(checked: CheckedTable, table: Table, run: Path) -> Mapping[str, Probabilities]:
    """Per target with classes what a trained model says of rows that it was not trained on.

    Args:
        checked: The table as it was read.
        table: Before the split.
        run: The run's folder. With folds, each row's prediction by the model that did not see it is there; else the
            model predicts the rows that its recipe validates and tests on.

    Raises:
        PolysenseError: There is no trained model in the folder, or it can't read the table.
    """
    path = run / _OUT_OF_FOLD
    if path.is_file():
        frame = read_table(path).frame
        words = "the run's models, out of fold"
    else:
        frames = [
            predict(run, table, split=part).frame for part in ("validation", "test") if _has_part(run, table, part)
        ]
        if not frames:
            raise SplitError(
                f"{run}: its model was trained on all rows of {table.name}; give a run with folds or a split"
            )
        frame = pl.concat(frames)
        words = "the run's model, which was not trained on these rows"
    of_table = np.array([owner is None for owner in checked.tables])[checked.part_of]
    place = dict(zip(checked.row_numbers[of_table].tolist(), np.flatnonzero(of_table).tolist(), strict=True))
    rows = [place.get(int(row), -1) for row in frame["row"]]
    result = {}
    for target in checked.targets:
        names = [f"{target.name}_probability[{name}]" for name in target.classes]
        if not target.classes or not set(names) & set(frame.columns):
            continue
        columns = [
            frame[name].cast(pl.Float64, strict=False).fill_null(0.0).to_numpy()
            if name in frame.columns
            else np.zeros(len(frame))
            for name in names
        ]
        positions, values = np.array(rows, dtype=np.int64), np.stack(columns, axis=1)
        known = (positions >= 0) & (values.sum(axis=1) > 0)
        order = np.flatnonzero(known)[np.argsort(positions[known], kind="stable")]
        result[target.name] = Probabilities(positions=positions[order], values=values[order], words=words)
    return result


def _has_part(run: Path, table: Table, part: str) -> bool:
    try:
        return len(part_of(as_bundle(run), table, part)) > 0
    except SplitError:
        return False


def simple_probabilities(checked: CheckedTable) -> Mapping[str, Probabilities]:
    """Per target with classes what a linear model says of the decoded rows, out of fold; none where it has no answer.

    Args:
        checked: With feature vectors of its columns.
    """
    result = {}
    for target in checked.targets:
        if target.classes and (known := _of(checked, target)) is not None:
            result[target.name] = known
    return result


def _of(checked: CheckedTable, target: CheckedTarget) -> Probabilities | None:
    reads = {column.name: column.read for column in checked.columns if column.read and column.read.features is not None}
    if not reads:
        return None
    positions = np.unique(np.concatenate([read.positions for read in reads.values()]))
    counts = np.bincount(target.labels[positions][target.labels[positions] >= 0], minlength=len(target.classes))
    usual = np.flatnonzero(counts >= _FEWEST_OF_CLASS)
    positions = positions[np.isin(target.labels[positions], usual)]
    if len(positions) < _FEWEST_ROWS or len(usual) < 2:
        return None
    features, present = {}, []
    for name, read in reads.items():
        assert read.features is not None
        there, where = np.isin(positions, read.positions), np.searchsorted(read.positions, positions)
        vectors = np.zeros((len(positions), read.features.shape[1]), dtype=np.float32)
        vectors[there] = read.features[where[there]]
        features[name] = vectors
        present.append(there)
    place = np.full(len(target.classes), -1, dtype=np.int64)
    place[usual] = np.arange(len(usual))
    labels = place[target.labels[positions]].astype(np.float64)[:, None]
    sizes = {name: vectors.shape[1] for name, vectors in features.items() if vectors.shape[1]}
    config = LinearEstimatorConfig()
    if not sizes or config.seconds(len(positions), sum(sizes.values()), len(usual)) > _MOST_SECONDS:
        return None
    groups = None
    if checked.clusters is not None:
        groups = [None if group < 0 else int(group) for group in checked.clusters[positions]]
    scores = config.build(sizes, "choice", len(usual)).fit(
        FitRows(
            features={name: features[name] for name in sizes},
            present=np.stack([own for own, name in zip(present, features, strict=True) if name in sizes], axis=1),
            targets=labels,
            weights=np.ones(len(positions)),
            folds=folds_of(labels, "choice", groups, _NUM_FOLDS, checked.seed),
            seed=int(fold(checked.seed, "check")) % 2**31,
        )
    )
    known = np.isfinite(scores).all(axis=1)
    exponents = np.exp(scores[known] - scores[known].max(axis=1, keepdims=True))
    values = np.zeros((int(known.sum()), len(target.classes)))
    values[:, usual] = exponents / exponents.sum(axis=1, keepdims=True)
    return Probabilities(
        positions=positions[known], values=values, words="a linear model of simple features, out of fold"
    )
