"""Render the model card: what a bundle is, for whoever finds its folder.

Its sections are those of Mitchell et al., "Model Cards for Model Reporting", 2019. Names from a table are escaped for
Markdown and for HTML, since Markdown may hold both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polysense.core.registry import modality
from polysense.core.schema import Column, Schema, Target
from polysense.evaluation.baselines import CONSTANT, baseline_name
from polysense.evaluation.bootstrap import Interval
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.target_metrics import reported_metrics
from polysense.reports.environment import render

__all__ = ["ModelCard", "render_model_card"]

_MAX_CLASSES = 30


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelCard:
    """Everything that the card says.

    Attributes:
        schema: Inputs and targets.
        num_parameters: Of the model.
        encoders: Per column its encoder's type.
        table: Name of the training table.
        num_rows: Rows of each split.
        evaluations: Per split.
        baselines: Per split and baseline, on the same rows.
        simple_baselines: Per split, whether the model is better than simple ones, in sentences.
        contributions: The columns' importance in a sentence; None where it was not measured.
        contribution_split: The rows that it was measured on.
        init_from: The report on the model that this one initializes from, or None.
        impute: The report on the imputer, or None.
        out_of_fold: What the score of the out-of-fold rows is of, or "".
        encoder_reasons: Per column whose encoder was chosen for the machine of the training, why this one.
    """

    schema: Schema
    num_parameters: int
    encoders: Mapping[str, str]
    table: str
    num_rows: Mapping[str, int]
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, Evaluation]] = field(default_factory=dict)
    simple_baselines: Mapping[str, Sequence[str]] = field(default_factory=dict)
    contributions: str | None = None
    contribution_split: str | None = None
    init_from: Mapping[str, Any] | None = None
    impute: Mapping[str, Any] | None = None
    out_of_fold: str = ""
    encoder_reasons: Mapping[str, str] = field(default_factory=dict)


def render_model_card(card: ModelCard) -> str:
    """The bundle's README.md."""
    return render(
        "model_card.md.j2",
        card=card,
        max_classes=_MAX_CLASSES,
        facts={column.name: _facts(column) for column in card.schema.columns},
        origin=None if card.init_from is None else Path(card.init_from["bundle"]).name,
        scores={split: _scores(card, split) for split in card.evaluations},
    )


def _facts(column: Column) -> str:
    """How a column's cells are read: "size 28 x 28 pixels, channels gray"."""
    return ", ".join(f"{fact} {value}" for fact, value in modality(column.modality).summary(column).items())


def _scores(card: ModelCard, split: str) -> list[tuple[Target, str, Interval, float, str]]:
    """Per headline metric: target, metric, the model's value, the baseline's, and the baseline's name."""
    evaluation, baseline = card.evaluations[split], card.baselines[split][CONSTANT]
    return [
        (
            target,
            info.name,
            evaluation.metrics[target.name][info.name],
            baseline.metrics[target.name][info.name].value,
            baseline_name(CONSTANT, target),
        )
        for target in card.schema.targets
        for info in reported_metrics(target, evaluation.statistics[target.name])
    ]
