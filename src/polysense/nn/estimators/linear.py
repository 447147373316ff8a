"""Linear estimator: ridge regression for numbers, logistic regression with an L2 penalty for the rest.

Penalties see scales, so inputs are scaled first: a feature that most rows have is standardized, and a block of sparse
ones (counts of words, which are mostly 0) is divided by one number, because standardizing blows rare words up. Blocks
of different sizes either count by their features, or all alike (`balanced`); cross-validation chooses, with the
strength of the penalty. Rows are rotated to their principal axes (see `LinearInputs`): 10,000 words of 400 rows fit in
a second. Of many rows the words stay sparse, and some folds decide for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from polysense.config.limits import PositiveFloat
from polysense.nn.estimators.base import Estimator, EstimatorConfig
from polysense.nn.estimators.examples import MISSING_CLASS, Examples, mean_loss
from polysense.nn.estimators.inputs import LinearInputs, SparseInputs, principal_axes
from polysense.nn.estimators.logistic import TOLERANCE, LogisticPath

__all__ = ["LinearEstimator", "LinearEstimatorConfig"]

_STRENGTHS = tuple(0.1 * 4.0**i for i in range(7))
"""1 / penalty, over rows of unit norm: from 0.1, for a few rows of noise, to 410, almost none."""

_PATIENCE = 2
"""Strengths without a lower loss after which no higher ones are tried: they overfit more, and take longest."""

_MANY = 2e8
"""Rows times inputs that are not 0 times outputs from which settings are chosen on fewer rows: some minutes of a
core."""

_ROTATED = 1_000
"""Axes up to which sparse inputs are rotated too, which takes about a second."""

_SPARSE = 0.2
"""The share of values that are not 0, below which products of sparse inputs are the faster ones."""

_DECIDING_ROWS, _FEWEST_DECIDING = 3_000, 2
"""Judged rows that choose settings: of a large table the first folds decide, two at least, and the others are fitted
with what was chosen."""

_MOST_STEPS, _OF_RESIDUAL = 1_000, 0.01
"""Of conjugate gradients: how many, and the tolerance of what is left of the right side, in units of the other."""

_ROUGH = 1e-2
"""The tolerance until settings are chosen: scores are within .05 of the optimum's. On four tables it chose what exact
fits choose, in a quarter of the time; weak penalties, which are tried to see that they overfit, take the most steps."""


@dataclass(frozen=True, kw_only=True)
class LinearEstimatorConfig(EstimatorConfig):
    """Ridge or logistic regression on scaled features.

    Attributes:
        strength: 1 / penalty, for rows of unit norm; null chooses it by cross-validation.
        balanced: Whether every column counts alike, whatever its number of features; null chooses it.
    """

    type: Literal["linear"] = "linear"
    strength: PositiveFloat | None = None
    balanced: bool | None = None


class LinearEstimator(Estimator, config=LinearEstimatorConfig):
    """(x - center) W + b.

    Attributes:
        center: float64 [inputs].
        coefficients: float64 [outputs, inputs].
        intercept: float64 [outputs].
    """

    fitted_buffers: ClassVar[Mapping[str, torch.dtype]] = dict.fromkeys(
        ("center", "coefficients", "intercept"), torch.float64
    )

    center: Tensor
    coefficients: Tensor
    intercept: Tensor

    def __init__(self, config: LinearEstimatorConfig, *args: object) -> None:
        super().__init__(config, *args)  # type: ignore[arg-type]
        self._config = config

    def raw(self, design: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """The decision function; of two classes half of it, negative for the first."""
        return F.linear(design - self.center, self.coefficients, self.intercept)

    def check_buffers(self) -> None:
        shapes = tuple(self.center.shape), tuple(self.coefficients.shape), tuple(self.intercept.shape)
        expected = (self.num_inputs,), (self.num_outputs, self.num_inputs), (self.num_outputs,)
        if shapes != expected:
            raise ValueError(f"a linear estimator has tensors of {shapes}, expected {expected}")

    def fit_examples(self, examples: Examples) -> Float[np.ndarray, "rows outputs"]:
        weights = examples.weights / examples.weights.sum()
        center = weights @ examples.design
        config, scaling = self._config, _Scaling.of(examples, center)
        choices = (config.balanced,) if config.balanced is not None else (False, True)
        if len(scaling.blocks) == 1:
            choices = choices[:1]
        strengths = _STRENGTHS if config.strength is None else (config.strength,)
        folds = list(examples.splits())
        deciding, judged = folds, np.cumsum([len(test) for _, test in folds])
        if len(choices) * len(strengths) > 1:
            deciding = folds[: max(_FEWEST_DECIDING, int(np.searchsorted(judged, _DECIDING_ROWS)) + 1)]
        decided = np.concatenate([test for _, test in deciding]) if deciding else np.arange(len(examples))
        best: tuple[float, bool, float] | None = None
        for balanced in choices:
            space = _space(examples, center, scaling, balanced)
            chosen = _affordable(examples, space.inputs)
            paths = [_path(examples, space, train[chosen[train]]) for train, _ in deciding]
            lowest, waited = np.inf, 0
            # All folds go along the path together, so that no penalty is tried that their common loss is long past.
            for strength in strengths:
                scores = np.zeros((len(examples), self.num_outputs))
                for path, (_, test) in zip(paths, deciding, strict=True):
                    scores[test] = _scores(space, test, path(strength, _ROUGH))
                loss, waited = mean_loss(scores[decided], examples, decided), waited + 1
                if loss < lowest:
                    lowest, waited = loss, 0
                if best is None or loss < best[0]:
                    best, kept, best_space, best_paths = (loss, balanced, strength), scores, space, paths
                if waited == _PATIENCE:
                    break
        assert best is not None
        _, balanced, strength = best
        if best_space.tolerance < _ROUGH:
            for path, (_, test) in zip(best_paths, deciding, strict=True):
                kept[test] = _scores(best_space, test, path(strength, best_space.tolerance))
        for train, test in folds[len(deciding) :]:
            kept[test] = _scores(best_space, test, _path(examples, best_space, train)(strength, best_space.tolerance))
        weight, bias = _path(examples, best_space, np.arange(len(examples)))(strength, TOLERANCE)
        self.put(center=center, coefficients=best_space.coefficients(weight).T, intercept=bias)
        self.chosen = {"strength": strength, "balanced": balanced}
        return kept


def _affordable(examples: Examples, inputs: LinearInputs) -> np.ndarray:
    """Which rows settings are chosen with: all, or so many of a large table that it takes minutes."""
    num = len(examples)
    share = min(1.0, _MANY / max(inputs.num_values * examples.num_outputs, 1))
    if share == 1.0:
        return np.ones(num, dtype=bool)
    draws = np.random.default_rng(examples.seed).random(num)
    chosen: np.ndarray = draws < max(share, 1_000 / num)
    return chosen


@dataclass(frozen=True, eq=False, kw_only=True)
class _Scaling:
    """How inputs are scaled.

    Attributes:
        scale: What each is divided by.
        blocks: Those that are scaled alike.
        is_sparse: Of each block.
        squares: Of each block the mean squared norm of a row, once scaled.
    """

    scale: Float[np.ndarray, " inputs"]
    blocks: list[np.ndarray]
    is_sparse: list[bool]
    squares: list[float]

    @classmethod
    def of(cls, examples: Examples, center: Float[np.ndarray, " inputs"]) -> _Scaling:
        weights = examples.weights / examples.weights.sum()
        design = examples.design
        variance = np.maximum(np.einsum("r,ri,ri->i", weights, design, design) - center**2, 0.0)
        # What rounding leaves of a constant is no spread.
        std = np.where(variance > 1e-12 * np.maximum(center**2, 1e-30), np.sqrt(variance), 0.0)
        scale = np.where(std > 0, std, 1.0)
        blocks, is_sparse = list[np.ndarray](), list[bool]()
        indicators = np.arange(examples.blocks[-1].stop, design.shape[1])
        for block in examples.blocks:
            inputs = np.arange(block.start, block.stop)
            inputs = inputs[std[inputs] > 0]
            sparse = (design[:, inputs] == 0).mean(axis=0) > 0.5
            # A yes or no is no count of words, and there are few of them.
            few = len(inputs) < 32
            for part, own in ((inputs[~sparse], False), (inputs[sparse], not few)):
                if not len(part):
                    continue
                if own:  # its rows have as large a norm as the number of features that a row has
                    entries = max(float((design[:, part] != 0).sum(axis=1).mean()), 1.0)
                    scale[part] = np.sqrt(variance[part].sum() / entries)
                blocks.append(part)
                is_sparse.append(own)
        indicators = indicators[std[indicators] > 0]
        if len(indicators):
            blocks.append(indicators)
            is_sparse.append(False)
        if not blocks:
            blocks, is_sparse = [np.arange(0)], [False]
        squares = [float((variance[part] / scale[part] ** 2).sum()) for part in blocks]
        return cls(scale=scale, blocks=blocks, is_sparse=is_sparse, squares=squares)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Space:
    """Where a linear model is fitted.

    Attributes:
        inputs: Of all rows.
        norm: The mean squared norm of a row.
        num_inputs: Of the design.
        dense: The positions in it of those that are rotated.
        axes: Their way back, [dense, axes].
        sparse: The positions of the others.
        scale: What these are divided by.
    """

    inputs: LinearInputs
    norm: float
    num_inputs: int
    dense: np.ndarray
    axes: Float[np.ndarray, "dense axes"]
    sparse: np.ndarray
    scale: Float[np.ndarray, " sparse"]

    @property
    def tolerance(self) -> float:
        """Of the fits whose scores of unseen rows are kept; sparse inputs stay with rough ones."""
        return TOLERANCE if self.inputs.sparse is None else _ROUGH

    def coefficients(self, weight: Float[np.ndarray, "dimensions outputs"]) -> Float[np.ndarray, "inputs outputs"]:
        """What the design's centered inputs are multiplied by."""
        result = np.zeros((self.num_inputs, weight.shape[1]))
        result[self.dense] = self.axes @ weight[: self.axes.shape[1]]
        result[self.sparse] = weight[self.axes.shape[1] :] / self.scale[:, None]
        return result


