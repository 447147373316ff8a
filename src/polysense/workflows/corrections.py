"""What a recipe corrects uneven classes by, and a warning where it does so twice.

Class weights, a sampler, an adjusted loss and logit adjustment each take the classes' shares out of what is learned;
two together take them out twice, and rare classes are then predicted too often.
"""

from __future__ import annotations

from collections.abc import Sequence

from polysense.data.batches.sampling import ClassSamplerConfig
from polysense.recipe import Recipe

__all__ = ["correction_lines", "correction_warnings", "corrections"]


def corrections(recipe: Recipe) -> dict[str, Sequence[str]]:
    """Per target what corrects for its uneven classes, in words; of targets that nothing is done about, nothing."""
    each = {name: tuple(head.corrections) for name, head in recipe.model.heads.items()}
    sampler = recipe.training.sampler
    if isinstance(sampler, ClassSamplerConfig):
        name = sampler.resolved(tuple(recipe.data.targets))
        each[name] = (f"training.sampler: {sampler.type}", *each[name])
    return {name: words for name, words in each.items() if words}


def correction_lines(recipe: Recipe) -> list[str]:
    """For the plan of a run."""
    return [
        f"{name}: uneven classes are corrected by {', '.join(words)}" for name, words in corrections(recipe).items()
    ]


def correction_warnings(recipe: Recipe) -> list[str]:
    """A warning for each target that is corrected more than once."""
    return [
        f"target {name!r} has {len(words)} corrections of uneven classes at once: {', '.join(words)}. Each by itself "
        "makes up for the classes' shares; together they overdo it, and rare classes are predicted too often. Keep "
        "one, or compare them on validation rows"
        for name, words in corrections(recipe).items()
        if len(words) > 1
    ]
