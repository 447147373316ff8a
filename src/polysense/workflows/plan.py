"""The plan of a run, said before anything is fitted: columns and encoders, rows, epochs, experts, time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from polysense.core.duration import spell_duration
from polysense.data.tables.sources import Table
from polysense.nn.ensemble_head import EnsembleHeadConfig
from polysense.nn.head import HeadConfig
from polysense.recipe import Recipe
from polysense.workflows.corrections import correction_lines
from polysense.workflows.score_statistics import takes_scores

__all__ = ["plan_lines", "rows_afterwards"]

_MOST_LISTED = 12
_NUM_PREDICTED_FOR_CONTRIBUTION = 2  # passes: a forward, and the fusion and heads of each subset of columns


def plan_lines(recipe: Recipe, tables: Mapping[str, Table]) -> list[str]:
    """What a training is going to do, for the log.

    Args:
        recipe: Complete, its encoders chosen.
        tables: Per split.
    """
    data, model, training = recipe.data, recipe.model, recipe.training
    each = {name: model.encoders[name] for name in data.columns}
    if len(each) <= _MOST_LISTED:
        listed = ", ".join(f"{name} ({encoder.type})" for name, encoder in each.items())
    else:
        counts = Counter(encoder.type for encoder in each.values())
        listed = f"{len(each)} columns ({', '.join(f'{number} {name}' for name, number in counts.items())})"
    pretrained = [name for name, encoder in each.items() if type(encoder).framework]
    weights = f"pretrained: {', '.join(pretrained)}" if pretrained else "nothing is pretrained"
    targets = ", ".join(f"{name} ({target.task})" for name, target in data.targets.items())
    joined = f"; joined by {model.fusion.type}" if len(each) > 1 else ""
    experts = [
        f"{name}: {_experts(head)}" for name, head in model.heads.items() if isinstance(head, EnsembleHeadConfig)
    ]
    stops = "" if training.early_stopping is None else f", fewer if {training.early_stopping} in a row gain nothing"
    rows = len(tables.get("train", ()))
    steps = -(-rows // training.batch_size)
    more = "; then each column alone, as baselines" if recipe.evaluation.baselines else ""
    if recipe.evaluation.simple_baselines and any(map(takes_scores, model.heads.values())):
        more += "; then simple models of the columns' feature vectors, to compare with"
    if training.seconds is None:
        time = "how long that takes is said after the first steps"
    else:
        time = f"{spell_duration(training.seconds)} in all: as much as fits, and what is left out is said"
    return [
        f"plan: {targets} from {listed}{joined}; {weights}",
        *(f"plan: {line}" for line in experts),
        *(f"plan: {line}" for line in correction_lines(recipe)),
        f"plan: {training.epochs} epochs{stops}, each of {rows:,} rows in about {steps:,} steps of "
        f"{training.batch_size}{more}",
        f"plan: {time}",
    ]


def _experts(head: HeadConfig) -> str:
    assert isinstance(head, EnsembleHeadConfig)
    parts = ["each column alone", *(["all together"] if head.joint else [])]
    fitted = "weighed on the validation rows" if head.weights == "validation" else f"weights: {head.weights}"
    return f"experts are {' and '.join(parts)}, {fitted}"


def rows_afterwards(recipe: Recipe, tables: Mapping[str, Table]) -> int:
    """Rows that are predicted once a model is trained, for the time that is kept for it."""
    held_out = [len(tables[name]) for name in ("validation", "test") if name in tables]
    fits_weights = any(isinstance(head, EnsembleHeadConfig) for head in recipe.model.heads.values())
    rows = 2 * sum(held_out) + (len(tables["validation"]) if fits_weights and "validation" in tables else 0)
    scored = any(map(takes_scores, recipe.model.heads.values())) and recipe.evaluation.simple_baselines
    if scored or any(isinstance(h, EnsembleHeadConfig) and h.estimators for h in recipe.model.heads.values()):
        rows += min(len(tables.get("train", ())), recipe.evaluation.simple_baseline_rows)
    if scored:
        rows += sum(held_out)
    if recipe.evaluation.contribution and held_out and len(recipe.data.columns) > 1:
        rows += _NUM_PREDICTED_FOR_CONTRIBUTION * min(recipe.evaluation.contribution_rows, held_out[-1])
    return rows
