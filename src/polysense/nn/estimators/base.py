"""An estimator: a model of feature vectors that scikit-learn fits once and torch computes ever after.

Fitted numbers are buffers, so an estimator is saved with the weights, moves to a GPU, is exported, and needs neither
pickle nor scikit-learn at prediction. Buffers are empty until `fit`; what is loaded has the sizes that were saved.

Inputs are one column's feature vector after another, then per column whether it is missing. An absent column's
features are their means over the training rows, so that a row without it is the average row that is known to lack it;
trees that know what is missing get NaN.
Everything is computed in float64 from float32 inputs: a threshold of a tree lies between two float32 numbers, and
rounding it would send rows to the other side.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysense.config.base import Configured, Family
from polysense.nn.estimators.examples import Examples, FitRows

__all__ = ["Estimator", "EstimatorConfig", "ScoreKind"]

ScoreKind: TypeAlias = Literal["choice", "labels", "numbers"]
"""What scores are: logits of one of several, a logit for each yes or no, or standardized numbers."""


_MOST_INPUTS = 40_000_000
"""Rows times inputs that are fitted on, 320 MB; more rows are sampled."""


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig(Family, family="estimator", homes=("nn.estimators.*",)):
    """A fitted model of columns' feature vectors.

    Attributes:
        columns: The input columns that it reads; null: all that have features.
    """

    type: str
    columns: tuple[str, ...] | None = None

    def build(self, sizes: Mapping[str, int], kind: ScoreKind, num_outputs: int) -> Estimator:
        """Builds it, not yet fitted.

        Args:
            sizes: Per column that it reads how many features it has.
            kind: What its scores are.
            num_outputs: How many scores a row has.
        """
        assert self.builds is not None, f"no class names the config of the estimator {self.type!r}"
        built: Estimator = self.builds(self, sizes, kind, num_outputs)
        return built

    def seconds(self, rows: int, inputs: int, outputs: int, values: float | None = None) -> float:
        """About how long one core fits it, its cross-validation included; by default as long as a linear model.

        Args:
            rows: That it is fitted on.
            inputs: Numbers of each.
            outputs: Scores of each.
            values: Of a row's numbers how many are not 0 on average; None: all.
        """
        return 0.2 + 1e-6 * rows * min(rows, inputs if values is None else values) * outputs


_FOLDS_OF_FEW = 5


class Estimator(nn.Module, Configured, ABC):
    """Scores of rows from their columns' feature vectors.

    Attributes:
        columns: What it reads, in order.
        mean: float64 [features], over the training rows that have the column.
    """

    fitted_buffers: ClassVar[Mapping[str, torch.dtype]] = {}
    """The buffers that `fit` makes, whose sizes depend on the rows."""

    imputes: ClassVar[bool] = True
    """Whether a missing feature is its mean; else it is NaN."""

    mean: Tensor

    def __init__(self, config: EstimatorConfig, sizes: Mapping[str, int], kind: ScoreKind, num_outputs: int) -> None:
        super().__init__()
        del config
        self.sizes, self.columns = dict(sizes), tuple(sizes)
        self.kind, self.num_outputs = kind, num_outputs
        self.register_buffer("mean", torch.zeros(sum(sizes.values()), dtype=torch.float64))
        for name, dtype in self.fitted_buffers.items():
            self.register_buffer(name, torch.zeros(0, dtype=dtype))
        self.register_load_state_dict_pre_hook(_resize)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_check_loaded)  # type: ignore[no-untyped-call]

    @property
    def num_inputs(self) -> int:
        """Features, and one more per column."""
        return len(self.mean) + len(self.columns)

    @property
    def is_fitted(self) -> bool:
        """Whether there is anything to compute."""
        return all(self.get_buffer(name).numel() > 0 for name in self.fitted_buffers)

    # --- prediction ----------------------------------------------------------------------------------------------

    def design(
        self, features: Mapping[str, Float[Tensor, "batch _"]], present: Bool[Tensor, "batch columns"]
    ) -> Float[Tensor, "batch inputs"]:
        """The inputs: features, then per column 1 where it is missing."""
        values = torch.cat([features[name].float() for name in self.columns], dim=1).double()
        known = (
            torch.cat([present[:, i : i + 1].expand(-1, size) for i, size in enumerate(self.sizes.values())], dim=1)
            & values.isfinite()
        )
        missing = self.mean if self.imputes else torch.full_like(self.mean, torch.nan)
        return torch.cat([torch.where(known, values, missing), (~present).double()], dim=1)

    @abstractmethod
    def raw(self, design: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """What scikit-learn's estimator gives for the same inputs."""

    def scores(self, raw: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch outputs"]:
        """The raw numbers as scores, see `ScoreKind`; most are."""
        return raw

    def forward(
        self, features: Mapping[str, Float[Tensor, "batch _"]], present: Bool[Tensor, "batch columns"]
    ) -> Float[Tensor, "batch outputs"]:
        """Scores of rows; those of a row without any of the columns mean nothing.

        Args:
            features: Per column of `columns`.
            present: Which rows have which of `columns`.
        """
        device = present.device
        if self.mean.device != device:  # a device without float64
            features = {name: features[name].to(self.mean.device) for name in self.columns}
            present = present.to(self.mean.device)
        return self.scores(self.raw(self.design(features, present))).float().to(device)

    # --- fitting -------------------------------------------------------------------------------------------------

    def fit(self, rows: FitRows) -> Float[np.ndarray, "rows outputs"]:
        """Fits it, with what there is to choose chosen by cross-validation.

        Args:
            rows: The training rows.

        Returns:
            Scores of each row by an estimator that was fitted without its fold; NaN in rows without a column, and where
            there is one row only. Where no row has a column it stays unfitted.
        """
        means = [_means(rows.features[name], rows.present[:, i]) for i, name in enumerate(self.columns)]
        self.mean.copy_(torch.from_numpy(np.concatenate(means).astype(np.float32).astype(np.float64)))
        usable = rows.present.any(axis=1) & (rows.weights > 0) & np.isfinite(rows.targets).any(axis=1)
        if (share := _MOST_INPUTS / max(usable.sum() * self.num_inputs, 1)) < 1:
            usable &= np.random.default_rng(rows.seed).random(len(usable)) < share
        out_of_fold = np.full((len(usable), self.num_outputs), np.nan)
        if not usable.any():  # there is nothing to compute
            return out_of_fold
        folds = rows.folds[usable]
        if len(np.unique(folds)) < 2:  # of a column that few rows have: better folds of rows than none
            folds = np.arange(len(folds)) % _FOLDS_OF_FEW
        ends = np.cumsum([0, *self.sizes.values()]).tolist()
        # Of the usable rows alone and in no other copy: of many rows and inputs it is the most that a fit holds.
        features = {name: torch.from_numpy(np.asarray(rows.features[name])[usable]) for name in self.columns}
        design = self.design(features, torch.from_numpy(rows.present[usable])).cpu().numpy()
        del features
        examples = Examples(
            design=design,
            targets=rows.targets[usable],
            weights=rows.weights[usable] / rows.weights[usable].mean(),
            folds=folds,
            blocks=tuple(slice(start, end) for start, end in itertools.pairwise(ends)),
            kind=self.kind,
            num_outputs=self.num_outputs,
            seed=rows.seed,
        )
        scores = self.fit_examples(examples)
        if len(examples) > 1:  # else no row was judged by an estimator that had not seen it
            out_of_fold[usable] = scores
        return out_of_fold

    @abstractmethod
    def fit_examples(self, examples: Examples) -> Float[np.ndarray, "rows outputs"]:
        """Puts in the fitted buffers; returns out-of-fold scores."""

    def put(self, **arrays: np.ndarray) -> None:
        """Sets fitted buffers."""
        for name, array in arrays.items():
            value = torch.from_numpy(np.ascontiguousarray(array)).to(self.fitted_buffers[name])
            self.register_buffer(name, value.to(self.mean.device))
        self.check_buffers()

    def check_buffers(self) -> None:
        """Raises ValueError where loaded buffers belong to no estimator."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Estimator:
        if fn(torch.empty(0)).device.type == "mps":  # which has no float64: what is fitted stays in main memory
            return self
        moved: Estimator = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return moved


def _means(features: Float[np.ndarray, "rows _"], present: Bool[np.ndarray, " rows"]) -> Float[np.ndarray, " _"]:
    """The mean of each feature over the rows that have it; 0 where none has."""
    known = np.isfinite(features) & present[:, None]
    total = np.where(known, features, 0.0).sum(axis=0, dtype=np.float64)
    result: np.ndarray = total / np.maximum(known.sum(axis=0), 1)
    return result


def _resize(module: Estimator, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Makes room for what is loaded."""
    for name, dtype in module.fitted_buffers.items():
        if (given := state.get(prefix + name)) is not None:
            empty = torch.zeros(given.shape, dtype=dtype, device=module.get_buffer(name).device)
            module.register_buffer(name, empty)


def _check_loaded(module: nn.Module, _: object) -> None:
    assert isinstance(module, Estimator)
    if not module.mean.is_meta and module.is_fitted:
        module.check_buffers()
