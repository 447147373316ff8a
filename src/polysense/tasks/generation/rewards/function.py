"""A Python function as a reward."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from polysense.core.error_text import first_line
from polysense.core.task_spec import TargetReader
from polysense.errors import ConfigError
from polysense.nn.objectives.base import Beginning
from polysense.tasks.generation.rewards.base import Reward, RewardConfig

__all__ = ["FunctionReward", "FunctionRewardConfig"]


@dataclass(frozen=True, kw_only=True)
class FunctionRewardConfig(RewardConfig):
    """A function of yours: `(texts, references) -> numbers`, one for each text.

    Attributes:
        name: Where it is, as "module:function"; Python must be able to import the module. It is called with a list of
            texts and for each the list of its row's references, which may be empty; None or NaN: nothing can be said.
    """

    type: Literal["function"] = "function"
    name: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(self.name.partition(":")):
            raise ConfigError(f'reward: expected a function as "module:function"; found {self.name!r}')


class FunctionReward(Reward, config=FunctionRewardConfig):
    """The function."""

    def __init__(self, config: FunctionRewardConfig, beginning: Beginning, reader: TargetReader) -> None:
        del beginning
        module, _, name = config.name.partition(":")
        try:
            function: Any = importlib.import_module(module)
            for part in name.split("."):
                function = getattr(function, part)
        except Exception as error:
            raise ConfigError(
                f"reward: {config.name} can't be imported: {type(error).__name__}: {first_line(error)}; expected a "
                "module that Python can import (on PYTHONPATH, or installed) and a function in it"
            ) from error
        self._name, self._reader = config.name, reader
        self._function: Callable[[list[str], list[list[str]]], Sequence[float]] = function

    def __call__(self, texts: Sequence[str], rows: Sequence[int]) -> np.ndarray:
        references = [list(self._reader.references(row)) for row in rows]
        given = self._function(list(texts), references)
        try:
            values = np.array([np.nan if value is None else float(value) for value in given], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"reward: {self._name} gave {given!r:.200}; expected a number for each text") from error
        if values.shape != (len(texts),) or np.isinf(values).any():
            raise ConfigError(
                f"reward: {self._name} gave {values.size} numbers for {len(texts)} texts, "
                f"{int(np.isinf(values).sum())} of them infinite; expected one finite number for each text"
            )
        return values
