"""Use a trained model: predict, evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polysense.api.measure import SHUFFLED, evaluate_bundle
from polysense.api.text import report_text
from polysense.api.written import shuffled_inputs, writes
from polysense.bundle import Bundle, Predictions, load
from polysense.data.sources import read_table
from polysense.errors import TableError
from polysense.evaluation.baselines import constant_baseline
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.report import Report

__all__ = ["Scores", "evaluate", "load", "predict"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """A model's scores on one table.

    Attributes:
        table: The table's name.
        evaluation: Metrics with intervals, predictions, confusion matrices.
        majority: The most frequent class, the mean or the most frequent text, on the same rows.
        shuffled: Where a target is a text, the same model with every row's media taken from another row.
    """

    table: str
    evaluation: Evaluation
    majority: Evaluation
    shuffled: Evaluation | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """head > metric > {value, low, high}."""
        return self.evaluation.as_metrics_json()

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        return {
            "table": self.table,
            "metrics": self.metrics,
            "majority": self.majority.as_metrics_json(),
            **({} if self.shuffled is None else {"shuffled": self.shuffled.as_metrics_json()}),
            **self.evaluation.as_summary_json(),
            "unreadable": [cell.as_dict() for cell in self.evaluation.unreadable],
        }

    def text(self) -> str:
        """For people."""
        rivals = {"majority": self.majority} | ({} if self.shuffled is None else {SHUFFLED: self.shuffled})
        report = Report(title=self.table, evaluation=self.evaluation, split=self.table, comparisons=rivals)
        lines = [report_text(report)]
        cells = self.evaluation.unreadable
        lines += [f"unreadable, counted as missing: {cell}" for cell in cells[:10]]
        if len(cells) > 10:
            lines.append(f"... and {len(cells) - 10} more; --json lists all")
        return "\n".join(lines)


def predict(bundle: Bundle | str | Path, source: Any, *, root: str | Path | None = None) -> Predictions:
    """Predicts every row of a table, in order.

    Args:
        bundle: A bundle, or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        root: The folder that media paths are relative to; by default the table's own.

    Raises:
        UserError: The bundle or the table can't be read.
    """
    loaded = bundle if isinstance(bundle, Bundle) else load(bundle)
    return loaded.predict(source, root=root)


def evaluate(
    bundle: Bundle | str | Path,
    source: Any,
    *,
    root: str | Path | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Scores:
    """Scores a model on a table that has the targets.

    Args:
        bundle: A bundle, or its folder.
        source: A table's path, a data frame, a list of dictionaries, ...
        root: The folder that media paths are relative to; by default the table's own.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples.

    Raises:
        UserError: The bundle or the table can't be read, or no row has a target.
    """
    loaded = bundle if isinstance(bundle, Bundle) else load(bundle)
    table = read_table(source, root=root)
    for target in loaded.schema.targets:
        for column in target.columns:
            table.require(column, "target column")
    found = evaluate_bundle(loaded, table, bootstrap=bootstrap, seed=seed)
    if not any(found.num_counted(target.name) for target in loaded.schema.targets):
        cells = "; ".join(str(cell) for cell in found.unreadable[:3])
        raise TableError(
            f"{table.name}: no row has a target that can be read, so there is nothing to score"
            f"{': ' + cells if cells else ''}"
        )
    blind = shuffled_inputs(table, loaded.schema, seed) if writes(loaded.schema) else None
    return Scores(
        table=table.name,
        shuffled=None if blind is None else evaluate_bundle(loaded, blind, bootstrap=bootstrap, seed=seed),
        evaluation=found,
        majority=constant_baseline(found, bootstrap=bootstrap, seed=seed),
    )
