"""Linear estimator: ridge regression for numbers, logistic regression with an L2 penalty for the rest.

Penalties see scales, so inputs are scaled first: a feature that most rows have is standardized, and a block of sparse
ones (counts of words, which are mostly 0) is divided by one number, because standardizing blows rare words up. Blocks
of different sizes either count by their features, or all alike (`balanced`); cross-validation chooses, with the
strength of the penalty. Rows are rotated to their principal axes, of which there are no more than rows: a penalty of
squares does not change by it, 10,000 words of 400 rows fit in a second, and the curvature is known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from polysense.config.limits import PositiveFloat
from polysense.nn.estimators.base import Estimator, EstimatorConfig
from polysense.nn.estimators.examples import MISSING_CLASS, Examples, mean_loss
from polysense.nn.estimators.logistic import LogisticPath

__all__ = ["LinearEstimator", "LinearEstimatorConfig"]

_STRENGTHS = tuple(0.1 * 4.0**i for i in range(7))
"""1 / penalty, over rows of unit norm: from 0.1, for a few rows of noise, to 410, almost none."""

_PATIENCE = 2
"""Strengths without a lower loss after which no higher ones are tried: they overfit more, and take longest."""

_LEAST_SPREAD = 1e-10
"""Of the largest axis, below which one is what rounding leaves of nothing."""

_MANY = 2e8
"""Rows times inputs times outputs from which settings are chosen on fewer rows: some minutes of a core."""


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
        config = self._config
        choices = (config.balanced,) if config.balanced is not None else (False, True)
        if len(_scales(examples, center)[1]) == 1:
            choices = choices[:1]
        strengths = _STRENGTHS if config.strength is None else (config.strength,)
        chosen = _affordable(examples)
        best: tuple[float, bool, float] | None = None
        for balanced in choices:
            rotated, back, norm = space = _rotated(examples, center, balanced)
            folds = list(examples.splits())
            paths = [_path(examples, rotated, train[chosen[train]], strengths, norm) for train, _ in folds]
            lowest, waited = np.inf, 0
            # All folds go along the path together, so that no penalty is tried that their common loss is long past.
            for strength in strengths:
                scores = np.zeros((len(examples), self.num_outputs))
                for path, (_, test) in zip(paths, folds, strict=True):
                    weight, bias = next(path)
                    scores[test] = rotated[test] @ weight + bias
                loss, waited = mean_loss(scores, examples), waited + 1
                if loss < lowest:
                    lowest, waited = loss, 0
                if best is None or loss < best[0]:
                    best, kept, best_space = (loss, balanced, strength), scores, space
                if waited == _PATIENCE:
                    break
        assert best is not None
        _, balanced, strength = best
        rotated, back, norm = best_space
        weight, bias = next(_path(examples, rotated, np.arange(len(examples)), (strength,), norm))
        self.put(center=center, coefficients=(back @ weight).T, intercept=bias)
        self.chosen = {"strength": strength, "balanced": balanced}
        return kept


def _affordable(examples: Examples) -> np.ndarray:
    """Which rows settings are chosen with: all, or so many of a large table that it takes minutes."""
    num, inputs = examples.design.shape
    share = min(1.0, _MANY / (num * min(num, inputs) * max(examples.num_outputs, 1)))
    if share == 1.0:
        return np.ones(num, dtype=bool)
    draws = np.random.default_rng(examples.seed).random(num)
    chosen: np.ndarray = draws < max(share, 1_000 / num)
    return chosen


def _scales(examples: Examples, center: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """What each input is divided by, and the blocks of inputs that are scaled alike."""
    weights = examples.weights / examples.weights.sum()
    design = examples.design
    variance = np.maximum(weights @ design**2 - center**2, 0.0)
    # What rounding leaves of a constant is no spread.
    std = np.where(variance > 1e-12 * np.maximum(center**2, 1e-30), np.sqrt(variance), 0.0)
    scale = np.where(std > 0, std, 1.0)
    blocks = []
    indicators = np.arange(examples.blocks[-1].stop, design.shape[1])
    for block in examples.blocks:
        inputs = np.arange(block.start, block.stop)
        inputs = inputs[std[inputs] > 0]
        sparse = (design[:, inputs] == 0).mean(axis=0) > 0.5
        # A yes or no is no count of words, and there are few of them.
        few = len(inputs) < 32
        for part, is_sparse in ((inputs[~sparse], False), (inputs[sparse], not few)):
            if not len(part):
                continue
            if is_sparse:  # its rows have as large a norm as the number of features that a row has
                entries = max(float((design[:, part] != 0).sum(axis=1).mean()), 1.0)
                scale[part] = np.sqrt(variance[part].sum() / entries)
            blocks.append(part)
    indicators = indicators[std[indicators] > 0]
    if len(indicators):
        blocks.append(indicators)
    return scale, blocks or [np.arange(0)]


def _rotated(examples: Examples, center: np.ndarray, balanced: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Scaled inputs [rows, dimensions], the way back [inputs, dimensions], and the mean squared norm of a row."""
    scale, blocks = _scales(examples, center)
    scale = scale.copy()
    weights = examples.weights / examples.weights.sum()
    used = np.concatenate(blocks)
    scaled = (examples.design[:, used] - center[used]) / scale[used]
    if balanced:
        position = 0
        for block in blocks:
            part = slice(position, position + len(block))
            size = np.sqrt(max(float(weights @ (scaled[:, part] ** 2).sum(axis=1)), 1e-12))
            scaled[:, part] /= size
            scale[block] *= size
            position += len(block)
    norm = max(float(weights @ (scaled**2).sum(axis=1)), 1e-12)
    # Along the principal axes, of which there are no more than rows: the same model, whose curvature is known.
    wide = scaled.shape[1] > len(scaled)
    values, vectors = np.linalg.eigh(scaled @ scaled.T if wide else scaled.T @ scaled)
    kept = values > max(values[-1] * _LEAST_SPREAD, 0.0) if len(values) else np.zeros(0, dtype=bool)
    axes = scaled.T @ (vectors[:, kept] / np.sqrt(values[kept])) if wide else vectors[:, kept]
    back = np.zeros((examples.design.shape[1], axes.shape[1]))
    back[used] = axes / scale[used][:, None]
    return vectors[:, kept] * np.sqrt(values[kept]) if wide else scaled @ axes, back, norm


