"""Forest: the average of many deep trees, each grown with chance (Breiman, 2001; Geurts et al., "Extremely randomized
trees", 2006).

Splits at random thresholds cost a third of the best ones and are as good on features by the hundreds. Its size in the
bundle is bounded: trees of a large table get fewer leaves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polysense.config.limits import PositiveInt
from polysense.core.allocator import release_freed_memory
from polysense.core.machine import num_cpus
from polysense.nn.estimators.base import EstimatorConfig
from polysense.nn.estimators.examples import Examples, mean_loss
from polysense.nn.estimators.trees import Nodes, TreeEstimator

__all__ = ["ForestEstimator", "ForestEstimatorConfig"]

_MOST_VALUES = 4_000_000
"""Leaves times outputs in all trees: 32 MB."""

_FEW_ROWS = 1_000
"""Up to which the size of leaves is chosen."""

_RARE = 0.005
"""Of more rows, the share that an input must not be 0 in to be looked at: 50 of 10,000. A word that 20 texts have
splits them off and leaves the others together, so trees of many such are deep and slow and say less."""

_FEWER_TREES = 60
"""Trees per fold from which out-of-fold scores of more rows are made."""

_FLOOR = 1e-3
"""The least probability that a score stands for: that no tree's leaf has a class is no proof."""


@dataclass(frozen=True, kw_only=True)
class ForestEstimatorConfig(EstimatorConfig):
    """A forest of randomized trees.

    Attributes:
        num_trees: How many.
        splits: "random" thresholds (extremely randomized trees), or the "best" ones (a random forest).
    """

    type: Literal["forest"] = "forest"
    num_trees: PositiveInt = 200
    splits: Literal["random", "best"] = "random"

    def seconds(self, rows: int, inputs: int, outputs: int, values: float | None = None) -> float:
        """See `EstimatorConfig`: measured at 300 to 2,000 rows of 8 to 300 inputs."""
        folds = 2 * min(self.num_trees, 100) if rows <= _FEW_ROWS else min(self.num_trees, _FEWER_TREES)
        trees = 5 * folds + self.num_trees
        # At each level of a tree every row is looked at in some inputs; in most of them where it predicts one number.
        tried = inputs / 3 if outputs == 1 else math.sqrt(inputs)
        return trees * (1.3e-3 + 1.6e-8 * rows * tried * math.log2(rows + 2))