def _space(examples: Examples, center: np.ndarray, scaling: _Scaling, balanced: bool) -> _Space:
    """The space of scaled inputs."""
    scale, weights = scaling.scale.copy(), examples.weights / examples.weights.sum()
    if balanced:
        for block, square in zip(scaling.blocks, scaling.squares, strict=True):
            scale[block] *= np.sqrt(max(square, 1e-12))
    used = np.concatenate(scaling.blocks)
    words = [block for block, own in zip(scaling.blocks, scaling.is_sparse, strict=True) if own]
    sparse = np.concatenate(words) if words else np.arange(0)
    values = None
    if min(len(examples), len(used)) > _ROTATED and 2 * len(sparse) > len(used):
        values = SparseInputs.of(examples.design[:, sparse] / scale[sparse], center[sparse] / scale[sparse])
    if values is None or values.density > _SPARSE:
        sparse, values = np.arange(0), None
    dense = used[~np.isin(used, sparse)]
    scaled = (examples.design[:, dense] - center[dense]) / scale[dense]
    norm = float(weights @ (scaled**2).sum(axis=1))
    if values is not None:
        norm += float(LinearInputs(np.zeros((len(examples), 0)), values).squares(weights).sum())
    rotated, axes = principal_axes(scaled)
    return _Space(
        inputs=LinearInputs(rotated, values),
        norm=max(norm, 1e-12),
        num_inputs=examples.design.shape[1],
        dense=dense,
        axes=axes / scale[dense][:, None],
        sparse=sparse,
        scale=scale[sparse],
    )


