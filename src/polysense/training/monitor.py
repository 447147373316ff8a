"""Which epoch was best.

Whether more of a metric is better is the metric's to say. `auto` averages over the targets one metric each in which
higher is better and 1 is perfect, so targets of different tasks can be compared. Accuracy ties often on a small
validation split; the lower loss decides then.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from polysense.core.logs import get_logger
from polysense.core.metric import Metric
from polysense.errors import ConfigError

__all__ = ["Best", "Monitor"]

_LOG = get_logger("polysense.training")


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best validation so far.

    Attributes:
        value: The monitored metric, as reported.
        score: The same with its sign turned so that higher is better.
        tie: Decides between equal scores; higher is better.
        epoch: After which epoch, from 1.
    """

    value: float
    score: float
    tie: float
    epoch: int


class Monitor:
    """Follows one metric, or one of each head, over the validations of a run.

    Args:
        name: `target/metric`, `loss`, or `auto`.
        metrics: Per target what is measured of it.
        preferred: Per target the metric that `auto` takes if it is there and a number.

    Attributes:
        best: The best validation so far.
        value: Of the last validation, as reported.
        score: Likewise, with its sign turned so that higher is better.
        scores: Each validation's epoch, from 1, and score.
    """

    def __init__(
        self, name: str, metrics: Mapping[str, Sequence[Metric]], preferred: Mapping[str, str] | None = None
    ) -> None:
        self._name, self._metrics, self._preferred = name, metrics, preferred or {}
        self._infos = {f"{head}/{info.name}": info for head, infos in metrics.items() for info in infos}
        self._keys: tuple[str, ...] = ()
        self.best: Best | None = None
        self.value: float | None = None
        self.score = -math.inf
        self.scores: list[tuple[int, float]] = []

    @property
    def keys(self) -> tuple[str, ...]:
        """The validation metrics that are followed; none before the first validation."""
        return self._keys

    @property
    def label(self) -> str:
        """What is followed, for people."""
        if not self._keys:
            return self._name
        return self._keys[0] if len(self._keys) == 1 else f"mean({', '.join(self._keys)})"

    @property
    def short_label(self) -> str:
        """The same where there is little room."""
        if len(self._keys) != 1:
            return "score"
        key = self._keys[0]  # without its target, whose name may hold slashes
        return self._infos[key].name if key in self._infos else key

    def update(self, metrics: Mapping[str, float], epoch: int) -> bool:
        """Takes in a validation.

        Args:
            metrics: Values by `head/metric`, and perhaps `loss`.
            epoch: After which epoch, from 1.

        Returns:
            Whether it is the best so far.

        Raises:
            ConfigError: The metric to follow is not among them.
        """
        if not self._keys:
            self._keys = self._resolve(metrics)
        missing = [key for key in self._keys if key not in metrics]
        if missing:
            raise ConfigError(f"monitor: no validation metric is named {missing[0]!r}; {_choices(metrics)}")
        values = [metrics[key] for key in self._keys]
        signs = [1.0 if self._higher_is_better(key) else -1.0 for key in self._keys]
        self.score = sum(sign * value for sign, value in zip(signs, values, strict=True)) / len(values)
        self.value = self.score * signs[0] if len(set(signs)) == 1 else self.score
        self.scores.append((epoch, self.score))
        if math.isnan(self.score):
            _LOG.warning("%s is not a number after epoch %d; it can't be the best", self.label, epoch)
            return False
        losses = [metrics[key] for key in ("loss", *(f"{head}/log_loss" for head in self._metrics)) if key in metrics]
        tie = -losses[0] if losses and math.isfinite(losses[0]) else -math.inf
        if self.best is not None and (self.score, tie) <= (self.best.score, self.best.tie):
            return False
        self.best = Best(value=self.value, score=self.score, tie=tie, epoch=epoch)
        return True

    def _resolve(self, metrics: Mapping[str, float]) -> tuple[str, ...]:
        if self._name != "auto":
            return (self._name,)
        for are_shares in (True, False):
            followed = {head: self._first_finite(metrics, head, are_shares) for head in self._metrics}
            keys = tuple(key for key in followed.values() if key is not None)
            if keys:
                if len(keys) < len(followed):
                    unmonitored = [head for head, key in followed.items() if key is None]
                    _LOG.warning("the best epoch is picked without %s: the validation says nothing of it", unmonitored)
                return keys
        if "loss" in metrics:
            return ("loss",)
        heads = ", ".join(map(repr, self._metrics))
        raise ConfigError(
            f"monitor: 'auto' finds nothing to follow, since no validation row has a value of {heads} that can be "
            f"scored, such as a class that training rows have too; validate on more rows, or merge rare classes; "
            f"{_choices(metrics)}"
        )

    def _first_finite(self, metrics: Mapping[str, float], head: str, are_shares: bool) -> str | None:
        """The first of a target's metrics that has a value.

        Args:
            metrics: The values.
            head: The target's name.
            are_shares: Whether of those in which higher is better and 1 is perfect, the preferred and the selecting one
                first; else of the losses and errors, which have no upper end.
        """
        infos = [info for info in self._metrics[head] if "/" not in info.name]
        if are_shares:
            names = [info.name for info in infos if info.higher_is_better and info.bounds[1] == 1.0]
            first = [self._preferred.get(head, ""), *(info.name for info in infos if info.is_selection)]
            names = [*first, *names]
        else:
            names = [info.name for info in infos if not info.higher_is_better and math.isinf(info.bounds[1])]
            names.sort(key=lambda name: name != "log_loss")
        keys = [f"{head}/{name}" for name in names]
        return next((key for key in keys if math.isfinite(metrics.get(key, math.nan))), None)

    def _higher_is_better(self, key: str) -> bool:
        """The training's own loss is no metric of a target; whatever else is followed is described."""
        if key in self._infos:
            return self._infos[key].higher_is_better
        if key == "loss":
            return False
        raise ConfigError(f"monitor: nothing says whether more of {key!r} is better; {_choices(self._infos)}")

    def state(self) -> dict[str, Any]:
        """What a checkpoint must remember."""
        best = None if self.best is None else asdict(self.best)
        return {
            "name": self._name,
            "keys": list(self._keys),
            "best": best,
            "scores": [list(one) for one in self.scores],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave; afresh if another metric is now to be followed."""
        if state["name"] != self._name:
            _LOG.warning("monitor was %s and is now %s: what was best so far is forgotten", state["name"], self._name)
            return
        self._keys = tuple(state["keys"])
        self.scores = [(epoch, score) for epoch, score in state["scores"]]
        self.best = None if state["best"] is None else Best(**state["best"])


def _choices(metrics: Collection[str]) -> str:
    return f"choose from: {', '.join(sorted(metrics)) or '(the validation gave none)'}"
