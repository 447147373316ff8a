"""What the experts of a text column are worth over all rows of a table: five outer folds, groups whole.

    python benchmarks/text_experts.py DATA WEIGHTS --only covid_cxr_notes [--rows 400]

A single split of a small table tells little: 126 notes put tf-idf alone far ahead, which other notes do not bear out.
Here every row is judged once, by models that saw neither it nor its group: linear models of tf-idf (words and
characters), of the frozen network, and of both; a forest of both; and the last two weighed on out-of-fold scores, which
is what the command delivers where its networks do not help. Differences to that are paired, over resampled groups.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.optimize import minimize
from sklearn.metrics import f1_score, roc_auc_score

from defaults_scripts.tables import GROUP, TABLES, JudgedTable, write_table
from polysense.config.codec import from_dict
from polysense.core.stratified_folds import stratified_folds
from polysense.data.column import ColumnConfig
from polysense.data.tables.sources import read_table
from polysense.nn.auto_encoder import AutoEncoderConfig, Circumstances
from polysense.nn.backbone import BackboneEncoder
from polysense.nn.estimators.base import EstimatorConfig
from polysense.nn.estimators.examples import FitRows, folds_of
from polysense.nn.estimators.forest import ForestEstimatorConfig
from polysense.nn.estimators.linear import LinearEstimatorConfig
from polysense.presets.features import features_of
from pretrained import _features

FOLDS, RESAMPLES, DELIVERED = 5, 300, "linear and forest of both, weighed"


class Texts:
    """A table's texts, their frozen features, classes and groups.

    Args:
        table: Whose text column is read.
        data: The folder of data sets.
        weights: The folder of models.
        rows: Most rows of its training and of its test part; None: all.
    """

    def __init__(self, table: JudgedTable, data: Path, weights: Path, rows: int | None) -> None:
        name = next(column for column, kind in table.kinds.items() if kind == "text")
        with tempfile.TemporaryDirectory() as made:
            write_table(table, data, Path(made), rows, rows)
            frame = pl.read_csv(Path(made) / "scripts.csv", infer_schema_length=None)
            read = read_table(Path(made) / "scripts.csv")
        self.cells = frame[name].fill_null("").to_list()
        self.classes, self.labels = np.unique(frame[table.target].cast(str).to_numpy(), return_inverse=True)
        _, self.groups = np.unique(frame[GROUP].cast(str).to_numpy(), return_inverse=True)
        config, _ = AutoEncoderConfig().resolve("text", self.cells, Circumstances(pretrained=str(weights)))
        processor = from_dict(ColumnConfig, {"type": "text"}, where="benchmark").build(name)  # type: ignore[type-abstract]
        sources = [read.source(i, name) for i in range(len(read))]
        processor.fit(self.cells, sources, read.root, config.requirements(name, "text"))
        self.column = processor.column
        encoder = config.create(self.column, 64).eval()
        assert isinstance(encoder, BackboneEncoder), "no sentence encoder among the weights"
        encoder.give_features()
        read_cells = zip(self.cells, sources, strict=True)
        items = [processor.transform(cell, source, read.root) for cell, source in read_cells]
        self.deep = np.stack(
            [_features(encoder, each[0]) if each else np.zeros(encoder.num_features) for each in items]
        )

    def tfidf(self, training: np.ndarray) -> np.ndarray:
        """Words and characters of all texts, weighed by the training ones."""
        extractors = [config.create(self.column) for config in features_of([("text", "text")], len(training))["text"]]
        for extractor in extractors:
            extractor.fit([self.cells[i] for i in training], [[] for _ in training])
        return np.stack([np.concatenate([each.extract(cell, []) for each in extractors]) for cell in self.cells])


def fitted(
    config: EstimatorConfig, features: np.ndarray, texts: Texts, training: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold scores of training rows, and scores of test rows."""
    targets, values = texts.labels[training][:, None].astype(np.float64), features.astype(np.float32)
    estimator = config.build({"text": values.shape[1]}, "choice", len(texts.classes))
    out_of_fold = estimator.fit(
        FitRows(
            features={"text": values[training]},
            present=np.ones((len(training), 1), dtype=bool),
            targets=targets,
            weights=np.ones(len(training)),
            folds=folds_of(targets, "choice", texts.groups[training].tolist(), FOLDS, 0),
        )
    )
    scores = estimator({"text": torch.from_numpy(values[test])}, torch.ones(len(test), 1, dtype=torch.bool))
    return out_of_fold, scores.double().numpy()


