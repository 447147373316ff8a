"""Which augmentation contradicts what texts and labels of the same rows say, in a recipe and in what a preset chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polysense.core.logs import get_logger
from polysense.core.registry import modality, task
from polysense.core.role import Role
from polysense.core.task_spec import Answer
from polysense.data.augmentation.base import TransformConfig
from polysense.data.augmentation.safety import conflicts, spared
from polysense.data.config import DataConfig
from polysense.data.roles.infer import ColumnGuess
from polysense.data.tables.sources import Table

__all__ = ["augmentation_warnings", "safe_transforms"]

_log = get_logger("polysense.workflows")


def augmentation_warnings(data: DataConfig, table: Table) -> list[str]:
    """A warning for each setting that changes what texts or labels of the training rows speak of."""
    spoken = {
        column.source(name): False for name, column in data.columns.items() if modality(column.modality).is_textual
    }
    for name, target in data.targets.items():
        for column in target.sources(name) if _has_words(target.task) else ():
            spoken[column] = task(target.task).answer is not Answer.WORDS
    sources = {name: column.source(name) for name, column in data.columns.items()}
    return list(dict.fromkeys(each.warning() for each in conflicts(data.transforms, table, spoken, sources)))


def safe_transforms(
    transforms: Mapping[str, TransformConfig], table: Table, guesses: Sequence[ColumnGuess]
) -> dict[str, TransformConfig]:
    """The transforms of a preset without what contradicts texts or labels of the table; what is left out is logged."""
    spoken: dict[str, bool] = {}
    for guess in guesses:
        if guess.role is Role.INPUT and guess.modality is not None and modality(guess.modality).is_textual:
            spoken[guess.column or guess.name] = False
        if guess.role is Role.TARGET and guess.task is not None and _has_words(guess.task):
            spoken[guess.column or guess.name] = task(guess.task).answer is not Answer.WORDS
    sources = {guess.name: guess.column or guess.name for guess in guesses}
    result = dict(transforms)
    for each in conflicts(transforms, table, spoken, sources):
        _log.info("%s", each.note())
        result[each.column] = spared(result[each.column], [each.name])
    return result


def _has_words(name: str) -> bool:
    """Whether the cells of a task's target are labels or texts."""
    spec = task(name)
    return spec.has_column and spec.answer is not Answer.NUMBER
