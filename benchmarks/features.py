"""Feature vectors without weights, tried on real tables with scikit-learn: what they are worth, and what they cost.

    python benchmarks/features.py DATA [--only NAME]

DATA holds the tables' folders (esc10, grocery, covid_cxr, imu_digits, avdigits; those that are not there are left out).
A linear model and forests of each column's features, on the table's own split; nothing is chosen on the test rows. The
last columns are milliseconds for a cell, of one thread: reading it, and its features.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score

from polysense.config.codec import from_dict
from polysense.core.registry import modality
from polysense.core.schema import Requirements
from polysense.data.column import ColumnConfig
from polysense.data.features import FeatureConfig
from polysense.data.tables.sources import Table, read_table

__all__ = ["TRIALS", "Trial", "measure"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A column of a table, and what is told from it.

    Attributes:
        table: The table's folder.
        column: The input column.
        target: The column of labels.
        column_type: `type:` of the input.
        settings: Of the input column.
        test: The rows that are tested on: (column, value).
        left_out: Rows that neither train nor test: (column, value).
    """

    table: str
    column: str
    target: str
    column_type: str
    settings: dict[str, Any]
    test: tuple[str, str] = ("split", "test")
    left_out: tuple[str, str] | None = ("split", "val")


TRIALS = (
    Trial(
        table="esc10",
        column="audio",
        target="label",
        column_type="audio",
        settings={},
        test=("fold", "5"),
        left_out=None,
    ),
    Trial(table="grocery", column="image", target="label", column_type="image", settings={}),
    Trial(table="covid_cxr", column="notes_masked", target="label_covid", column_type="text", settings={}),
    Trial(table="covid_cxr", column="image", target="label_covid", column_type="image", settings={}),
    Trial(table="imu_digits", column="series", target="label", column_type="series", settings={}),
    Trial(
        table="imu_digits",
        column="series",
        target="label",
        column_type="series",
        settings={"center_each": True},
    ),
    Trial(table="avdigits", column="audio", target="label", column_type="audio", settings={}),
    Trial(table="avdigits", column="image", target="label", column_type="image", settings={}),
)


def measure(trial: Trial, data: Path) -> Iterator[str]:
    """Lines of a table: features, numbers, linear model, forest, milliseconds."""
    table = read_table(data / trial.table / "data.csv")
    labels = np.array([str(cell) for cell in table.cells(trial.target)])
    is_test = _where(table, trial.test)
    is_train = ~is_test if trial.left_out is None else ~is_test & ~_where(table, trial.left_out)
    cells = table.cells(trial.column)
    sources = [table.source(i, trial.column) for i in range(len(table))]
    config = from_dict(ColumnConfig, {"type": trial.column_type, **trial.settings}, where="benchmark")  # type: ignore[type-abstract]
    processor = config.build(trial.column)
    rows = np.flatnonzero(is_train)
    training = [cells[i] for i in rows], [sources[i] for i in rows], table.root
    processor.fit(*training, Requirements())
    plain = modality(trial.column_type).default_features(len(rows))
    configs = tuple(from_dict(FeatureConfig, dict(each), where="benchmark") for each in plain)
    processor.fit_features(configs, *training)
    vectors = np.zeros((len(table), processor.column.num_features), dtype=np.float32)
    reading = making = 0.0
    for i, cell in enumerate(cells):
        start = time.process_time()
        items = processor.transform(cell, sources[i], table.root)
        between = time.process_time()
        if items:
            vectors[i] = processor.extract(cell, items)
        making += time.process_time() - between
        reading += between - start
    assert processor.features is not None
    each = f"{1e3 * reading / len(table):.2f} | {1e3 * making / len(table):.2f}"
    slices = {**processor.features.slices, "all of them": slice(None)}
    name = f"{trial.table}, {trial.column}" + "".join(f", {key}" for key in trial.settings)
    for kind, part in slices.items():
        scores = [_score(model, vectors[:, part], labels, is_train, is_test) for model in _models()]
        size = vectors[:, part].shape[1]
        yield f"| {name} | {kind} | {size} | {' | '.join(scores)} | {each if kind == 'all of them' else ' | '} |"


def _models() -> tuple[Any, ...]:
    linear = LogisticRegression(C=0.1, max_iter=300)
    return linear, RandomForestClassifier(500, random_state=0), ExtraTreesClassifier(500, random_state=0)


def _score(model: Any, vectors: np.ndarray, labels: np.ndarray, is_train: np.ndarray, is_test: np.ndarray) -> str:
    if isinstance(model, LogisticRegression) and (vectors >= 0).all() and vectors.max() <= 1:
        model.C = 10.0  # vectors of length 1
    model.fit(vectors[is_train], labels[is_train])
    known = np.isin(labels, model.classes_) & is_test
    accuracy = accuracy_score(labels[is_test], model.predict(vectors[is_test]))
    if len(model.classes_) > 2:
        return f"{accuracy:.3f}"
    area = roc_auc_score(labels[known] == model.classes_[1], model.predict_proba(vectors[known])[:, 1])
    return f"{accuracy:.3f} (AUROC {area:.3f})"


def _where(table: Table, condition: tuple[str, str]) -> np.ndarray:
    return np.array([str(cell) == condition[1] for cell in table.cells(condition[0])])


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    print("| table, column | features | numbers | linear | random forest | extra trees | ms to read | ms of features |")
    print("|---|---|---|---|---|---|---|---|")
    for trial in TRIALS:
        if (arguments.data / trial.table).is_dir() and arguments.only in f"{trial.table}.{trial.column}":
            for line in measure(trial, arguments.data):
                print(line, flush=True)


if __name__ == "__main__":
    main()
