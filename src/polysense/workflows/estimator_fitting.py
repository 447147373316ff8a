"""Fit a model's estimators on its training rows, once its networks are trained.

Feature vectors are collected as prediction gives them: in evaluation mode, without augmentation. What there is to
choose is chosen by cross-validation on the training rows alone, with groups kept whole where the split keeps them, and
the scores of rows that an estimator was not fitted on stay behind for whoever weighs the experts. Large tables are
sampled, so that the time is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from polysense.core.allocator import release_freed_memory
from polysense.core.logs import get_logger
from polysense.core.random import permutation
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.ensemble_weights import EnsembleWeights, fit_ensemble_weights
from polysense.nn.estimators.base import EstimatorConfig
from polysense.nn.estimators.examples import OutOfFold
from polysense.nn.held_out import HeldOut, Outputs, experts_of, read_held_out
from polysense.nn.model import MultimodalModel
from polysense.recipe import Recipe
from polysense.training.distributed import Distributed
from polysense.training.time_plan import Deadline
from polysense.workflows.evaluating import fitted_processor
from polysense.workflows.feature_reading import make_read_features
from polysense.workflows.feature_rows import FeatureReader, FeatureRows, FeatureSource, collect_features
from polysense.workflows.score_statistics import out_of_fold_score, plain_head

__all__ = ["MOST_ROWS", "FittedExperts", "affordable_rows", "fit_estimators", "fit_experts", "fits_estimators"]

MOST_ROWS = 20_000
"""Training rows that estimators are fitted on: beyond, networks learn what simple models can't."""

_MOST_SECONDS = 120.0
"""That one of them may take, by a guess from sizes alone, so that it is the same on any machine; of more rows it is
fitted on a sample."""

_FEWEST_ROWS = 500
"""That a sample has."""

_AT_ONCE = 1.0
"""Seconds of an idle core up to which one may take all that is left: on a busy machine a network that had no time knows
nothing (10 classes of sounds: accuracy .10), where a linear model of the same minute has .74. So one of them, that of
most columns, is fitted in any case."""

_SHORTEST = 0.1
"""Seconds of an idle core from which on a fit says how good the guesses are."""

_SHARE_OF_TIME = 0.6
"""Of what is left of a run's time that estimators may take."""

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedExperts:
    """What fitting the experts leaves behind.

    Attributes:
        weights: Per target what each expert counts.
        out_of_fold: Per target the estimators' scores of training rows that they were not fitted on.
        rows: Per target what the estimators were fitted on; in the main process.
    """

    weights: Mapping[str, EnsembleWeights] = field(default_factory=dict)
    out_of_fold: Mapping[str, OutOfFold] = field(default_factory=dict)
    rows: Mapping[str, FeatureRows] = field(default_factory=dict)


def fit_experts(
    model: MultimodalModel,
    recipe: Recipe,
    train: TableDataset,
    validation: TableDataset | None,
    distributed: Distributed,
    judged: Outputs | None = None,
    deadline: Deadline | None = None,
) -> FittedExperts:
    """Fits the estimators of every ensemble head and then its weights, if a head asks for that.

    Args:
        model: Whose networks are trained.
        recipe: The run's.
        train: The training rows.
        validation: The validation rows, if there are any.
        distributed: This process among its peers.
        judged: What models that did not see them say of rows, in the place of validation rows.
        deadline: When the run must be over; estimators that there is no time for are left out.
    """
    heads = [head for head in model.heads if isinstance(head, EnsembleHead) and head.fits_weights]
    if not heads:
        return FittedExperts()
    model.eval()
    datasets = [dataset for dataset in (train, validation) if dataset is not None]
    make_read_features(model, datasets, to_fit=True)
    out_of_fold, rows = fit_estimators(
        model,
        recipe,
        train,
        distributed,
        deadline,
    )
    held_out, kind = None, "validation" if judged is None else "out-of-fold"
    if judged is not None:
        held_out = HeldOut(losses={}, experts=experts_of(judged))
    elif validation is not None:
        batches = PredictLoader(validation, model.schema, prediction=recipe.prediction)
        held_out = read_held_out(model, batches, losses=False)
    elif not out_of_fold:
        _log.warning("there are no validation rows to fit the fusion weights on: they stay as they were")
    weights = fit_ensemble_weights(model, held_out, out_of_fold, kind=kind)
    for target, fitted in weights.items():
        _log.info("%s: %s", target, fitted)
    make_read_features(model, datasets)
    return FittedExperts(weights=weights, out_of_fold=out_of_fold, rows=rows)


