"""Feature vectors of frozen pretrained encoders, tried on real tables with one logistic regression.

    python benchmarks/pretrained.py DATA WEIGHTS [--only NAME] [--rows 1500]

DATA holds the tables' folders (grocery, esc10, avdigits, mosi, meld, covid_cxr; those that are not there are left out),
WEIGHTS models' folders, of which each column takes its own as `--pretrained WEIGHTS` does. A cell's vector is the one
that its encoder gives (`Encoder.give_features`): pooled over the cell's own tokens, at each layer that is handed on; of
several layers each is also tried alone. The regression's C is chosen on the validation rows, or where there are none by
folds within the training rows; nothing is chosen on the test rows. The last columns are milliseconds for a cell, of one
thread: reading it, and its features.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polysense.config.codec import from_dict
from polysense.core.batch import ColumnBatch
from polysense.core.schema import Requirements
from polysense.data.column import ColumnConfig
from polysense.data.tables.sources import Table, read_table
from polysense.nn.auto_encoder import AutoEncoderConfig, Circumstances
from polysense.nn.backbone import BackboneEncoder

__all__ = ["TRIALS", "Trial", "measure"]

_STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A column of a table, and what is told from it.

    Attributes:
        table: The table's file.
        column: The input column.
        target: The column of labels.
        kind: `type:` of the input.
        test: The rows that are tested on: (column, value).
        validation: The rows that C is chosen on; None: folds within the training rows.
        group: The column whose equal values stay in one fold.
    """

    table: str
    column: str
    target: str
    kind: str
    test: tuple[str, str] = ("split", "test")
    validation: tuple[str, str] | None = ("split", "val")
    group: str | None = None


TRIALS = (
    Trial(table="grocery/data.csv", column="image", target="label", kind="image"),
    Trial(
        table="esc10/data.csv", column="audio", target="label", kind="audio", test=("fold", "5"), validation=None,
        group="fold",
    ),
    Trial(table="avdigits/data.csv", column="audio", target="label", kind="audio"),
    Trial(table="mosi/data.jsonl", column="text", target="label", kind="text"),
    Trial(table="meld/data.jsonl", column="text", target="emotion", kind="text"),
    Trial(table="covid_cxr/data.csv", column="notes_masked", target="label_covid", kind="text"),
)  # fmt: skip


def measure(trial: Trial, data: Path, weights: Path, rows: int) -> Iterator[str]:
    """Lines of a table: features, numbers, scores, milliseconds."""
    table = read_table(data / trial.table)
    labels = np.array([str(cell) for cell in table.cells(trial.target)])
    is_test = _where(table, trial.test)
    is_validation = np.zeros_like(is_test) if trial.validation is None else _where(table, trial.validation)
    others = _where(table, ("split", "test_seen")) & ~is_test
    training = np.flatnonzero(~is_test & ~is_validation & ~others)
    training = np.sort(np.random.default_rng(0).permutation(training)[:rows])
    is_training = np.isin(np.arange(len(table)), training)
    cells = table.cells(trial.column)
    sources = [table.source(i, trial.column) for i in range(len(table))]
    encoder_config, reason = AutoEncoderConfig().resolve(trial.kind, cells, Circumstances(pretrained=str(weights)))
    print(f"<!-- {trial.table}: {reason} -->", flush=True)
    column_config = from_dict(ColumnConfig, {"type": trial.kind}, where="benchmark")  # type: ignore[type-abstract]
    processor = column_config.build(trial.column)
    required: Requirements = encoder_config.requirements(trial.column, trial.kind)
    processor.fit([cells[i] for i in training], [sources[i] for i in training], table.root, required)
    encoder = encoder_config.create(processor.column, 64).eval()
    if not isinstance(encoder, BackboneEncoder):
        return
    encoder.give_features()
    vectors = np.zeros((len(table), encoder.num_features), dtype=np.float32)
    reading = running = 0.0
    used = np.flatnonzero(is_training | is_validation | is_test)
    for i in used:
        start = time.process_time()
        items = [] if cells[i] is None else processor.transform(cells[i], sources[i], table.root)
        between = time.process_time()
        if items:
            vectors[i] = _features(encoder, items[0])
        running += time.process_time() - between
        reading += between - start
    each = f"{1e3 * reading / len(used):.1f} | {1e3 * running / len(used):.1f}"
    name = f"{trial.table.split('/')[0]}, {trial.column}"
    groups = None if trial.group is None else np.array([str(cell) for cell in table.cells(trial.group)])
    for layer, part in _layers(encoder):
        x = vectors[:, part]
        score = _score(x, labels, is_training, is_validation, is_test, groups)
        last = each if part == slice(None) else " | "
        yield f"| {name} | {len(training):,} | {layer} | {x.shape[1]:,} | {score} | {last} |"