def _scores(
    space: _Space, rows: np.ndarray, fitted: tuple[np.ndarray, np.ndarray]
) -> Float[np.ndarray, "rows outputs"]:
    """What fitted weights and biases say of rows."""
    weight, bias = fitted
    result: np.ndarray = space.inputs.rows(rows).times(weight) + bias
    return result


_Path: TypeAlias = Callable[[float, float], tuple[np.ndarray, np.ndarray]]
"""The weights [dimensions, outputs] and the biases of a strength, to a tolerance. Each starts from the one before, so
strengths are asked for from the lowest on."""


def _path(examples: Examples, space: _Space, rows: np.ndarray) -> _Path:
    if examples.kind != "numbers":
        return _logistic(examples, space, rows)
    if space.inputs.sparse is None:
        return _ridge(examples, space, rows)
    return _sparse_ridge(examples, space, rows)


def _logistic(examples: Examples, space: _Space, rows: np.ndarray) -> _Path:
    outputs = examples.num_outputs
    parts = []
    for column in range(examples.targets.shape[1]):
        targets = examples.targets[rows, column]
        known = rows[np.isfinite(targets)]
        classes, targets = np.unique(targets[np.isfinite(targets)].astype(np.int64), return_inverse=True)
        path = None if len(classes) < 2 else LogisticPath(space.inputs.rows(known), targets, examples.weights[known])
        parts.append((classes, len(targets), path))

    def fitted(strength: float, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        weight, bias = np.zeros((space.inputs.num_dimensions, outputs)), np.zeros(outputs)
        for column, (classes, num, path) in enumerate(parts):
            if path is None:
                _constant(bias, classes, column, examples.kind, num)
                continue
            own, intercept = path.fitted(penalty=space.norm / strength, tolerance=tolerance)
            if examples.kind == "labels":
                weight[:, column], bias[column] = own[:, 0], intercept[0]
                continue
            bias[:] = MISSING_CLASS
            halves = np.array([-0.5, 0.5]) if len(classes) == 2 else np.ones(len(classes))
            weight[:, classes], bias[classes] = own * halves, intercept * halves
        return weight, bias

    return fitted


def _constant(bias: np.ndarray, classes: np.ndarray, column: int, kind: str, num: int) -> None:
    """The bias where all rows have one answer: as if there had been one more of either."""
    if kind == "choice":
        bias[:] = MISSING_CLASS
        bias[classes] = 0.0
    elif len(classes):
        bias[column] = (1 if classes[0] else -1) * np.log(num + 1)


def _known(examples: Examples, rows: np.ndarray, column: int) -> np.ndarray:
    """Of some rows those that have an output's number."""
    known: np.ndarray = rows[np.isfinite(examples.targets[rows, column])]
    return known


def _penalty(space: _Space, strength: float) -> float:
    """Of ridge regression: the same grid as the logistic one's, whose loss has a curvature of at most a quarter."""
    return 4 * space.norm / strength


def _ridge(examples: Examples, space: _Space, rows: np.ndarray) -> _Path:
    """Exact whatever the tolerance: along the axes of its rows each strength is a division."""
    outputs, rotated = examples.num_outputs, space.inputs.dense
    parts = dict[int, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]]()
    for column in range(outputs):
        known = _known(examples, rows, column)
        if not len(known):
            continue
        weights, values = examples.weights[known], examples.targets[known, column]
        share = weights / weights.sum()
        means, mean = share @ rotated[known], float(share @ values)
        roots = np.sqrt(weights)
        centered = (rotated[known] - means) * roots[:, None]
        residual = (values - mean) * roots
        if centered.shape[1] <= len(centered):
            spectrum, vectors = np.linalg.eigh(centered.T @ centered)
            moment = vectors.T @ (centered.T @ residual)
            right = vectors
        else:
            spectrum, vectors = np.linalg.eigh(centered @ centered.T)
            moment = vectors.T @ residual
            right = centered.T @ vectors
        parts[column] = right, moment, np.maximum(spectrum, 0.0), means, mean

    def fitted(strength: float, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        weight, bias = np.zeros((rotated.shape[1], outputs)), np.zeros(outputs)
        for column, (right, moment, spectrum, means, mean) in parts.items():
            weight[:, column] = right @ (moment / (spectrum + _penalty(space, strength)))
            bias[column] = mean - means @ weight[:, column]
        return weight, bias

    return fitted


def _sparse_ridge(examples: Examples, space: _Space, rows: np.ndarray) -> _Path:
    """By conjugate gradients, each strength from the one before; no matrix of inputs by inputs is made."""
    from scipy.sparse.linalg import LinearOperator, cg

    outputs, num = examples.num_outputs, space.inputs.num_dimensions
    known = [_known(examples, rows, column) for column in range(outputs)]
    parts = [space.inputs.rows(own) for own in known]
    points = np.zeros((num, outputs))

    def fitted(strength: float, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        bias, penalty = np.zeros(outputs), _penalty(space, strength)
        for column, (own, inputs) in enumerate(zip(known, parts, strict=True)):
            if not len(own):
                continue
            weights, values = examples.weights[own], examples.targets[own, column]
            total, mean = weights.sum(), float(weights @ values / weights.sum())
            means = inputs.transposed_times(weights[:, None])[:, 0] / total

            def curvature(
                point: np.ndarray,
                inputs: LinearInputs = inputs,
                weights: np.ndarray = weights,
                means: np.ndarray = means,
            ) -> np.ndarray:
                point = point.reshape(-1)
                scores = inputs.times(point[:, None]) - means @ point
                moved: np.ndarray = inputs.transposed_times(weights[:, None] * scores)[:, 0]
                return moved - means * float(weights @ scores[:, 0]) + penalty * point

            moment = inputs.transposed_times((weights * (values - mean))[:, None])[:, 0]
            inverse = 1 / (np.maximum(inputs.squares(weights) - total * means**2, 0.0) + penalty)
            points[:, column], _ = cg(
                LinearOperator((num, num), matvec=curvature, dtype=np.float64),
                moment,
                x0=points[:, column],
                rtol=_OF_RESIDUAL * tolerance,
                maxiter=_MOST_STEPS,
                M=LinearOperator((num, num), matvec=lambda each, inverse=inverse: inverse * each.reshape(-1)),
            )
            bias[column] = mean - means @ points[:, column]
        return points.copy(), bias

    return fitted