def weighed(out_of_fold: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """The weights of logits with the least log loss, and the prior of `nn.ensemble_weights` around equal ones."""
    logits, prior = np.stack(out_of_fold), np.full(len(out_of_fold), 1 / len(out_of_fold))

    def objective(point: np.ndarray) -> float:
        own = probabilities(np.tensordot(point, logits, 1))[np.arange(len(labels)), labels]
        return float(0.5 * ((point - prior) ** 2).sum() - np.log(np.maximum(own, 1e-300)).sum())

    result: np.ndarray = minimize(objective, prior, method="L-BFGS-B", bounds=[(0, None)] * len(prior)).x
    return result


def probabilities(scores: np.ndarray) -> np.ndarray:
    """The softmax."""
    each = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: np.ndarray = each / each.sum(axis=1, keepdims=True)
    return result


def predicted(texts: Texts) -> dict[str, np.ndarray]:
    """Per model the probabilities of all rows, each by the models of the other folds."""
    results: dict[str, np.ndarray] = {}
    fold = stratified_folds(texts.labels, texts.groups, FOLDS, np.random.default_rng(0))
    for number in range(FOLDS):
        training, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        tfidf = texts.tfidf(training)
        both, linear = np.concatenate([tfidf, texts.deep], axis=1), LinearEstimatorConfig()
        models = {
            "linear, tf-idf": fitted(linear, tfidf, texts, training, test),
            "linear, frozen network": fitted(linear, texts.deep, texts, training, test),
            "linear, both": fitted(linear, both, texts, training, test),
            "forest, both": fitted(ForestEstimatorConfig(), both, texts, training, test),
        }
        pair = [models["linear, both"], models["forest, both"]]
        weights = weighed([out_of_fold for out_of_fold, _ in pair], texts.labels[training])
        scores = {name: own for name, (_, own) in models.items()}
        scores[DELIVERED] = np.tensordot(weights, np.stack([own for _, own in pair]), 1)
        for name, own in scores.items():
            results.setdefault(name, np.zeros((len(texts.labels), len(texts.classes))))[test] = probabilities(own)
    return results


def report(name: str, metric: str, texts: Texts, rows: Mapping[str, np.ndarray]) -> None:
    """Prints a line for each model."""

    def score(probability: np.ndarray, chosen: np.ndarray) -> float:
        if metric == "auroc":
            return float(roc_auc_score(texts.labels[chosen], probability[chosen, 1]))
        return float(f1_score(texts.labels[chosen], probability[chosen].argmax(axis=1), average="weighted"))

    draws, every = np.random.default_rng(0), np.arange(len(texts.labels))
    members = [np.flatnonzero(texts.groups == group) for group in range(texts.groups.max() + 1)]
    picks = draws.integers(len(members), size=(RESAMPLES, len(members)))
    samples = [np.concatenate([members[i] for i in picked]) for picked in picks]
    base = [score(rows[DELIVERED], sample) for sample in samples]
    for model, probability in rows.items():
        loss = -np.log(np.maximum(probability[every, texts.labels], 1e-12)).mean()
        line = f"{name}, {len(every)} rows, {model}: {metric} {score(probability, every):.3f}, log loss {loss:.3f}"
        if model != DELIVERED:
            gains = np.subtract([score(probability, sample) for sample in samples], base)
            low, high = np.quantile(gains, [0.025, 0.975])
            gain = score(probability, every) - score(rows[DELIVERED], every)
            line += f", less the delivered {gain:+.3f} ({low:+.3f} to {high:+.3f})"
        print(line, flush=True)


def main() -> None:
    """Prints lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--only", default="covid_cxr_notes,meld,mosi")
    parser.add_argument("--rows", type=int, help="most rows of a table's training and of its test part")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for table in TABLES:
        if table.name in arguments.only.split(","):
            texts = Texts(table, arguments.data, arguments.weights, arguments.rows)
            report(table.name, "auroc" if table.metric == "auroc" else "weighted F1", texts, predicted(texts))


if __name__ == "__main__":
    main()