def _features(encoder: BackboneEncoder, item: np.ndarray) -> np.ndarray:
    size = len(item) if item.ndim == 1 else 1
    with torch.inference_mode():
        tokens = encoder(ColumnBatch(values=torch.from_numpy(item)[None, None], lengths=torch.tensor([[size]])))
    assert tokens.features is not None
    features: np.ndarray = tokens.features[0].numpy()
    return features


def _layers(encoder: BackboneEncoder) -> Iterator[tuple[str, slice]]:
    num = len(encoder.chosen)
    size = encoder.num_item_features // num
    for place, layer in enumerate(encoder.chosen if num > 1 else ()):
        yield f"layer {layer}", slice(place * size, (place + 1) * size)
    yield "all of them" if num > 1 else "last layer", slice(None)


def _score(
    x: np.ndarray, labels: np.ndarray, is_training: np.ndarray, is_validation: np.ndarray, is_test: np.ndarray,
    groups: np.ndarray | None,
) -> str:  # fmt: skip
    def right(strength: float, fitted: np.ndarray, judged: np.ndarray) -> float:
        model = _model(strength).fit(x[fitted], labels[fitted])
        return float((model.predict(x[judged]) == labels[judged]).mean())

    if is_validation.any():
        best = max(_STRENGTHS, key=lambda strength: right(strength, is_training, is_validation))
    else:
        rows = np.flatnonzero(is_training)
        own = np.arange(len(rows)) if groups is None else groups[rows]
        folds = list(GroupKFold(min(5, len(set(own)))).split(rows, groups=own))
        best = max(_STRENGTHS, key=lambda c: sum(right(c, rows[fitted], rows[judged]) for fitted, judged in folds))
    model = _model(best).fit(x[is_training], labels[is_training])
    answers, truth = model.predict(x[is_test]), labels[is_test]
    line = f"{(answers == truth).mean():.3f} | {f1_score(truth, answers, average='weighted'):.3f}"
    if len(model.classes_) > 2:
        return f"{line} |  | {best:g}"
    area = roc_auc_score(truth == model.classes_[1], model.predict_proba(x[is_test])[:, 1])
    return f"{line} | {area:.3f} | {best:g}"


def _model(strength: float) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))


def _where(table: Table, condition: tuple[str, str]) -> np.ndarray:
    if not table.has(condition[0]):
        return np.zeros(len(table), dtype=bool)
    return np.array([str(cell) == condition[1] for cell in table.cells(condition[0])])


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--rows", type=int, default=1 << 30, help="most training rows of a table; a fixed sample")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| table, column | training rows | layers | numbers | accuracy | weighted F1 | AUROC | C | ms to read | ms |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for trial in TRIALS:
        if (arguments.data / trial.table).is_file() and arguments.only in f"{trial.table}.{trial.column}":
            for line in measure(trial, arguments.data, arguments.weights, arguments.rows):
                print(line, flush=True)


if __name__ == "__main__":
    main()
