"""Row statistics in one .npz file: what a finished training's predictions left behind, to be scored once more.

Nothing is pickled. Object arrays are stored by what their rows hold: texts and lists of texts as JSON, arrays as their
rows one after another and the rows' lengths.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polysense.core.files import replacing
from polysense.core.metric import Statistics
from polysense.core.schema import Target
from polysense.evaluation.evaluator import Evaluation

__all__ = ["read_clusters", "read_statistics", "write_statistics"]

_JSON, _VALUES, _LENGTHS = "json", "values", "lengths"
_CLUSTERS = "clusters"


def write_statistics(path: Path, evaluations: Mapping[str, Evaluation]) -> None:
    """Writes the file whole or not at all.

    Args:
        path: An .npz file.
        evaluations: Per split.
    """
    arrays: dict[str, np.ndarray] = {}
    for split, evaluation in evaluations.items():
        arrays[f"{split}/rows"] = evaluation.rows
        if evaluation.clusters is not None:
            arrays[f"{split}/{_CLUSTERS}"] = evaluation.clusters
        for i, target in enumerate(evaluation.targets):
            for name, values in evaluation.statistics[target.name].items():
                arrays |= {f"{split}/{i}/{key}": stored for key, stored in _stored(name, values).items()}
    with replacing(path) as part, part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # numpy's stubs take the names for options


def read_statistics(
    path: Path, split: str, targets: Sequence[Target]
) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
    """The table's rows, and each target's statistics.

    Args:
        path: Of a file that `write_statistics` wrote.
        split: One of its.
        targets: As there.
    """
    with np.load(path, allow_pickle=False) as stored:
        statistics: dict[str, dict[str, np.ndarray]] = {}
        for i, target in enumerate(targets):
            prefix = f"{split}/{i}/"
            own = {key.removeprefix(prefix): stored[key] for key in stored.files if key.startswith(prefix)}
            names = dict.fromkeys(key.partition("#")[0] for key in own)
            statistics[target.name] = {name: _read(name, own) for name in names}
        return stored[f"{split}/rows"], statistics


def read_clusters(path: Path, split: str) -> np.ndarray | None:
    """The groups of a split's rows in a file that `write_statistics` wrote; None: rows are on their own."""
    with np.load(path, allow_pickle=False) as stored:
        name = f"{split}/{_CLUSTERS}"
        return stored[name] if name in stored.files else None


def _stored(name: str, values: np.ndarray) -> Statistics:
    if values.dtype != object:
        return {name: values}
    if any(isinstance(row, np.ndarray) for row in values):
        lengths = np.array([len(row) for row in values], dtype=np.int64)
        return {f"{name}#{_VALUES}": np.concatenate(list(values)), f"{name}#{_LENGTHS}": lengths}
    return {f"{name}#{_JSON}": np.array(json.dumps(list(values)))}


def _read(name: str, own: Statistics) -> np.ndarray:
    if name in own:
        return own[name]
    rows: Sequence[object]
    if f"{name}#{_JSON}" in own:
        rows = json.loads(str(own[f"{name}#{_JSON}"]))
    else:
        rows = np.split(own[f"{name}#{_VALUES}"], np.cumsum(own[f"{name}#{_LENGTHS}"])[:-1])
    result = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        result[i] = row
    return result
