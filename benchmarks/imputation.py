"""How well a model fills missing cells, beside filling in the mean or the most frequent value.

A share of the cells that are there is hidden, in rows that the model was not trained on; `polysense impute` fills them
and writes the table; what it wrote is read again and compared with what stood there. The same cells are filled with the
training rows' mean (numbers, dates, pixels) or their most frequent value (categories, texts), and, where there are
several numbers, by two that look at the row's other numbers: scikit-learn's KNNImputer (5 neighbors) and
IterativeImputer (a Bayesian ridge regression for each column), fitted on the training rows. The model is not trained
here.

    polysense train TABLE --task reconstruction -o RUN data.split.test=0.2
    python benchmarks/imputation.py RUN TABLE
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import polysense
from polysense.bundle import Bundle
from polysense.config.codec import from_dict
from polysense.core.random import generator, permutation
from polysense.core.sample import SourceInfo
from polysense.data.column import ColumnProcessor
from polysense.data.tables.sources import Table, read_table
from polysense.errors import ConfigError, DecodeError
from polysense.evaluation.bootstrap import Interval, interval, multiplicities
from polysense.recipe import Recipe
from polysense.workflows.imputation.impute import reconstructed_by, why_not_imputed
from polysense.workflows.prepare import split_tables

_MEASURED = ("number", "date", "image")
_MOST_PICTURES = 2_000
_SOURCE = SourceInfo(table="filled", row=0, column="")


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one column was filled.

    Attributes:
        column: Its name.
        measured: Whether errors are squared, in standard deviations, or shares that are wrong.
        num_cells: Hidden cells that were filled.
        model: The model's mean error.
        simple: That of the mean, or the most frequent value.
        gone: The share of the simple filling's error that the model's does not make.
        others: The mean errors of those that look at the row's other numbers, by name.
    """

    column: str
    measured: bool
    num_cells: int
    model: Interval
    simple: Interval
    gone: Interval
    others: Mapping[str, float] = field(default_factory=dict)


def cell_mask_rate(
    table: Table, columns: Sequence[str], share: float, seed: int
) -> tuple[Table, dict[str, np.ndarray]]:
    """The table with some cells missing, and per column which rows' were hidden; a row keeps one of these cells."""
    draws = generator(seed, "hidden cells")
    there = np.array([[cell is not None for cell in table.cells(name)] for name in columns]).T
    hidden = there & (draws.random(there.shape) < share)
    spared = np.where(there, draws.random(there.shape), -1.0).argmax(axis=1)
    all_gone = (hidden == there).all(axis=1)
    hidden[all_gone, spared[all_gone]] = False
    frame = table.frame.with_columns(
        pl.when(pl.Series(hidden[:, i])).then(None).otherwise(pl.col(name)).alias(name)
        for i, name in enumerate(columns)
    )
    return dataclasses.replace(table, frame=frame), {
        name: np.flatnonzero(hidden[:, i]) for i, name in enumerate(columns)
    }


