"""Predictions as columns of a table: spelled as the training table spells the targets, by their tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import torch

from polysense.core.geometry import Geometry
from polysense.core.prediction import Prediction
from polysense.core.registry import named, task
from polysense.core.schema import Target
from polysense.core.task_spec import Arrays
from polysense.data.sources import Table
from polysense.data.target import TargetProcessor

__all__ = ["predicted_columns"]


def predicted_columns(
    target: Target, prediction: Prediction, processor: TargetProcessor, table: Table, geometry: Mapping[str, Geometry]
) -> dict[str, object]:
    """A target's columns of the predictions' frame, for the table's rows, in order.

    `geometry` says, per input column whose items have places, where the rows' cells lie.
    """
    columns = named(task(target.task).decode)(target, _arrays(prediction), processor, table, geometry)
    assert isinstance(columns, dict), f"{target.name}: its columns are a {type(columns).__name__}"
    return columns


def _arrays(prediction: Prediction) -> Arrays:
    """A prediction's tensors by name; a model under autocast may give bfloat16, which numpy lacks."""
    named = {item.name: getattr(prediction, item.name) for item in fields(prediction)}
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    tensors |= prediction.measures
    return {
        name: (value.float() if value.dtype is torch.bfloat16 else value).numpy() for name, value in tensors.items()
    }
