"""Predictions as columns of a table: spelled as the training table spells the targets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars

from polysense.core.modality import Task
from polysense.core.prediction import Prediction
from polysense.core.schema import Target
from polysense.data.sources import Table
from polysense.data.target import TargetProcessor
from polysense.tasks.tagging.target import TaggingTarget

__all__ = ["predicted_columns"]

_MOST_CLASS_COLUMNS = 100


def predicted_columns(
    target: Target, prediction: Prediction, processor: TargetProcessor, table: Table
) -> dict[str, Any]:
    """A target's columns of the predictions' frame.

    Args:
        target: What was predicted.
        prediction: For the table's rows, in order.
        processor: The target's fitted preprocessing.
        table: The rows.
    """
    if isinstance(processor, TaggingTarget):
        return _segment_columns(target, prediction, processor, table)
    return _target_columns(target, prediction, processor)


def _errors(target: Target, prediction: Prediction) -> dict[str, Any]:
    """How badly each row is restored: the mean over its columns, and each column; null where there is no true cell."""
    errors = prediction.measures["errors"].double().numpy()
    known = ~np.isnan(errors)
    total = np.where(known, errors, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    columns = {f"{target.name}.error": np.where(known.any(axis=1), total, np.nan)}
    columns |= {f"{target.name}.{name}.error": errors[:, index] for index, name in enumerate(target.members)}
    return {name: polars.Series(values).fill_nan(None) for name, values in columns.items()}


def _target_columns(target: Target, prediction: Prediction, processor: TargetProcessor) -> dict[str, Any]:
    values = prediction.values.numpy()
    if target.task is Task.GENERATION:
        assert prediction.scores is not None
        texts = polars.Series([processor.render(value) for value in values], dtype=polars.String)
        written = {target.name: texts, f"{target.name}_log_probability": prediction.scores.numpy()}
        if prediction.alternatives is not None:
            written |= _alternatives(prediction, target.name, texts.to_list(), processor)
        return written
    if target.task is Task.RETRIEVAL:
        return {f"{target.name}[{name}]": _places(values[:, index]) for index, name in enumerate(target.members)}
    if target.task is Task.RECONSTRUCTION:
        return _errors(target, prediction)
    if target.task is Task.REGRESSION:
        return {column: values[:, index] for index, column in enumerate(target.columns)}
    assert prediction.probabilities is not None
    probabilities = prediction.probabilities.numpy()
    rendered = [processor.render(value) for value in values]
    if target.task is Task.CLASSIFICATION:
        columns: dict[str, Any] = {
            target.name: rendered,
            f"{target.name}_probability": probabilities[np.arange(len(values)), values],
        }
    else:
        columns = {target.name: _list_series(rendered)}
    if len(target.classes) <= _MOST_CLASS_COLUMNS:
        for index, name in enumerate(target.classes):
            columns[f"{target.name}_probability[{name}]"] = probabilities[:, index]
    return columns


def _segment_columns(
    target: Target, prediction: Prediction, processor: TaggingTarget, table: Table
) -> dict[str, polars.Series]:
    """Segments as the training table spelled them; null where the column that they lie in is absent."""
    found = [processor.render_row(value, table, i) for i, value in enumerate(prediction.values.numpy())]
    cells = [None if one is None else one[0] for one in found]
    label = polars.String if processor.renders_text else polars.Int64
    if processor.writes_labels:
        scores = polars.Series([None if one is None else one[1] for one in found], dtype=polars.List(polars.Float64))
        return {target.name: polars.Series(cells, dtype=polars.List(label)), f"{target.name}_score": scores}
    number = polars.Float64 if target.units_per_second else polars.Int64
    fields: dict[str, Any] = {"start": number, "end": number}
    if not target.units_per_second:
        fields["text"] = polars.String
    kind = polars.Struct({**fields, "label": label, "score": polars.Float64})
    return {target.name: polars.Series(cells, dtype=polars.List(kind))}


def _places(values: np.ndarray) -> polars.Series:
    """Places in a shared space, null where the column is absent."""
    cells = [None if np.isnan(place).any() else place.tolist() for place in values]
    return polars.Series(cells, dtype=polars.List(polars.Float32))


def _alternatives(prediction: Prediction, name: str, firsts: list[str], processor: TargetProcessor) -> dict[str, Any]:
    """The next best texts of each row, in the order of preference, and their log probabilities."""
    assert prediction.alternatives is not None
    assert prediction.alternative_scores is not None
    found: list[dict[str, float]] = []
    for first, ids, scores in zip(firsts, prediction.alternatives, prediction.alternative_scores.tolist(), strict=True):
        texts: dict[str, float] = {}
        for each, score in zip(ids.numpy(), scores, strict=True):
            text = processor.render(each)
            # Other tokens may spell the same text: it is given once.
            if score > -math.inf and text != first:
                texts.setdefault(text, score)
        found.append(texts)
    return {
        f"{name}_alternatives": polars.Series([list(texts) for texts in found], dtype=polars.List(polars.String)),
        f"{name}_alternative_log_probabilities": polars.Series(
            [list(texts.values()) for texts in found], dtype=polars.List(polars.Float32)
        ),
    }


def _list_series(cells: list[list[Any]]) -> polars.Series:
    """Lists of labels; of strings where none has a label that would tell."""
    return polars.Series(cells) if any(cells) else polars.Series(cells, dtype=polars.List(polars.String))