def compare(
    bundle: Bundle, train: Table, test: Table, *, share: float = 0.3, seed: int = 0, bootstrap: int = 1000
) -> list[Result]:
    """Hides cells of the test rows, fills them, and compares.

    Args:
        bundle: Restores columns.
        train: The rows that means are taken of.
        test: The rows whose cells are hidden.
        share: Of the cells that are there.
        seed: Of the choice, and of the resamples.
        bootstrap: Resamples of the hidden cells.
    """
    # Of sounds the spectrogram is restored, and a training measures it; samples of two sounds can't be compared.
    processors = {
        bundle.processor.columns[name].source: bundle.processor.columns[name]
        for name in reconstructed_by(bundle)
        if bundle.processor.columns[name].column.modality != "audio" and why_not_imputed(bundle, name) is None
    }
    columns = [name for name in processors if test.has(name)]
    fewer, hidden = cell_mask_rate(test, columns, share, seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "filled.parquet"
        found = polysense.impute(bundle, fewer, columns=columns, media=Path(folder) / "media")
        found.write(out)
        imputed = read_table(out, root=test.root)
        others = by_other_numbers({name: processors[name] for name in columns}, train, fewer)
        errors = {
            name: _errors(name, processors[name], train, test, imputed, hidden[name], others, seed) for name in columns
        }
    numbers = [name for name in columns if processors[name].column.modality == "number" and len(errors[name])]
    found = [
        _summed(name, processors[name].column.modality in _MEASURED, errors[name], list(others), seed, bootstrap)
        for name in columns
        if len(errors[name])
    ]
    if len(numbers) > 1:
        together = np.concatenate([errors[name] for name in numbers])
        found.append(_summed(f"all {len(numbers)} numbers", True, together, list(others), seed, bootstrap))
    return found


def by_other_numbers(
    processors: Mapping[str, ColumnProcessor], train: Table, fewer: Table
) -> dict[str, dict[str, np.ndarray]]:
    """By name of the method, each number column filled from the row's other numbers; nothing where there is but one."""
    from sklearn.experimental import enable_iterative_imputer
    from sklearn.impute import IterativeImputer, KNNImputer

    del enable_iterative_imputer  # importing it is what it is for
    names = [name for name, one in processors.items() if one.column.modality == "number"]
    if len(names) < 2:
        return {}

    def matrix(table: Table) -> np.ndarray:
        cells = [[_value(processors[name], table, i, name) for name in names] for i in range(len(table))]
        return np.array([[np.nan if cell is None else cell[0] for cell in row] for row in cells])

    known, requested = matrix(train), matrix(fewer)
    found = {}
    for method, imputer in (
        ("5 nearest", KNNImputer(n_neighbors=5, keep_empty_features=True)),
        ("ridge", IterativeImputer(random_state=0, keep_empty_features=True)),
    ):
        imputed = imputer.fit(known).transform(requested)
        found[method] = {name: imputed[:, i] for i, name in enumerate(names)}
    return found


def _errors(
    name: str,
    processor: ColumnProcessor,
    train: Table,
    test: Table,
    imputed: Table,
    rows: np.ndarray,
    others: Mapping[str, Mapping[str, np.ndarray]],
    seed: int,
) -> np.ndarray:
    """[cells, 2 + others]: of the model, of the simple filling, and of the others (NaN: they don't fill this)."""
    measured = processor.column.modality in _MEASURED
    known = [value for i in _seen(processor, train, seed) if (value := _value(processor, train, i, name)) is not None]
    simple = np.mean(known, axis=0) if measured else Counter(known).most_common(1)[0][0]
    errors = []
    for i in rows.tolist():
        truth, said = _value(processor, test, i, name), _value(processor, imputed, i, name)
        if truth is not None and said is not None:
            beside = [_error(truth, one[name][i], True) if name in one else np.nan for one in others.values()]
            errors.append([_error(truth, said, measured), _error(truth, simple, measured), *beside])
    return np.array(errors)


def _summed(
    column: str, measured: bool, errors: np.ndarray, others: Sequence[str], seed: int, bootstrap: int
) -> Result:
    both = errors[:, :2]
    draws = [np.stack(_means(weights @ both)) for weights in multiplicities(len(both), bootstrap, seed)]
    resampled = np.concatenate([np.zeros((3, 0)), *draws], axis=1)
    values = _means(both.sum(axis=0, keepdims=True))
    model, other, gone = (interval(float(v[0]), r, 0.95) for v, r in zip(values, resampled, strict=True))
    # Sums became means over as many cells.
    scale = 1 / len(both)
    model, other = (Interval(one.value * scale, one.low * scale, one.high * scale) for one in (model, other))
    beside = {name: float(value) for name, value in zip(others, errors[:, 2:].mean(axis=0), strict=True)}
    return Result(
        column=column, measured=measured, num_cells=len(both), model=model, simple=other, gone=gone, others=beside
    )


def _means(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[:, 0], sums[:, 1], 1 - sums[:, 0] / sums[:, 1]


def _seen(processor: ColumnProcessor, train: Table, seed: int) -> list[int]:
    """The training rows that the simple filling is made of: all, or of pictures some, drawn from all over the table."""
    chosen = permutation(len(train), seed, "simple")[: _MOST_PICTURES if processor.is_media else len(train)]
    return sorted(chosen.tolist())


def _value(processor: ColumnProcessor, table: Table, i: int, name: str) -> Any:
    """A cell as the model reads it; None where it is missing or can't be read."""
    cell = table.cell(i, name)
    try:
        items = processor.transform(cell, _SOURCE, table.root)
    except DecodeError:
        return None
    if not items:
        return None
    column, item = processor.column, items[0]
    if column.modality == "image":
        assert column.std is not None
        return item.astype(np.float64) / 255 / np.array(column.std)[:, None, None]
    if column.modality in _MEASURED:
        return item[:1].astype(np.float64)
    return str(cell).strip() if column.modality == "text" else tuple(item.tolist())


def _error(truth: Any, said: Any, measured: bool) -> float:
    return float(np.mean((truth - said) ** 2)) if measured else float(truth != said)


def markdown(results: Sequence[Result]) -> str:
    """A table for people."""
    others = list(results[0].others) if results else []
    heads = ["column", "hidden cells", "measure", "model", "mean or most frequent", "error gone (95%)", *others]
    lines = [f"| {' | '.join(heads)} |", "|---|---:|---|" + "---:|" * (len(heads) - 3)]
    for one in results:
        measure = "squared error" if one.measured else "share wrong"
        gone = f"{100 * one.gone.value:.0f}% ({100 * one.gone.low:.0f} to {100 * one.gone.high:.0f})"
        cells = [one.column.replace("|", "\\|"), f"{one.num_cells:,}", measure]
        cells += [f"{one.model.value:.3f}", f"{one.simple.value:.3f}", gone]
        cells += ["" if np.isnan(value) else f"{value:.3f}" for value in one.others.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("table")
    parser.add_argument("--share", type=float, default=0.3, help="of the cells that are there, hidden (0.3)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    bundle = polysense.load(options.bundle)
    recipe = from_dict(Recipe, bundle.recipe, where="the bundle's recipe")
    tables = split_tables(recipe.data, read_table(options.table), recipe.training.seed)
    if "test" not in tables:
        raise ConfigError(
            "the model was trained without test rows; set data.split.test=0.2, or data.test, and train it again"
        )
    results = compare(bundle, tables["train"], tables["test"], share=options.share, seed=options.seed)
    print(f"{options.table}: {100 * options.share:g}% of the cells of {len(tables['test']):,} test rows hidden\n")
    print(markdown(results))


if __name__ == "__main__":
    main()