def _path(
    examples: Examples, rotated: np.ndarray, rows: np.ndarray, strengths: tuple[float, ...], norm: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Per strength the weights [dimensions, outputs] and the bias."""
    if examples.kind == "numbers":
        return iter(_ridge(examples, rotated, rows, strengths, norm))
    return _logistic(examples, rotated, rows, strengths, norm)


def _logistic(
    examples: Examples, rotated: np.ndarray, rows: np.ndarray, strengths: tuple[float, ...], norm: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    outputs = examples.num_outputs
    parts = []
    for column in range(examples.targets.shape[1]):
        targets = examples.targets[rows, column]
        known = rows[np.isfinite(targets)]
        classes, targets = np.unique(targets[np.isfinite(targets)].astype(np.int64), return_inverse=True)
        path = None if len(classes) < 2 else LogisticPath(rotated[known], targets, examples.weights[known])
        parts.append((classes, len(targets), path))
    for strength in strengths:
        weight, bias = np.zeros((rotated.shape[1], outputs)), np.zeros(outputs)
        for column, (classes, num, path) in enumerate(parts):
            if path is None:
                _constant(bias, classes, column, examples.kind, num)
                continue
            # Each starts from the one before, with a stronger penalty.
            own, intercept = path.fitted(penalty=norm / strength)
            if examples.kind == "labels":
                weight[:, column], bias[column] = own[:, 0], intercept[0]
                continue
            bias[:] = MISSING_CLASS
            halves = np.array([-0.5, 0.5]) if len(classes) == 2 else np.ones(len(classes))
            weight[:, classes], bias[classes] = own * halves, intercept * halves
        yield weight, bias


def _constant(bias: np.ndarray, classes: np.ndarray, column: int, kind: str, num: int) -> None:
    """The bias where all rows have one answer: as if there had been one more of either."""
    if kind == "choice":
        bias[:] = MISSING_CLASS
        bias[classes] = 0.0
    elif len(classes):
        bias[column] = (1 if classes[0] else -1) * np.log(num + 1)


def _ridge(
    examples: Examples, rotated: np.ndarray, rows: np.ndarray, strengths: tuple[float, ...], norm: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    outputs = examples.num_outputs
    results = [(np.zeros((rotated.shape[1], outputs)), np.zeros(outputs)) for _ in strengths]
    for column in range(outputs):
        targets = examples.targets[rows, column]
        known = rows[np.isfinite(targets)]
        if not len(known):
            continue
        weights, values = examples.weights[known], examples.targets[known, column]
        share = weights / weights.sum()
        means, mean = share @ rotated[known], share @ values
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
        for (weight, bias), strength in zip(results, strengths, strict=True):
            # The same grid as the logistic one's, whose loss has a curvature of at most a quarter.
            weight[:, column] = right @ (moment / (np.maximum(spectrum, 0.0) + 4 * norm / strength))
            bias[column] = mean - means @ weight[:, column]
    return results