class ForestEstimator(TreeEstimator, config=ForestEstimatorConfig):
    """The mean of the trees' probabilities or numbers."""

    fitted_buffers: ClassVar[Mapping[str, torch.dtype]] = TreeEstimator.fitted_buffers

    def __init__(self, config: ForestEstimatorConfig, *args: object) -> None:
        super().__init__(config, *args)  # type: ignore[arg-type]
        self._config = config

    def raw(self, design: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """Probabilities, or numbers."""
        return self.leaves(design).mean(dim=1)

    def scores(self, raw: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch outputs"]:
        if self.kind == "numbers":
            return raw
        floored = raw.clamp(_FLOOR, 1 - _FLOOR)
        return floored.log() if self.kind == "choice" else floored.logit()

    def check_buffers(self) -> None:
        super().check_buffers()
        if self.value.shape[1] != self.num_outputs:
            raise ValueError(f"a forest's leaves have {self.value.shape[1]} values, expected {self.num_outputs}")

    def fit_examples(self, examples: Examples) -> Float[np.ndarray, "rows outputs"]:
        are_few = len(examples) <= _FEW_ROWS
        choices, num_trees = ((1, 3), 100) if are_few else ((2,), _FEWER_TREES)
        used = np.arange(examples.design.shape[1])
        if not are_few:
            ordinary = np.append(self.mean.cpu().numpy(), np.zeros(len(self.columns)))  # where a column is missing
            used = np.flatnonzero(((examples.design != 0) & (examples.design != ordinary)).mean(axis=0) >= _RARE)
            used = used if len(used) else np.arange(examples.design.shape[1])
        # scikit-learn's trees look at float32, and at one input of many rows at a time.
        design = np.asfortranarray(examples.design[:, used], dtype=np.float32)
        best: tuple[float, int] | None = None
        for leaf in choices:
            raw = np.zeros((len(examples), self.num_outputs))
            for train, test in examples.splits():
                parts = self._fitted(examples, design, train, leaf, min(self._config.num_trees, num_trees))
                raw[test] = self._predicted(parts, design[test])
                del parts  # before the next fold's are grown, by other threads, which have heaps of their own
                release_freed_memory()
            scores = self.scores(torch.from_numpy(raw)).numpy()
            loss = mean_loss(scores, examples)
            if best is None or loss < best[0]:
                best, kept = (loss, leaf), scores
        assert best is not None
        every = np.arange(len(examples))
        self.take(self._fitted(examples, design, every, best[1], self._config.num_trees), used)
        self.chosen = {"min_samples_leaf": best[1]}
        return kept

    def take(self, parts: list[Any], used: np.ndarray | None = None) -> None:
        """Puts in scikit-learn's fitted forests.

        Args:
            parts: One, or one for each output; a number where it is constant. They are empty after it: trees of a large
                table would take their memory twice.
            used: Positions of the inputs that they were fitted on; None: all.
        """
        trees = []
        for index, part in enumerate(parts):
            if isinstance(part, float):
                value = np.zeros(self.num_outputs)
                value[index] = part * len(parts)
                trees += [Nodes.constant(value)] * self._config.num_trees
                continue
            owners = [index] if len(parts) > 1 else None
            classes = part.classes_.astype(np.int64) if self.kind == "choice" else None
            part.estimators_.reverse()
            while part.estimators_:
                grown = part.estimators_.pop().tree_
                own = np.arange(grown.node_count, dtype=np.int32)
                is_leaf = grown.children_left < 0
                value = np.zeros((grown.node_count, self.num_outputs))
                if classes is not None:
                    value[:, classes] = grown.value[:, 0, :] / grown.value[:, 0, :].sum(axis=1, keepdims=True)
                else:
                    # The mean over the trees of all outputs is to be the mean over its own.
                    value[:, slice(None) if owners is None else owners] = grown.value[:, :, 0] * len(parts)
                trees.append(
                    Nodes(
                        feature=(grown.feature if used is None else used[grown.feature]).astype(np.int32),
                        threshold=grown.threshold.copy(),  # else all of the tree is kept
                        left=np.where(is_leaf, own, grown.children_left).astype(np.int32),
                        right=np.where(is_leaf, own, grown.children_right).astype(np.int32),
                        value=value,
                    )
                )
        self.put_trees(trees)

    def _fitted(
        self,
        examples: Examples,
        design: Float[np.ndarray, "rows inputs"],
        rows: np.ndarray,
        leaf: int,
        num_trees: int,
    ) -> list[Any]:
        """scikit-learn's forests, fitted on some rows of a design."""
        from sklearn.ensemble import (
            ExtraTreesClassifier,
            ExtraTreesRegressor,
            RandomForestClassifier,
            RandomForestRegressor,
        )

        random, choice = self._config.splits == "random", examples.kind == "choice"
        kinds: dict[tuple[bool, bool], Any] = {
            (True, True): ExtraTreesClassifier,
            (True, False): ExtraTreesRegressor,
            (False, True): RandomForestClassifier,
            (False, False): RandomForestRegressor,
        }
        most = max(8, _MOST_VALUES // (self._config.num_trees * self.num_outputs))
        settings = {
            "n_estimators": num_trees,
            "min_samples_leaf": leaf,
            "max_leaf_nodes": most if 2 * most < len(rows) else None,
            # A third of the features for numbers, as Breiman advises; the root of them for classes.
            "max_features": 1 / 3 if examples.kind == "numbers" else "sqrt",
            "random_state": examples.seed % 2**32,
            "n_jobs": num_cpus(),
        }
        targets = examples.targets[rows]
        if choice or np.isfinite(targets).all():
            own = targets[:, 0] if targets.shape[1] == 1 else targets
            model = kinds[random, choice](**settings)
            return [model.fit(_rows(design, rows), own, sample_weight=examples.weights[rows])]
        parts: list[Any] = []
        for column in range(targets.shape[1]):
            known = rows[np.isfinite(targets[:, column])]
            if not len(known):
                parts.append(0.0)
                continue
            model = kinds[random, False](**settings)
            parts.append(
                model.fit(_rows(design, known), examples.targets[known, column], sample_weight=examples.weights[known])
            )
        return parts

    def _predicted(self, parts: list[Any], design: np.ndarray) -> np.ndarray:
        result = np.zeros((len(design), self.num_outputs))
        for index, part in enumerate(parts):
            if isinstance(part, float):
                result[:, index] = part
                continue
            part.n_jobs = 1  # threads would add up trees in whatever order they finish
            if self.kind == "choice":
                result[:, part.classes_.astype(np.int64)] = part.predict_proba(design)
            else:
                predicted = part.predict(design).reshape(len(design), -1)
                result[:, slice(None) if len(parts) == 1 else [index]] = predicted
        return result


def _rows(design: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows, in the same order of memory; no copy of all."""
    return design if len(rows) == len(design) else np.asfortranarray(design[rows])
