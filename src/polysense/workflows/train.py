"""Training of one model on split tables: fitted preprocessing, the loop with its validation, the saved bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
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
from polysense.core.logs import get_logger, warn_of_each
from polysense.core.machine import num_cpus
from polysense.core.random import permutation
from polysense.core.sample import Unreadable
from polysense.data.augmentation.augment import augment
from polysense.data.batches.dataset import TableDataset, choose_workers
from polysense.data.batches.loader import PredictLoader, TrainLoader
from polysense.data.batches.sampling import ClassSamplerConfig
from polysense.data.batches.token_counts import RowLengths, count_tokens, row_lengths
from polysense.data.column import NUM_SAMPLED
from polysense.data.processor import Processor
from polysense.data.recipe_paths import path_from
from polysense.data.tables.sources import Table
from polysense.data.training_cells import NUM_FOR_FEATURES
from polysense.errors import ConfigError
from polysense.evaluation.target_metrics import metrics_of
from polysense.nn.expert_parts import why_experts_share
from polysense.nn.model import MultimodalModel
from polysense.recipe import Recipe
from polysense.reports.reading import Reading
from polysense.training.callbacks.progress import ProgressBar
from polysense.training.callbacks.tensorboard import TensorBoard
from polysense.training.callbacks.text_log import logged_afterwards
from polysense.training.config import TrainingConfig
from polysense.training.distributed import Distributed
from polysense.training.run import TrainResult
from polysense.training.state import has_checkpoint
from polysense.training.time_plan import Deadline, TimeLimit, measured_slowness, rows_that_fit
from polysense.training.trainer import Trainer, default_callbacks
from polysense.workflows.calibration import JudgedOutputs, calibrate, calibrate_on
from polysense.workflows.estimator_fitting import fit_experts, fits_estimators
from polysense.workflows.expert_weights import ExpertWeights
from polysense.workflows.feature_reading import FeatureReading, make_read_features
from polysense.workflows.feature_time import keep_num_rows, kept_num_rows, sampled, seconds_of_features
from polysense.workflows.finetune.transfer import Start, begin, plan_start
from polysense.workflows.head_fitting import fit_heads, selection_metrics
from polysense.workflows.head_warm_up import warm_up
from polysense.workflows.imputation.plan import (
    Imputing,
    described,
    imputing_again,
    keep_imputer,
    plan_imputer,
    rows_sketched,
)
from polysense.workflows.plan import rows_afterwards
from polysense.workflows.reading import keep_reading, processor_remarks
from polysense.workflows.simple_baselines import expected_seconds, fit_simple_baselines
from polysense.workflows.stored_features import read_prepared, store_features
from polysense.workflows.stored_views import StoredViews
from polysense.workflows.training_rows import batching_of, pasted_columns, sampler_of
from polysense.workflows.validation import Validation

__all__ = ["FittedData", "fit_data", "fit_processor", "train_model"]

_log = get_logger("polysense.workflows")

# Training rows at least, where a balance of columns measures losses.
_MEASURED_ROWS = 512
# Of intervals, pages and files, whatever the rows, and how much of a run's time is kept for them at most.
_SECONDS_AFTERWARDS = 4.0
_MOST_AFTERWARDS = 0.2
# Of a run's time that is kept for simple models; those of a report are left out where it is not enough.
_MOST_FOR_ESTIMATORS = 0.3


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedData:
    """Fitted preprocessing and the rows that it reads; trainings that differ in nothing of it can share one.

    Attributes:
        processor: Fitted on the training rows.
        train: The training rows, kept as decoded where they fit into memory.
        validation: Likewise the validation rows, if there are any.
        num_workers: Processes that decode ahead of the training.
        start: The trained parts that the preprocessing came with in part; None where there are none.
        imputing: What imputes missing cells first; None where nothing does.
        remarks: What is to be said of how cells are read; empty where fitted preprocessing was read.
    """

    processor: Processor
    train: TableDataset
    validation: TableDataset | None
    num_workers: int
    start: Start | None = None
    imputing: Imputing | None = None
    remarks: Sequence[str] = ()

    @cached_property
    def lengths(self) -> RowLengths:
        """How long the training rows are; measured when it is first asked for."""
        return row_lengths(self.train.table, self.processor.columns, self.processor.targets)

    def some_lengths(self) -> RowLengths:
        """How long some of the training rows are, picked at random."""
        table = self.train.table
        if len(table) <= NUM_SAMPLED:
            return self.lengths
        chosen = table.select(np.sort(permutation(len(table), "some lengths")[:NUM_SAMPLED]))
        return row_lengths(chosen, self.processor.columns, self.processor.targets)


def fit_data(recipe: Recipe, tables: Mapping[str, Table], folder: Path | None = None) -> FittedData:
    """Fits preprocessing, unless it is given, and decides how the rows are read.

    Args:
        recipe: What to do.
        tables: "train", and perhaps others.
        folder: Of a run that began with fitted preprocessing, which is read.
    """
    start: Start | None = None
    remarks: list[str] = []
    if folder is not None:
        imputing = imputing_again(recipe, folder)
        processor = Processor.load(folder / "bundle" / "processor", None if imputing is None else imputing.imputer)
    else:
        processor, start, imputing = fit_processor(recipe, tables)
        remarks = processor_remarks(processor, tables)
        # Those of the training rows are logged as they are fitted.
        of_cleaning = processor.cleaning_remarks()
        for remark in of_cleaning:
            _log.info("%s", remark)
        warn_of_each(_log, remarks[len(processor.warnings) + len(of_cleaning) :])
    for name in read_prepared(processor, recipe.data.store):
        _log.info("column %r: cells that were prepared are not decoded again", name)
    # Features are made only where an encoder or a head reads them.
    encoders, heads = recipe.model.encoders.values(), recipe.model.heads.values()
    with_features = any(encoder.reads_features for encoder in encoders) or any(head.reads_features for head in heads)
    train = TableDataset(tables["train"], processor, with_features=with_features)
    validation = tables.get("validation")
    num_workers = _read_settings(recipe, train)
    return FittedData(
        processor=processor,
        train=train,
        validation=None
        if validation is None
        else TableDataset(validation, processor, with_features=with_features, cache_bytes=train.cache_bytes),
        num_workers=num_workers,
        start=start,
        imputing=imputing,
        remarks=remarks,
    )


def fit_processor(
    recipe: Recipe, tables: Mapping[str, Table], *, most_for_features: int = NUM_FOR_FEATURES
) -> tuple[Processor, Start | None, Imputing | None]:
    """Fits preprocessing on the training rows; and what comes with it from a trained model, and from an imputer.

    Args:
        recipe: What to do.
        tables: "train", and perhaps others.
        most_for_features: Cells of a column that its feature vectors are learned from; few where no model is trained.
    """
    imputing = plan_imputer(recipe, tables)
    start = plan_start(recipe, tables["train"])
    processor = Processor.fit(
        tables["train"],
        recipe.data,
        recipe.model.requirements(recipe.data.modalities),
        recipe.model.target_requirements(),
        {} if start is None else start.columns,
        {} if start is None else start.targets,
        None if imputing is None else imputing.imputer,
        most_for_features,
    )
    return processor, start, imputing


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
        deadline = Deadline(recipe.training.seconds, slowness=measured_slowness())
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
    processor, validation_set = data.processor, data.validation
    imputed = None if data.imputing is None else described(data.imputing, tables)
    schema = processor.schema
    config = recipe.training
    torch.manual_seed(config.seed)
    model = recipe.model.build(schema)
    seconds_of_test = 0.0  # of the features of test rows, which are made afterwards
    if resume:
        data = replace(data, train=sampled(data.train, kept_num_rows(folder), config.seed))

    def with_stored(data: FittedData) -> FittedData:
        """The data with stored features, and with fewer training rows where there is no time for those of all."""
        nonlocal seconds_of_test
        if deadline is not None and distributed.world_size == 1 and not (resume and has_checkpoint(folder)):
            held_out = sum(len(table) for part, table in tables.items() if part != "train")
            views = recipe.data.views or 0
            seconds = seconds_of_features(data.train, config.seed, partial(store, progress=False))
            number = rows_that_fit(deadline, seconds, len(data.train), held_out, views=views)
            data = replace(data, train=sampled(data.train, number, config.seed))
            if save and number < len(tables["train"]):
                keep_num_rows(folder, number)
            seconds_of_test = seconds * len(tables.get("test", ()))
        store([data.train] if validation_set is None else [data.train, validation_set], progress=progress)
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
    make_read_features(model, [data.train] if validation_set is None else [data.train, validation_set])
    # What heads are fitted on is read from the store too; unless another model's networks are yet to come.
    if data.start is None:
        data = with_stored(data)
    fit_heads(model, data.train, config.seed, prediction=recipe.prediction)
    started = begin(model, recipe, data.start, folder, write=distributed.is_main)
    if data.start is not None:
        data = with_stored(data)
    rows = [data.train] if validation_set is None else [data.train, validation_set]
    transforms = {name: transform.create(schema.column(name)) for name, transform in recipe.data.transforms.items()}
    stored_views, read = None, data.train
    if recipe.data.views is not None and data.train.stored.keys() & transforms.keys():
        stored_views = StoredViews.of(model, data.train, transforms, config.seed, recipe.data.views, progress=progress)
        read = data.train.decoding(transforms)
    num_workers = _read_settings(recipe, read) if data.train.stored else data.num_workers
    # Trained weights come from elsewhere: another model's, or those of the run that is resumed.
    if data.start is None and not (resume and (folder / "checkpoints").is_dir()):
        warm_up(model, data.train, config.seed, resolve_device(config.device, distributed.local_rank))

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
        mixup=config.mixup or config.cutmix,
        pasted=pasted_columns(read, schema) if config.cutmix else (),
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
    callbacks = [FeatureReading(model, rows), *default_callbacks(config, folder)]
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
            fixed_seconds=seconds_of_test
            + min(_SECONDS_AFTERWARDS * deadline.slowness, _MOST_AFTERWARDS * deadline.seconds)
            + min(
                expected_seconds(model, recipe, len(data.train)) * deadline.slowness,
                _MOST_FOR_ESTIMATORS * deadline.seconds,
            ),
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
            rest = None if deadline is None else deadline.reserving(seconds_of_test)
            fit_simple_baselines(model, recipe, data.train, folder, experts, rest)
        if judged is not None:
            calibrated = calibrate_on(model, judged(model), judged.subsets(model), "out-of-fold")
        elif validation_set is not None:
            calibrated = calibrate(model, validation_set, prediction=recipe.prediction)
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
        bundle.save(folder / "bundle")
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


def _read_settings(recipe: Recipe, dataset: TableDataset) -> int:
    """Sets the dataset's cache and gives the number of workers."""
    workers, cache = choose_workers(dataset, num_cpus())
    if recipe.data.num_workers != "auto":
        workers = recipe.data.num_workers
    if recipe.data.cache == "memory":
        cache = 2**62
    elif recipe.data.cache == "none":
        cache = 0
    dataset.cache_bytes = cache
    return workers
