"""The pooling of a sentence encoder, as the files beside its config say (sentence-transformers' modules.json).

A sentence encoder was trained through one pooling, and its vectors are good for that one alone. Its further layers
(dense ones, in a few models) are not read: a linear model over the features learns its own.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from polysense.nn.layers.pooling import MEAN, Pooling
from polysense.nn.pretrained_files import companion, companion_list

__all__ = ["own_pooling"]

_MODES = {
    "cls_token": "first", "cls": "first", "mean_tokens": "mean", "mean": "mean", "max_tokens": "max", "max": "max",
    "mean_sqrt_len_tokens": "sum_by_root", "weightedmean_tokens": "late_mean", "weightedmean": "late_mean",
    "lasttoken": "last",
}  # fmt: skip
_KEY = "pooling_mode"


def own_pooling(path: str, revision: str | None) -> Pooling:
    """A model's own pooling; the mean where it says none that is known.

    Args:
        path: The model's folder or hub name.
        revision: Of the hub; None = the newest.

    Raises:
        WeightsError: A file is no JSON.
    """
    modules = [each for each in companion_list(path, "modules.json", revision) if isinstance(each, dict)]
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if "Pooling" not in kinds:
        return MEAN
    folder = str(modules[kinds.index("Pooling")].get("path", ""))
    if not folder or ".." in PurePosixPath(folder).parts or PurePosixPath(folder).is_absolute():
        return MEAN
    parts = _parts(companion(path, f"{folder}/config.json", revision))
    return Pooling(parts=parts, unit="Normalize" in kinds) if parts else MEAN


def _parts(settings: dict[str, Any]) -> tuple[str, ...]:
    """The parts in the order in which the library joins them; its older files have a switch for each."""
    named = settings.get(_KEY)
    if isinstance(named, str):
        named = named.split("+")
    if not isinstance(named, list):
        named = [mode for mode in _MODES if settings.get(f"{_KEY}_{mode}") is True]
    return tuple(_MODES[mode] for mode in named if isinstance(mode, str) and mode in _MODES)
