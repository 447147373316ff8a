"""Gradient-boosted trees (scikit-learn's HistGradientBoosting, after LightGBM: Ke et al., NeurIPS 2017).

The strongest simple model of numbers, categories and dates: it needs no scaling, finds thresholds and interactions, and
stands outliers. How many trees it takes is chosen by cross-validation: early stopping would need rows of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polysense.config.limits import PositiveFloat, PositiveInt
from polysense.nn.estimators.base import EstimatorConfig
from polysense.nn.estimators.bins import Bins
from polysense.nn.estimators.examples import MISSING_CLASS, Examples, mean_loss
from polysense.nn.estimators.trees import Nodes, TreeEstimator

__all__ = ["BoostingEstimator", "BoostingEstimatorConfig"]

_STEPS = 10
"""Iterations between those that are tried."""

_PATIENCE = 3
"""Steps without a lower loss after which no more are tried: where trees have begun to overfit, more of them go on."""


@dataclass(frozen=True, kw_only=True)
class BoostingEstimatorConfig(EstimatorConfig):
    """Gradient-boosted decision trees.

    Attributes:
        max_iterations: Trees per output, at most; cross-validation chooses how many.
        learning_rate: What each tree adds.
        max_leaves: Leaves of a tree.
    """

    type: Literal["boosting"] = "boosting"
    max_iterations: PositiveInt = 200
    learning_rate: PositiveFloat = 0.1
    max_leaves: PositiveInt = 8

    def seconds(self, rows: int, inputs: int, outputs: int, values: float | None = None) -> float:
        """See `EstimatorConfig`: six fits, measured at 300 to 2,000 rows of 8 to 60 inputs."""
        return 6 * self.max_iterations * outputs * (1e-3 + 2e-7 * rows * inputs)


class BoostingEstimator(TreeEstimator, config=BoostingEstimatorConfig):
    """The baseline, and the sum of the trees of each output.

    Attributes:
        baseline: float64 [outputs].
    """

    fitted_buffers: ClassVar[Mapping[str, torch.dtype]] = {
        **TreeEstimator.fitted_buffers, "baseline": torch.float64
    }  # fmt: skip

    imputes: ClassVar[bool] = False  # trees learn where a missing value goes

    baseline: Tensor

    def __init__(self, config: BoostingEstimatorConfig, *args: object) -> None:
        super().__init__(config, *args)  # type: ignore[arg-type]
        self._config = config

    def raw(self, design: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """The decision function or the numbers; of two classes half of the former, negative for the first."""
        leaves = self.leaves(design)[:, :, 0]
        return self.baseline + leaves.view(len(design), -1, self.num_outputs).sum(dim=1)

    def check_buffers(self) -> None:
        super().check_buffers()
        if tuple(self.baseline.shape) != (self.num_outputs,) or len(self.roots) % self.num_outputs:
            raise ValueError(f"found {len(self.roots)} trees for {self.num_outputs} outputs")

    def fit_examples(self, examples: Examples) -> Float[np.ndarray, "rows outputs"]:
        most, folds = self._config.max_iterations, list(examples.splits())
        every = np.arange(len(examples))
        bins = [_bins(examples, train) for train, _ in folds]
        grown: list[list[Any]] = [[] for _ in folds]
        best, kept, loss, waited = 0, np.zeros((len(examples), self.num_outputs)), np.inf, 0
        # All folds grow together, and as far as they do in any case, so that no tree is grown that their common loss
        # has no use for. Each time they go on scikit-learn looks at all columns anew.
        counts = sorted({*range(_STEPS, most + 1, _STEPS), most})
        tried = 0
        while tried < len(counts) and waited < _PATIENCE:
            own = counts[tried : tried + _PATIENCE - waited + (not best)]
            tried += len(own)
            scores = np.zeros((len(own), *kept.shape))
            for i, (train, test) in enumerate(folds):
                grown[i] = self._fitted(examples, train, own[-1], bins[i], grown[i])
                scores[:, test] = _scores(grown[i], examples.design[test], examples, bins[i], own)
            for count, each in zip(own, scores, strict=True):
                lower, waited = mean_loss(each, examples), waited + 1
                if not best or lower < loss:
                    best, kept, loss, waited = count, each, lower, 0
        final = _bins(examples, every)
        self.take(self._fitted(examples, every, best, final), best, final)
        self.chosen = {"iterations": best}
        return kept

    def take(self, parts: list[Any], iterations: int, bins: Sequence[Bins] = ()) -> None:
        """Puts in scikit-learn's fitted estimators.

        Args:
            parts: One for all classes, or one for each output; a number where it is constant.
            iterations: Of each of them.
            bins: Of each of them, whose numbers they read; none where they read the inputs themselves.
        """
        outputs, baseline = self.num_outputs, np.zeros(self.num_outputs)
        trees = [[Nodes.constant(np.zeros(1)) for _ in range(outputs)] for _ in range(iterations)]
        for index, part in enumerate(parts):
            if isinstance(part, _Constant):
                part.put(baseline, index)
                continue
            start = np.asarray(part._baseline_prediction).reshape(-1)
            if self.kind != "choice":
                owners, factors = [[index]], [[1.0]]
            else:
                classes = part.classes_.astype(np.int64).tolist()
                baseline[:] = MISSING_CLASS
                owners, factors = ([classes], [[-0.5, 0.5]]) if len(classes) == 2 else ([[c] for c in classes], [[1.0]])
            factors = factors * len(owners)
            for position, (own, factor) in enumerate(zip(owners, factors, strict=True)):
                for output, times in zip(own, factor, strict=True):
                    baseline[output] = times * start[position]
                    for iteration in range(iterations):
                        nodes = part._predictors[iteration][position].nodes
                        trees[iteration][output] = _nodes(nodes, times, bins[index] if bins else None)
        self.put_trees([tree for level in trees for tree in level], baseline=baseline)

    def _fitted(
        self,
        examples: Examples,
        rows: np.ndarray,
        iterations: int,
        bins: Sequence[Bins],
        before: Sequence[Any] = (),
    ) -> list[Any]:
        """scikit-learn's estimators, fitted on some rows.

        Args:
            examples: All rows.
            rows: Positions of those.
            iterations: That they have in the end.
            bins: Of each output's rows.
            before: The same ones after fewer iterations, which go on.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        kind = HistGradientBoostingRegressor if examples.kind == "numbers" else HistGradientBoostingClassifier
        parts: list[Any] = []
        for column in range(examples.targets.shape[1]):
            known = _known(examples, rows, column)
            targets = examples.targets[known, column]
            if len(np.unique(targets)) < 2:
                parts.append(_Constant(examples.kind, targets))
                continue
            design = bins[column].encoded(examples.design[known])
            # scikit-learn can't bin a column of which it sees no value; of one value it makes no split.
            design = np.where(np.isnan(design).all(axis=0), 0.0, design)
            part = (
                before[column]
                if before
                else kind(
                    warm_start=True,
                    learning_rate=self._config.learning_rate,
                    max_leaf_nodes=max(self._config.max_leaves, 2),
                    min_samples_leaf=int(np.clip(len(known) // 20, 2, 20)),
                    l2_regularization=1.0,
                    early_stopping=False,
                    random_state=examples.seed % 2**32,
                )
            )
            part.set_params(max_iter=iterations)
            parts.append(part.fit(design, targets, sample_weight=_weights(examples, known)))
        return parts


def _known(examples: Examples, rows: np.ndarray, column: int) -> np.ndarray:
    """Of some rows those that have an output's target."""
    known: np.ndarray = rows[np.isfinite(examples.targets[rows, column])]
    return known


def _weights(examples: Examples, rows: np.ndarray) -> np.ndarray | None:
    """How much rows count; None where all count alike, which changes no tree and spares scikit-learn work."""
    weights = examples.weights[rows]
    return None if len(weights) == 0 or np.ptp(weights) == 0 else weights


def _bins(examples: Examples, rows: np.ndarray) -> list[Bins]:
    """The bins of each output's rows."""
    known = [_known(examples, rows, column) for column in range(examples.targets.shape[1])]
    return [Bins.of(examples.design[own], _weights(examples, own)) for own in known]


class _Constant:
    """Where all rows have one answer: as if there had been one more of either."""

    def __init__(self, kind: str, targets: np.ndarray) -> None:
        self.kind, self.num = kind, len(targets)
        self.value = float(targets[0]) if len(targets) else 0.0

    def put(self, baseline: np.ndarray, index: int) -> None:
        """Sets the scores."""
        if self.kind == "choice":
            baseline[:] = MISSING_CLASS
            baseline[int(self.value)] = 0.0
        elif self.kind == "numbers":
            baseline[index] = self.value
        else:
            baseline[index] = (1 if self.value else -1) * np.log(self.num + 1) if self.num else 0.0


def _scores(
    parts: list[Any], inputs: np.ndarray, examples: Examples, bins: Sequence[Bins], counts: Sequence[int]
) -> np.ndarray:
    """Scores after some numbers of iterations, [counts, rows, outputs]."""
    result = np.zeros((len(counts), len(inputs), examples.num_outputs))
    for index, (part, own) in enumerate(zip(parts, bins, strict=True)):
        design = own.encoded(inputs)
        if isinstance(part, _Constant):
            baseline = np.zeros(examples.num_outputs)
            part.put(baseline, index)
            if examples.kind == "choice":
                result[:] = baseline
            else:
                result[:, :, index] = baseline[index]
            continue
        stages = part.staged_predict if examples.kind == "numbers" else part.staged_decision_function
        scores = np.stack([each for count, each in enumerate(stages(design), 1) if count in counts])
        if examples.kind != "choice":
            result[:, :, index] = scores
        else:
            result[:] = MISSING_CLASS
            both = scores[:, :, None] * [-0.5, 0.5] if scores.ndim == 2 else scores
            result[:, :, part.classes_.astype(np.int64)] = both
    return result


def _nodes(nodes: np.ndarray, times: float, bins: Bins | None) -> Nodes:
    """One of scikit-learn's trees, with thresholds of the inputs."""
    own = np.arange(len(nodes))
    is_leaf = nodes["is_leaf"].astype(bool)
    return Nodes(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"] if bins is None else bins.thresholds(nodes),
        left=np.where(is_leaf, own, nodes["left"].astype(np.int64)),
        right=np.where(is_leaf, own, nodes["right"].astype(np.int64)),
        value=times * nodes["value"][:, None],
        missing_left=nodes["missing_go_to_left"].astype(bool),
    )
