"""The best simple model beside the variants of a comparison: one that no network has a part in.

Linear models, boosting and a forest are fitted on the training rows alone, and the best of them is chosen there, by
cross-validation; so neither the rows that select a variant nor those that judge it decide anything. Features that a
variant's frozen networks give are the same before any training, so none is needed. They are fitted once: what a
network's seed changes is no matter of theirs.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from polysense.bundle import Bundle
from polysense.config.codec import to_dict
from polysense.core.device import resolve_device
from polysense.core.files import replacing_folder
from polysense.core.json import json_object, json_text, read_json, write_json
from polysense.core.logs import get_logger
from polysense.core.version import VERSION
from polysense.data.tables.sources import Table
from polysense.errors import UserError
from polysense.evaluation.evaluator import score
from polysense.evaluation.simple_baselines import SimpleModel
from polysense.evaluation.target_metrics import headline_metric
from polysense.recipe import Recipe
from polysense.training.distributed import Distributed
from polysense.workflows.baseline_scores import simple_statistics
from polysense.workflows.comparison.trial import HELD_OUT
from polysense.workflows.estimator_fitting import FittedExperts, fit_estimators
from polysense.workflows.feature_reading import make_read_features
from polysense.workflows.finetune.transfer import begin
from polysense.workflows.fitted_data import fit_data
from polysense.workflows.score_statistics import takes_scores
from polysense.workflows.simple_baselines import fit_simple_baselines
from polysense.workflows.stored_features import store_features

__all__ = ["SIMPLE", "BestSimple", "best_simple"]

SIMPLE = "Best simple model"
"""What people call it."""

_RESULT = "result.json"

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, kw_only=True)
class BestSimple:
    """The best simple model of every target.

    Attributes:
        values: {split: {target/metric: value}}.
        chosen: Per target which one.
        out_of_fold: Per target its headline metric, over training rows that it was not fitted on.
        seconds: That fitting all of them took.
    """

    values: Mapping[str, Mapping[str, float]]
    chosen: Mapping[str, str]
    out_of_fold: Mapping[str, float]
    seconds: float

    @property
    def sentence(self) -> str:
        """Which it is and how it was chosen."""
        several = len(self.chosen) > 1
        each = [
            f"{model!r}{f' for {target}' if several else ''} ({self.out_of_fold[target]:.3f} out of fold)"
            for target, model in self.chosen.items()
        ]
        return (
            f"{SIMPLE}: {', '.join(each)}, chosen by cross-validation within the training rows from linear models, "
            "boosting and a forest over the columns' feature vectors; fitted once, so it is the same with every seed."
        )


def best_simple(recipe: Recipe, tables: Mapping[str, Table], folder: Path, table: str) -> BestSimple | None:
    """Fits and scores the simple models, unless the folder holds what they gave; None where there are none.

    Args:
        recipe: Whose feature vectors they read.
        tables: Per split.
        folder: Its own.
        table: What `fingerprint` says of the tables.
    """
    if not recipe.evaluation.simple_baselines or not all(map(takes_scores, recipe.model.heads.values())):
        return None
    plain = to_dict(recipe)
    settings = [plain[part] for part in ("data", "model", "prediction", "init_from")]
    for key in ("table", "validation", "test", "root"):
        settings[0].pop(key)
    content = [VERSION, table, recipe.training.seed, recipe.evaluation.simple_baseline_rows, *settings]
    identity = hashlib.sha256(json_text(content, sort_keys=True).encode()).hexdigest()
    known = _read(folder / _RESULT, identity)
    if known is not None:
        return known
    _log.info("simple models of the columns' feature vectors, beside the variants")
    try:
        result = _fitted(recipe, tables, folder)
    except UserError as error:
        _log.warning("no simple model stands beside the variants: %s", error)
        return None
    if result is not None:
        write_json(folder / _RESULT, {"identity": identity, **json_object(result)})
    return result


def _read(path: Path, identity: str) -> BestSimple | None:
    try:
        plain: dict[str, Any] = read_json(path, dict)
        if plain["identity"] != identity:
            return None
        return BestSimple(
            values={split: _numbers(each) for split, each in plain["values"].items()},
            chosen=dict(plain["chosen"]),
            out_of_fold=_numbers(plain["out_of_fold"]),
            seconds=float(plain["seconds"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _numbers(plain: Mapping[str, Any]) -> dict[str, float]:
    return {key: math.nan if value is None else float(value) for key, value in plain.items()}


def _fitted(recipe: Recipe, tables: Mapping[str, Table], folder: Path) -> BestSimple | None:
    start = time.monotonic()
    data = fit_data(recipe, tables)
    torch.manual_seed(recipe.training.seed)
    model = recipe.model.build(data.processor.schema)
    begin(model, recipe, data.start, folder, write=False)
    device = resolve_device(recipe.training.device, 0)
    model.to(device).eval()
    store_features(
        model,
        recipe.model.encoders,
        [data.train],
        mode=recipe.data.store,
        augmented=recipe.data.transforms,
        device=device,
    )
    make_read_features(model, [data.train], to_fit=True)
    out_of_fold, rows = fit_estimators(model, recipe, data.train, Distributed())
    with replacing_folder(folder / "bundle" / "processor") as part:
        data.processor.save(part)
    fit_simple_baselines(model, recipe, data.train, folder, FittedExperts(out_of_fold=out_of_fold, rows=rows))
    seconds = time.monotonic() - start
    bundle = Bundle(data.processor, model, recipe.model, to_dict(recipe), prediction=recipe.prediction)
    values: dict[str, dict[str, float]] = {}
    chosen: dict[str, SimpleModel] = {}
    for split in HELD_OUT:
        if split not in tables:
            continue
        values[split] = {}
        for name, each in simple_statistics(bundle, folder, tables[split]).items():
            target = bundle.schema.target(name)
            best = _best(each.models, headline_metric(target).higher_is_better)
            if best is None:
                continue
            chosen[name] = best
            evaluation = score((target,), each.rows, {name: each.statistics[best.name]}, bootstrap=0)
            values[split] |= evaluation.as_flat()
    if set(chosen) != set(recipe.model.heads):
        return None
    return BestSimple(
        values=values,
        chosen={name: best.name for name, best in chosen.items()},
        out_of_fold={name: best.out_of_fold for name, best in chosen.items()},
        seconds=seconds,
    )


def _best(models: Sequence[SimpleModel], higher_is_better: bool) -> SimpleModel | None:
    """By the score of training rows that each was not fitted on."""
    sign = 1.0 if higher_is_better else -1.0
    known = [model for model in models if math.isfinite(model.out_of_fold)]
    return max(known, key=lambda model: sign * model.out_of_fold, default=None)
