"""Name models and metrics as people write them."""

from __future__ import annotations

from polysense.core.metric import Metric

__all__ = ["metric_name", "model_name"]

_KNOWN = {"auroc": "AUROC", "r2": "R²", "mae": "MAE", "rmse": "RMSE", "ece": "ECE"}


def model_name(num_columns: int) -> str:
    """The trained model, beside its baselines; one of a single column fuses nothing."""
    return "Fused model" if num_columns > 1 else "Model"


def metric_name(info: Metric) -> str:
    """The metric's name, with the column that it is of."""
    base, _, column = info.name.partition("/")
    return _KNOWN.get(base, base.replace("_", " ").replace("f1", "F1")) + (f" of {column}" if column else "")
