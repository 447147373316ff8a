"""Training of one model on split tables: fitted preprocessing, the loop with its validation, the saved bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from polysense.bundle import Bundle
from polysense.config.codec import to_dict
from polysense.core.allocator import keep_freed_memory
from polysense.core.batch import Batch
from polysense.core.device import resolve_device
from polysense.core.files import replacing_folder
from polysense.core.json import read_json
from polysense.core.logs import get_logger
from polysense.core.random import permutation
from polysense.core.sample import Unreadable
from polysense.data.augmentation.augment import augment
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader, TrainLoader
from polysense.data.batches.sampling import ClassSamplerConfig
from polysense.data.batches.token_counts import count_tokens
from polysense.data.recipe_paths import path_from
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError
from polysense.evaluation.target_metrics import metrics_of
from polysense.nn.expert_parts import why_experts_share
from polysense.nn.model import MultimodalModel
from polysense.recipe import Recipe
from polysense.reports.reading import Reading
from polysense.training.callbacks.progress import ProgressBar
from polysense.training.callbacks.reward_hacking import RewardHacking
from polysense.training.callbacks.tensorboard import TensorBoard
from polysense.training.callbacks.text_log import logged_afterwards
from polysense.training.config import TrainingConfig
from polysense.training.distributed import Distributed
from polysense.training.run import TrainResult
from polysense.training.state import has_checkpoint
from polysense.training.time_plan import Deadline, TimeLimit
from polysense.training.trainer import Trainer, default_callbacks
from polysense.workflows.calibration import JudgedOutputs, calibrate, calibrate_on
from polysense.workflows.candidates import choosing
from polysense.workflows.estimator_fitting import fit_experts, fits_estimators
from polysense.workflows.expert_weights import ExpertWeights
from polysense.workflows.feature_reading import FeatureReading, make_read_features
from polysense.workflows.feature_time import (
    keep_num_rows,
    kept_num_rows,
    part_of,
    seconds_of_features,
    store_in_time,
)
from polysense.workflows.finetune.transfer import Start, begin
from polysense.workflows.fitted_data import FittedData, fit_data, read_settings
from polysense.workflows.head_fitting import fit_heads, selection_metrics
from polysense.workflows.head_warm_up import warm_up
from polysense.workflows.imputation.plan import (
    described,
    keep_imputer,
    rows_sketched,
)
from polysense.workflows.objectives import begin_objectives
from polysense.workflows.plan import rows_afterwards
from polysense.workflows.reading import keep_reading
from polysense.workflows.simple_baselines import expected_seconds, fit_simple_baselines
from polysense.workflows.stored_features import store_features
from polysense.workflows.stored_views import StoredViews
from polysense.workflows.time_owed import BUNDLE, CALIBRATION, begun_deadline
from polysense.workflows.training_rows import batching_of, partners_of, sampler_of
from polysense.workflows.validation import Validation

__all__ = ["train_model"]

_log = get_logger("polysense.workflows")

# Training rows at least, where a balance of columns measures losses.
_MEASURED_ROWS = 512
# Of a run's time that is kept for simple models; those of a report are left out where it is not enough.
_MOST_FOR_ESTIMATORS = 0.3


def train_model(
    recipe: Recipe,
    tables: Mapping[str, Table],
    folder: Path,
    *,
    resume: bool = False,
    progress: bool = True,
    distributed: Distributed | None = None,
    data: FittedData | None = None,
    save: bool = True,
    resume_hint: str | None = None,
    deadline: Deadline | None = None,
    name: str | None = None,
    reading: Callable[[], Reading] = Reading,
    judged: JudgedOutputs | None = None,
) -> tuple[Bundle, TrainResult, list[Unreadable]]:
    """Fits preprocessing, builds and trains the model, saves the bundle.

    Args:
        recipe: What to do.
        tables: "train", and perhaps "validation".
        folder: The run's folder.
        resume: Go on from the folder's last checkpoint.
        progress: Whether to show progress.
        distributed: This process among its peers.
        data: What `fit_data` gave for this recipe and these tables, where several trainings share it.
        save: Whether to save the bundle.
        resume_hint: What a user must do to resume, for the message after Ctrl-C; None for `Trainer`'s.
        deadline: When the run must be over, its evaluation too; None: `training.time` from now on, where it is set.
        name: Which model that is, for what is left out; None: the run's.
        reading: What is known of how the table is read; asked for once, when the preprocessing has been fitted, and
            kept in the folder with what fitting adds.
        judged: What models of other rows say of the training rows, in a model's terms; it fits expert weights and
            calibration where there are no validation rows.

    Returns:
        The bundle, how the training went, and the training rows' unreadable cells.
    """
    started_at = time.monotonic()
    keep_freed_memory()
    distributed = distributed or Distributed()
    if deadline is None and recipe.training.seconds is not None:
        deadline = begun_deadline(recipe.training.seconds)
    if data is None:
        fitted = folder / "bundle" / "processor"
        known = resume and fitted.is_dir()
        data = fit_data(recipe, tables, folder if known else None)
        if save and not known and distributed.is_main:
            keep_imputer(data.imputing, folder)
            before = reading()
            keep_reading(folder, replace(before, remarks=(*before.remarks, *data.remarks)))
            with replacing_folder(fitted) as part:
                data.processor.save(part)
    processor = data.processor
    imputed = None if data.imputing is None else described(data.imputing, tables)
    schema = processor.schema
    config = recipe.training
    torch.manual_seed(config.seed)
    model = recipe.model.build(schema)
    if resume:
        data = data.sampled(kept_num_rows(folder), config.seed)

    def with_stored(data: FittedData) -> FittedData:
        """The data with stored features, and with fewer rows where there is no time for those of all."""
        if deadline is not None and distributed.world_size == 1 and not (resume and has_checkpoint(folder)):
            seconds = seconds_of_features(data.train, config.seed, partial(store, progress=False))
            num_validation, num_test = (len(tables.get(part, ())) for part in ("validation", "test"))
            train = data.train
            numbers = store_in_time(
                deadline, len(train), num_validation, num_test, seconds,
                lambda chosen: store([part_of(train, chosen)], progress=progress),
                seed=config.seed, views=recipe.data.views or 0,
            )  # fmt: skip
            data = data.sampled(numbers, config.seed)
            if save and (numbers.train < len(tables["train"]) or numbers.validation < num_validation):
                keep_num_rows(folder, numbers)
        store(data.datasets, progress=progress)
        return data

    start_from = data.start

    def store(rows: Sequence[TableDataset], *, progress: bool) -> None:
        store_features(
            model,
            recipe.model.encoders,
            rows,
            mode=_store_mode(recipe, distributed, start_from),
            augmented=recipe.data.transforms if recipe.data.views is None else (),
            device=resolve_device(config.device, distributed.local_rank),
            progress=progress,
        )

    unmixable = model.unmixable() if config.mixup or config.cutmix else None
    if unmixable is not None:
        name = "cutmix" if config.cutmix else "mixup"
        raise ConfigError(
            f"training.{name}: {unmixable} can't learn from mixed rows, since it reads more of a row than its "
            f"summaries or compares rows; leave {name} out (0), or take another one"
        )
    make_read_features(model, data.datasets)
    # What heads are fitted on is read from the store too; unless another model's networks are yet to come.
    if data.start is None:
        data = with_stored(data)
    fit_heads(model, data.train, config.seed, prediction=recipe.prediction)
    with choosing(model, processor, tables["train"], recipe.prediction) as catalogues:
        store(catalogues, progress=progress)
        started = begin(model, recipe, data.start, folder, write=distributed.is_main)
        if data.start is not None:
            data = with_stored(data)
        rows, validation_set = data.datasets, data.validation
        transforms = {
            name: transform.create(processor.columns[name]) for name, transform in recipe.data.transforms.items()
        }
        stored_views, read = None, data.train
        if recipe.data.views is not None and data.train.stored.keys() & transforms.keys():
            stored_views = StoredViews.of(
                model, data.train, transforms, config.seed, recipe.data.views, progress=progress
            )
            read = data.train.decoding(transforms)
        num_workers = read_settings(recipe, read) if data.train.stored else data.num_workers
        # Trained weights come from elsewhere: another model's, or those of the run that is resumed.
        if data.start is None and not (resume and (folder / "checkpoints").is_dir()):
            alone = deadline if distributed.world_size == 1 else None
            warm_up(model, data.train, config.seed, resolve_device(config.device, distributed.local_rank), alone)

        begin_objectives(model, recipe, data, tables["train"], resume=resume)
        sampling = config.sampler
        loader = TrainLoader(
            read,
            schema,
            config.batch_size,
            config.seed,
            num_workers=num_workers,
            rank=distributed.rank,
            world_size=distributed.world_size,
            pin_memory=torch.cuda.is_available() and config.device in ("auto", "cuda"),
            accumulate=config.accumulate,
            batching=batching_of(config, processor, lambda: data.lengths, data.some_lengths, model),
            sampler=sampler_of(recipe, data.processor, data.train, model),
            partners=partners_of(config, read, schema),
        )

        def augmented(batch: Batch, epoch: int) -> Batch:
            varied = augment(
                batch,
                schema,
                transforms,
                seed=config.seed,
                epoch=epoch,
                epochs=trainer.num_epochs,
                views=recipe.data.views,
                modality_dropout=recipe.data.modality_dropout,
                again=sampling.augment_again if isinstance(sampling, ClassSamplerConfig) else 0,
            )
            return varied if stored_views is None else stored_views(varied)

        experts_share = why_experts_share(model)
        own_weights = experts_share is None and validation_set is not None and distributed.world_size == 1
        judged_part = _judged_part(model, own_weights)
        expert_weights = ExpertWeights(model, folder, resume=resume) if own_weights else None
        if experts_share is not None:
            _log.debug("one best epoch for all of the model: %s", experts_share)
        validate, samples = None, None
        if validation_set is not None:
            validation = Validation(
                model,
                validation_set,
                num_rows=recipe.evaluation.generated_rows,
                num_samples=recipe.evaluation.samples,
                folder=folder,
                seed=config.seed,
                prediction=recipe.prediction,
                fillers=config.compile,
                resume=resume,
                judged=judged_part,
                experts=expert_weights,
            )
            samples = validation.samples

            def validate() -> dict[str, float]:
                return validation(trainer.epoch)

        folder.mkdir(parents=True, exist_ok=True)
        watched = [RewardHacking(model.rewards)] if model.rewards else []
        callbacks = [FeatureReading(model, rows), *watched, *default_callbacks(config, folder)]
        for callback in callbacks:
            if isinstance(callback, TensorBoard) and samples is not None:
                callback.samples = samples.latest
        if not progress:
            callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
        trainer = Trainer(
            config,
            model,
            loader,
            folder=folder,
            validate=validate,
            augment=augmented,
            count_tokens=lambda batch: count_tokens(batch, schema),
            measured=_measured(data, config) if config.balance is not None else None,
            metrics={target.name: metrics_of(target) for target in schema.targets},
            preferred=selection_metrics(model),
            callbacks=callbacks,
            distributed=distributed,
            resume_hint=resume_hint,
            others={"unreadable": loader},
            judged=judged_part,
            limit=None
            if deadline is None
            else TimeLimit(
                deadline=deadline,
                name="training" if name is None else name,
                rows_afterwards=rows_afterwards(recipe, tables),
                fixed_work=expected_seconds(model, recipe, len(data.train)),
                most_work=_MOST_FOR_ESTIMATORS,
                validation_rows=0 if validation_set is None else len(validation_set),
            ),
        )
        with loader:
            result = trainer.fit(resume=resume)
        expert_epochs = None
        if samples is not None and distributed.is_main:
            samples.finish(result.best_epoch)
        calibrated: dict[str, str] = {}
        with logged_afterwards(folder / "train.log") if distributed.is_main else nullcontext():
            if expert_weights is not None:
                expert_epochs = expert_weights.restore(model)
            outputs = None if judged is None else judged(model)
            experts = fit_experts(model, recipe, data.train, validation_set, distributed, outputs, deadline)
            if recipe.evaluation.simple_baselines and save and distributed.is_main:
                fit_simple_baselines(model, recipe, data.train, folder, experts, deadline)
            if judged is not None:
                calibrated = calibrate_on(model, judged(model), judged.subsets(model), "out-of-fold")
            elif validation_set is not None:
                calibrated = calibrate(
                    model,
                    validation_set,
                    prediction=recipe.prediction,
                    has_time=lambda rows: (
                        deadline is None
                        or deadline.allows(
                            trainer.seconds_per_predicted_row * rows, "temperatures by the columns of a row"
                        )
                    ),
                )
            if deadline is not None:
                deadline.owe(CALIBRATION, 0.0)
            model.eval()
            model.keep_catalogues()
        info = {
            "rows": {name: len(table) for name, table in tables.items()},
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "seconds": result.seconds,
            "wall_seconds": time.monotonic() - started_at,
            "samples_per_second": result.samples_per_second,
            "best_epoch": result.best_epoch,
        }
        if resume:
            info["wall_seconds"] = _wall_seconds(folder, info)
        if expert_epochs:
            info["expert_epochs"] = dict(expert_epochs)
        if experts.weights:
            info["fusion_weights"] = {target: str(weights) for target, weights in experts.weights.items()}
        if calibrated:
            info["calibration"] = calibrated
        if started:
            info["init_from"] = started
        if imputed is not None:
            info["impute"] = {**imputed, "bundle": path_from(folder, imputed["bundle"])}
        bundle = Bundle(processor, model, recipe.model, to_dict(recipe), info, prediction=recipe.prediction)
        if (remembered := rows_sketched(bundle, tables["train"])) is not None:
            info["seen_rows"] = remembered
        if save and distributed.is_main:
            saving = time.monotonic()
            bundle.save(folder / "bundle")
            if deadline is not None:  # it is saved once more, with its scores
                deadline.owe(BUNDLE, time.monotonic() - saving)
        return bundle, result, [cell for _, cell in sorted(loader.unreadable.items())]


def _judged_part(model: MultimodalModel, own_weights: bool) -> str:
    """The part of the delivered model that validations judge, where it is not all of it."""
    if fits_estimators(model):
        return "the networks at one epoch" if own_weights else "the networks"
    return "all experts at one epoch" if own_weights else ""


def _wall_seconds(folder: Path, info: Mapping[str, Any]) -> float:
    """The time of a run that had finished when it was resumed, whose files stay as they are; else this one's."""
    try:
        before = read_json(folder / "bundle" / "bundle.json", dict)["info"]
        is_finished = before["seconds"] == info["seconds"]
        return float(before["wall_seconds"] if is_finished else info["wall_seconds"])
    except (OSError, ValueError, KeyError):
        return float(info["wall_seconds"])


def _store_mode(recipe: Recipe, distributed: Distributed, start: Start | None) -> Literal["auto", "off"]:
    """Where a graph is compiled it has one shape; several processes would compute the same features; and a resumed run
    that began with another model's networks has them only once its checkpoint is read."""
    is_resumed_transfer = recipe.init_from is not None and start is None
    return "off" if recipe.training.compile or distributed.world_size > 1 or is_resumed_transfer else recipe.data.store


def _measured(data: FittedData, config: TrainingConfig) -> dict[str, Iterable[Batch]]:
    """Rows on which the columns' losses are measured: the validation split, and as many training rows."""
    schema, train = data.processor.schema, data.train
    if data.validation is None:
        return {}
    num_rows = min(len(train), max(len(data.validation), _MEASURED_ROWS))
    chosen = np.sort(permutation(len(train), config.seed, "measured")[:num_rows])
    part = TableDataset(train.table.select(chosen), data.processor, cache_bytes=train.cache_bytes, stored=train.stored)
    return {"train": PredictLoader(part, schema), "validation": PredictLoader(data.validation, schema)}