def fit_estimators(
    model: MultimodalModel,
    recipe: Recipe,
    dataset: TableDataset,
    distributed: Distributed,
    deadline: Deadline | None = None,
) -> tuple[dict[str, OutOfFold], dict[str, FeatureRows]]:
    """Fits the estimators of every ensemble head.

    Args:
        model: In evaluation mode.
        recipe: The run's.
        dataset: The training rows, with targets.
        distributed: The main process fits, the others get what it fitted.
        deadline: When the run must be over; those that are not expected to be fitted by then are fitted on fewer rows,
            or stay unfitted, the slowest ones first.

    Returns:
        Per target its estimators' scores of training rows that they were not fitted on (NaN of one that stays
        unfitted), and in the main process what they were fitted on.
    """
    heads = _heads_with_estimators(model)
    if not heads:
        return {}, {}
    seed = recipe.training.seed
    result: dict[str, OutOfFold] = {}
    collected: dict[str, FeatureRows] = {}
    if distributed.is_main:
        if len(dataset) > MOST_ROWS:
            chosen = np.sort(permutation(len(dataset), seed, "estimators")[:MOST_ROWS])
            _log.info("estimators are fitted on %d of %d training rows", MOST_ROWS, len(dataset))
            dataset = TableDataset(dataset.table.select(chosen), fitted_processor(dataset))
        collected = collect_features(
            FeatureSource(schema=model.schema, prediction=recipe.prediction, model=model),
            dataset,
            {
                name: FeatureReader(head=head.inner, columns=head.reads_features, excludes=head.excludes)
                for name, head in heads.items()
            },
            recipe.data.split.grouping,
        )
        for name, head in heads.items():
            result[name] = _fitted(head, recipe, collected[name], seed, deadline)
    for name, head in heads.items():
        state = {key: value.cpu() for key, value in head.estimators.state_dict().items()}
        received = distributed.from_main((state, result.get(name)))
        if not distributed.is_main:
            head.estimators.load_state_dict(received[0])
            assert received[1] is not None
            result[name] = received[1]
    return result, collected


def fits_estimators(model: MultimodalModel) -> bool:
    """Whether estimators are to be fitted once the networks are trained."""
    return bool(_heads_with_estimators(model))


def _heads_with_estimators(model: MultimodalModel) -> dict[str, EnsembleHead]:
    return {
        name: head
        for name, head in model.by_target().items()
        if isinstance(head, EnsembleHead) and head.fits_weights and head.named_estimators()
    }


def _fitted(head: EnsembleHead, recipe: Recipe, rows: FeatureRows, seed: int, deadline: Deadline | None) -> OutOfFold:
    """Fits a head's estimators, first one that is fitted in any case, then the fastest; gives their out-of-fold
    scores."""
    # What follows, weights and baselines, gets the rest.
    part = None if deadline is None else deadline.part(_SHARE_OF_TIME)
    folds = rows.folds(head.inner, seed)
    target, plain = head.target, plain_head(recipe.model.heads[head.target.name], head.target)
    scores, estimators, configs = {}, head.named_estimators(), head.estimator_configs
    expected, num_rows = {}, {}
    for name, each in estimators.items():
        config, sizes = configs[name], (each.num_inputs, each.num_outputs, rows.num_values(each.columns))
        num_rows[name] = affordable_rows(config, len(rows.usable(each.columns)), *sizes, seconds=_MOST_SECONDS)
        expected[name] = config.seconds(num_rows[name], *sizes)
    slower = 1.0  # than guessed, as the ones before have shown
    order = sorted(estimators, key=lambda each: expected[each])
    at_once = [each for each in order if expected[each] <= _AT_ONCE] or order[:1]
    first = max(at_once, key=lambda each: len(estimators[each].columns))
    for name in sorted(order, key=lambda each: each != first):
        estimator = estimators[name]
        scores[name] = np.full((len(rows), estimator.num_outputs), np.nan)
        what = f"the simple model {name!r} of {target.name}"
        if deadline is not None and part is not None:
            limit = deadline if expected[name] <= _AT_ONCE else part
            sizes = (estimator.num_inputs, estimator.num_outputs, rows.num_values(estimator.columns))
            seconds = limit.left / (slower * limit.slowness)
            fitting = affordable_rows(configs[name], num_rows[name], *sizes, seconds=seconds)
            work = slower * configs[name].seconds(fitting, *sizes)
            if name != first and not limit.allows_work(work, what):
                continue
            num_rows[name] = fitting
        usable = len(rows.usable(estimator.columns))
        of = f" of {usable:,}, since all would take too long," if num_rows[name] < usable else ""
        start = time.perf_counter()
        scores[name] = estimator.fit(rows.to_fit(estimator.columns, folds, num_rows[name], seed, name))
        release_freed_memory()  # so that the peaks of simple models and of what follows them do not add up
        seconds = time.perf_counter() - start
        if deadline is not None:
            slower = max(slower, seconds / (max(expected[name], _SHORTEST) * deadline.slowness))
        score = None if plain is None else out_of_fold_score(plain, scores[name], rows.truth)
        _log.info(
            "%s: %s: fitted on %s training rows%s with %d features in %.1f s%s", target.name, name,
            f"{num_rows[name]:,}", of, estimator.num_inputs, seconds, "" if score is None else f"; {score}",
        )  # fmt: skip
    return OutOfFold(scores=scores, truth=rows.truth, weights=rows.row_weights)


def affordable_rows(
    config: EstimatorConfig, most: int, inputs: int, outputs: int, values: float, *, seconds: float
) -> int:
    """The rows that a simple model is fitted on in some seconds; some hundreds at least.

    Args:
        config: The model's.
        most: Rows that there are.
        inputs: See `EstimatorConfig.seconds`.
        outputs: Likewise.
        values: Likewise.
        seconds: That it may take, as guessed.
    """
    num_rows = most
    while num_rows > _FEWEST_ROWS and config.seconds(num_rows, inputs, outputs, values) > seconds:
        num_rows = max(_FEWEST_ROWS, num_rows * 3 // 4)
    return num_rows
