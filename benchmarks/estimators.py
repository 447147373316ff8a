"""Simple models of a text column: processor seconds of fitting them, folds included, and their log loss of test rows.

    python benchmarks/estimators.py DATA WEIGHTS [--only meld] [--rows 12000]

The tables are those of `pretrained.py` with texts; the features are tf-idf and the vector of a frozen network.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from polysense.config.codec import from_dict
from polysense.data.column import ColumnConfig
from polysense.data.tables.sources import read_table
from polysense.nn.auto_encoder import AutoEncoderConfig, Circumstances
from polysense.nn.backbone import BackboneEncoder
from polysense.nn.estimators.examples import FitRows, folds_of, row_losses
from polysense.nn.estimators.forest import ForestEstimatorConfig
from polysense.nn.estimators.linear import LinearEstimatorConfig
from polysense.presets.features import features_of
from pretrained import TRIALS, Trial, _features, _where


def measure(trial: Trial, data: Path, weights: Path, rows: int) -> None:
    """Prints a line for each simple model."""
    table = read_table(data / trial.table)
    cells, labels = table.cells(trial.column), [str(cell) for cell in table.cells(trial.target)]
    sources = [table.source(i, trial.column) for i in range(len(table))]
    classes, targets = np.unique(labels, return_inverse=True)
    is_test = _where(table, trial.test)
    is_validation = np.zeros_like(is_test) if trial.validation is None else _where(table, trial.validation)
    training = np.flatnonzero(~is_test & ~is_validation)
    training = np.sort(np.random.default_rng(1).permutation(training)[:rows])
    test = np.flatnonzero(is_test)
    encoder_config, _ = AutoEncoderConfig().resolve(trial.kind, cells, Circumstances(pretrained=str(weights)))
    processor = from_dict(ColumnConfig, {"type": trial.kind}, where="benchmark").build(trial.column)  # type: ignore[type-abstract]
    required = encoder_config.requirements(trial.column, trial.kind)
    processor.fit([cells[i] for i in training], [sources[i] for i in training], table.root, required)
    encoder = encoder_config.create(processor.column, 64).eval()
    if not isinstance(encoder, BackboneEncoder):
        return
    encoder.give_features()
    plain = [
        config.create(processor.column)
        for config in features_of([(trial.column, trial.kind)], len(training))[trial.column]
    ]
    for extractor in plain:
        extractor.fit([cells[i] for i in training], [[] for _ in training])

    def vector(i: int) -> np.ndarray:
        items = [] if cells[i] is None else processor.transform(cells[i], sources[i], table.root)
        deep = _features(encoder, items[0]) if items else np.zeros(encoder.num_features)
        return np.concatenate([*(each.extract(cells[i], []) for each in plain), deep]).astype(np.float32)

    features = {positions: np.stack([vector(i) for i in own]) for positions, own in (("own", training), ("test", test))}
    own_targets = targets[training][:, None].astype(np.float64)
    examples = FitRows(
        features={"text": features["own"]},
        present=np.ones((len(training), 1), dtype=bool),
        targets=own_targets,
        weights=np.ones(len(training)),
        folds=folds_of(own_targets, "choice", None, 5, 0),
    )
    for config in (LinearEstimatorConfig(), ForestEstimatorConfig()):
        estimator = config.build({"text": features["own"].shape[1]}, "choice", len(classes))
        start = time.process_time()
        estimator.fit(examples)
        seconds = time.process_time() - start
        scores = estimator({"text": torch.from_numpy(features["test"])}, torch.ones(len(test), 1, dtype=torch.bool))
        loss = row_losses(scores.double().numpy(), targets[test][:, None].astype(np.float64), "choice").mean()
        size = f"{len(training):,} rows of {features['own'].shape[1]:,} numbers"
        print(f"{trial.table}, {config.type}: {size}, {seconds:.1f} s, log loss {loss:.4f}", flush=True)


def main() -> None:
    """Prints lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--rows", type=int, default=1 << 30, help="most training rows of a table; a fixed sample")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for trial in TRIALS:
        if trial.kind == "text" and (arguments.data / trial.table).is_file() and arguments.only in trial.table:
            measure(trial, arguments.data, arguments.weights, arguments.rows)


if __name__ == "__main__":
    main()
