"""The delivered model: trained on all rows, for as long as the folds' models were best after.

Held-out tests of three small tables (dev/LOG.md) do not tell it from an ordinary training, which gives a tenth of the
rows away to choose by: each was ahead of the other. The mean of the folds' models was a little ahead on classes,
at as many times the cost of every prediction. It is the refit for being one model of all rows, not for its score.
"""

from __future__ import annotations

from dataclasses import replace

from polysense.recipe import Recipe
from polysense.workflows.folds.models import FoldModels
from polysense.workflows.folds.plan import FoldPlan

__all__ = ["refit_recipe"]


def refit_recipe(recipe: Recipe, plan: FoldPlan, models: FoldModels) -> Recipe:
    """The recipe of the delivered model.

    Args:
        recipe: Of the run.
        plan: Which rows were whose.
        models: Trained.
    """
    best = sorted(fact["best_epoch"] for fact in models.facts() if fact["best_epoch"] is not None)
    targets = {name: target.with_classes(plan.classes[name]) for name, target in recipe.data.targets.items()}
    return replace(
        recipe,
        data=replace(recipe.data, targets=targets, split=plan.split, validation=None),
        training=replace(
            recipe.training,
            epochs=best[len(best) // 2] if best else recipe.training.epochs,
            early_stopping=None,
        ),
        # Simple models of all rows are judged on a given test alone.
        evaluation=replace(
            recipe.evaluation, folds=0, simple_baselines=recipe.evaluation.simple_baselines and plan.test is not None
        ),
    )
