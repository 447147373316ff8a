"""What a finished run offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polysense.bundle import Bundle
from polysense.core.files import shown_path
from polysense.escaping import preformatted, visible
from polysense.evaluation.audit.result import AuditResult
from polysense.evaluation.baselines import baselines_json
from polysense.evaluation.contribution_result import Contributions
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.simple_baselines import TargetBaselines
from polysense.recipe import Recipe
from polysense.training.run import TrainResult

__all__ = ["Run"]


@dataclass(eq=False, kw_only=True)
class Run:
    """A finished run.

    Attributes:
        folder: The run's folder.
        recipe: What was run.
        bundle: The trained model.
        training: How the training went.
        evaluations: Per split what was measured.
        baselines: Per split and baseline likewise: "constant", and where asked for each column alone, their ensemble.
        simple_baselines: Per split and target the model beside simple ones, where that was asked for.
        contributions: What each column contributed, if measured.
        contribution_split: On which split.
        folds: What the scores out of fold are of, and each fold's own; None where there are no folds.
        audit: What else was measured of the model; None where that was not asked for.
        left_out: What did not fit into the time that the run was given.
        text: The summary for people.
    """

    folder: Path
    recipe: Recipe
    bundle: Bundle
    training: TrainResult
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, Evaluation]] = field(default_factory=dict)
    simple_baselines: dict[str, Mapping[str, TargetBaselines]] = field(default_factory=dict)
    contributions: Contributions | None = None
    contribution_split: str | None = None
    folds: Mapping[str, Any] | None = None
    audit: AuditResult | None = None
    left_out: Sequence[str] = ()
    text: str = ""

    @property
    def metrics(self) -> dict[str, Any]:
        """split > head > metric > {value, low, high}, as in metrics.json."""
        return {split: evaluation.as_metrics_json() for split, evaluation in self.evaluations.items()}

    @property
    def simple_baselines_json(self) -> dict[str, Any]:
        """split > head > {metric, best, outcome, sentence, baselines, ...}, as in metrics.json."""
        return {
            split: {name: each.as_json() for name, each in by_target.items()}
            for split, by_target in self.simple_baselines.items()
            if by_target
        }

    @property
    def report(self) -> Path | None:
        """The path of the report's page, from the current folder where it lies in it; None where there is none."""
        path = self.folder / "report.html"
        return shown_path(path) if path.exists() else None

    def summary(self) -> str:
        """The summary for people."""
        return self.text

    def as_json(self) -> dict[str, Any]:
        """The run for a script: folder, metrics, baselines, contributions, how the training went."""
        return {
            "folder": str(self.folder),
            "metrics": self.metrics,
            "baselines": {split: baselines_json(baselines) for split, baselines in self.baselines.items()},
            "simple_baselines": self.simple_baselines_json,
            "contributions": None if self.contributions is None else self.contributions.as_json(),
            "audit": None if self.audit is None else self.audit.as_json(),
            **({} if self.folds is None else {"folds": self.folds}),
            "left_out": list(self.left_out),
            "training": {name: fact for name, fact in vars(self.training).items() if name != "history"},
        }

    def __repr__(self) -> str:
        scores = [f"{split.replace('_', ' ')}: {one.headline()}" for split, one in self.evaluations.items()]
        return visible(f"Run({str(self.folder)!r}; {'; '.join(scores) or 'not evaluated'})")

    def _repr_html_(self) -> str:
        return preformatted(self.text)
