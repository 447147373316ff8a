"""Which epoch was best.

`auto` averages over the heads one metric each in which more is better and 1 is perfect, so heads of different tasks can
be compared. Accuracy ties often on a small validation split; the lower loss decides then.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from polysense.errors import ConfigError

__all__ = ["Best", "Monitor", "higher_is_better"]

_LOG = logging.getLogger("polysense.training")
_LOWER = ("loss", "log_loss", "ece", "brier", "mae", "mse", "rmse", "error", "wer", "cer", "perplexity")
_AUTO = ("accuracy", "average_precision", "f1_macro", "f1", "auroc", "r2")
_FALLBACK = ("log_loss", "rmse", "mae", "loss")


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric, named `metric` or `metric/column`, is better."""
    return metric.partition("/")[0] not in _LOWER


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best validation so far.

    Attributes:
        value: The monitored metric, as reported.
        score: The same with its sign turned so that more is better.
        tie: Decides between equal scores; more is better.
        epoch: After which epoch, from 1.
    """

    value: float
    score: float
    tie: float
    epoch: int


class Monitor:
    """Follows one metric, or one of each head, over the validations of a run.

    Args:
        name: `head/metric`, `loss`, or `auto`.
        heads: The heads' names.
        preferred: Per head the metric that `auto` takes if it is there and a number.
    """

    def __init__(self, name: str, heads: Sequence[str], preferred: Mapping[str, str] | None = None) -> None:
        self._name, self._heads, self._preferred = name, tuple(heads), preferred or {}
        self._keys: tuple[str, ...] = ()
        self.best: Best | None = None
        self.value: float | None = None
        self.score = -math.inf

    @property
    def label(self) -> str:
        """What is followed, for people."""
        if not self._keys:
            return self._name
        return self._keys[0] if len(self._keys) == 1 else f"mean({', '.join(self._keys)})"

    @property
    def short_label(self) -> str:
        """The same where there is little room."""
        return self._metric(self._keys[0]) if len(self._keys) == 1 else "score"

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
        signs = [1.0 if higher_is_better(self._metric(key)) else -1.0 for key in self._keys]
        self.score = sum(sign * value for sign, value in zip(signs, values, strict=True)) / len(values)
        self.value = self.score * signs[0] if len(set(signs)) == 1 else self.score
        if math.isnan(self.score):
            _LOG.warning("%s is not a number after epoch %d; it can't be the best", self.label, epoch)
            return False
        losses = [metrics[key] for key in ("loss", *(f"{head}/log_loss" for head in self._heads)) if key in metrics]
        tie = -losses[0] if losses and math.isfinite(losses[0]) else -math.inf
        if self.best is not None and (self.score, tie) <= (self.best.score, self.best.tie):
            return False
        self.best = Best(value=self.value, score=self.score, tie=tie, epoch=epoch)
        return True

    def _resolve(self, metrics: Mapping[str, float]) -> tuple[str, ...]:
        if self._name != "auto":
            return (self._name,)
        for names in (_AUTO, _FALLBACK):
            found = {head: self._first_finite(metrics, head, names) for head in self._heads}
            keys = tuple(key for key in found.values() if key is not None)
            if keys:
                if len(keys) < len(found):
                    without = [head for head, key in found.items() if key is None]
                    _LOG.warning("the best epoch is picked without %s: the validation says nothing of it", without)
                return keys
        if "loss" in metrics:
            return ("loss",)
        raise ConfigError(
            f"monitor: 'auto' finds nothing to follow for each of {list(self._heads)}; {_choices(metrics)}"
        )

    def _first_finite(self, metrics: Mapping[str, float], head: str, names: Sequence[str]) -> str | None:
        preferred = [self._preferred[head]] if names is _AUTO and head in self._preferred else []
        keys = [f"{head}/{name}" for name in (*preferred, *names)]
        return next((key for key in keys if math.isfinite(metrics.get(key, math.nan))), None)

    def _metric(self, key: str) -> str:
        """A key without its head, whose name may hold slashes."""
        heads = [head for head in self._heads if key.startswith(f"{head}/")]
        return key.removeprefix(f"{max(heads, key=len)}/") if heads else key

    def state(self) -> dict[str, Any]:
        """What a checkpoint must remember."""
        best = None if self.best is None else asdict(self.best)
        return {"name": self._name, "keys": list(self._keys), "best": best}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave; afresh if another metric is now to be followed."""
        if state["name"] != self._name:
            _LOG.warning("monitor was %s and is now %s: what was best so far is forgotten", state["name"], self._name)
            return
        self._keys = tuple(state["keys"])
        self.best = None if state["best"] is None else Best(**state["best"])


def _choices(metrics: Mapping[str, float]) -> str:
    return f"choose from: {', '.join(sorted(metrics)) or '(the validation gave none)'}"
