"""Predicted cells scored by a joint embedding space: how well they go with what they were predicted from.

The cosine between the embedding of a row's predicted cell and that of one of the inputs, in the space of another model
(CLIPScore is this with CLIP's space: Hessel et al., EMNLP 2021). Beside it stand the true cells' cosine, which is about
what can be reached, and that of predicted cells with another row's input, which is what a model gets that does not look
at the input. The space sees what it was trained to see, and its own mistakes are in the score.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from polysense.bundle import Bundle
from polysense.core.random import permutation
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError
from polysense.evaluation.bootstrap import Interval, mean_over_rows
from polysense.workflows.evaluating import within
from polysense.workflows.representation.embed import read_rows, row_vectors, shared_space

__all__ = ["JointSimilarity", "joint_similarities", "judged_columns"]


@dataclass(frozen=True, kw_only=True)
class JointSimilarity:
    """Mean cosines of one target's cells with one input, over the rows that have all three.

    Attributes:
        target: What was predicted.
        column: The input.
        num_rows: That were counted.
        predicted: Of the predicted cells with their rows' input.
        true: Of the true ones.
        shuffled: Of the predicted ones with another row's input.
        gain: `predicted` less `shuffled`, paired.
    """

    target: str
    column: str
    num_rows: int
    predicted: Interval
    true: Interval
    shuffled: Interval
    gain: Interval

    def as_json(self) -> dict[str, Any]:
        """For a script."""
        each = {name: getattr(self, name).as_json() for name in ("predicted", "true", "shuffled", "gain")}
        return {"target": self.target, "column": self.column, "num_rows": self.num_rows, **each}

    def text(self) -> str:
        """In a sentence."""
        own, true, other, gain = (
            f"{one.value:.3f}" + (f" ({one.low:.3f} to {one.high:.3f})" if one.has_bounds else "")
            for one in (self.predicted, self.true, self.shuffled, self.gain)
        )
        return (
            f"{self.target} with {self.column} in the joint space, mean cosine of {self.num_rows:,} rows: predicted "
            f"{own}, true {true}, predicted with another row's {self.column} {other}; gain over that {gain}"
        )


def judged_columns(bundle: Bundle, judge: Bundle) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What of a model another one's joint space can score.

    Returns:
        Per target the space's member that is read from the target's column, and those that are read from inputs.

    Raises:
        ConfigError: There is nothing; it says which columns the two have.
    """
    space, inputs = shared_space(judge), {column.table_column for column in bundle.schema}
    members = {name: judge.schema.column(name).table_column for name in (space.members if space is not None else ())}
    result = {}
    for target in bundle.schema.targets:
        own = next((name for name, source in members.items() if (source,) == target.columns), None)
        others = tuple(name for name, source in members.items() if source in inputs and name != own)
        if own is not None and others:
            result[target.name] = (own, others)
    if not result:
        predicted = ", ".join(repr(name) for target in bundle.schema.targets for name in target.columns)
        raise ConfigError(
            f"the judge can't score this model: its joint space is of {', '.join(members) or 'no columns'}, and the "
            f"model predicts {predicted} from {', '.join(map(repr, sorted(inputs)))}; expected a model with a joint "
            "space (`polysense train TABLE --task retrieval`) of a predicted column and an input"
        )
    return result


def joint_similarities(
    bundle: Bundle,
    judge: Bundle,
    table: Table,
    *,
    bootstrap: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[JointSimilarity]:
    """Predicts the rows, and embeds them once with the true cells and once with the predicted ones.

    Args:
        bundle: The model.
        judge: Another one, with a joint space.
        table: Rows that have the targets.
        bootstrap: Resamples for the intervals; 0 gives values only.
        seed: Of the resamples, and of who stands for whom.
        progress: Called with the rows that are done and the rows there are.
    """
    judged, num = judged_columns(bundle, judge), len(table)
    sources = {target.name: target.columns[0] for target in bundle.schema.targets if target.name in judged}
    predictions = bundle.predict_dataset(bundle.dataset(table), progress=within(progress, 0, 3 * num)).frame
    truth = _embeddings(judge, table, within(progress, num, 3 * num))
    cells = [predictions[name].alias(column) for name, column in sources.items()]
    made = dataclasses.replace(table, frame=table.frame.with_columns(cells), imputations=None)
    own = _embeddings(judge, made, within(progress, 2 * num, 3 * num))
    order = permutation(num, seed, "other rows' inputs")
    other = np.empty_like(order)
    other[order] = np.roll(order, -1)
    results = []
    for name, (member, columns) in judged.items():
        for column in columns:
            inputs = truth[column]
            pairs = (own[member], inputs), (truth[member], inputs), (own[member], inputs[other])
            cosines = np.stack([_cosine(*pair) for pair in pairs])
            there = np.isfinite(cosines).all(axis=0)
            predicted, true, shuffled = cosines[:, there]
            intervals = [
                mean_over_rows(values, bootstrap, seed) if len(values) else Interval(float("nan"))
                for values in (predicted, true, shuffled, predicted - shuffled)
            ]
            each = dict(zip(("predicted", "true", "shuffled", "gain"), intervals, strict=True))
            results.append(JointSimilarity(target=name, column=column, num_rows=len(predicted), **each))
    return results


def _embeddings(
    judge: Bundle, table: Table, progress: Callable[[int, int], None] | None
) -> dict[str | None, np.ndarray]:
    """Per member of the joint space float32 [rows, size], NaN where it is absent."""
    model, space = judge.model.eval(), shared_space(judge)
    _, vectors, _ = read_rows(judge, table, lambda batch: row_vectors(model, batch, space), progress=progress)
    return vectors


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    result: np.ndarray = (one * other).sum(axis=1) / np.where(lengths > 0, lengths, np.nan)
    return result
