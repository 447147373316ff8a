"""Metrics' names as people write them: R², AUROC, F1 macro."""

from __future__ import annotations

from polysense.core.metric import Metric

__all__ = ["metric_name"]

_KNOWN = {
    "auroc": "AUROC", "r2": "R²", "mae": "MAE", "rmse": "RMSE", "ece": "ECE", "brier": "Brier score",
    "ece_debiased": "ECE, debiased", "iou": "IoU", "mean_iou": "mean IoU", "dice": "Dice", "mean_dice": "mean Dice",
}  # fmt: skip


def metric_name(info: Metric) -> str:
    """The metric's name as people write it, with the column that it is of."""
    base, _, column = info.name.partition("/")
    return _KNOWN.get(base, base.replace("_", " ").replace("f1", "F1")) + (f" of {column}" if column else "")
