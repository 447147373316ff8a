"""Fitted preprocessing and the rows that it reads, before a model is trained on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from polysense.core.logs import get_logger, warn_of_each
from polysense.core.machine import num_cpus
from polysense.core.random import permutation
from polysense.data.batches.dataset import TableDataset, choose_workers
from polysense.data.batches.token_counts import RowLengths, row_lengths
from polysense.data.column import NUM_SAMPLED
from polysense.data.processor import Processor
from polysense.data.tables.sources import Table
from polysense.data.training_cells import NUM_FOR_FEATURES
from polysense.recipe import Recipe
from polysense.workflows.feature_time import NumRows, sampled
from polysense.workflows.finetune.transfer import Start, plan_start
from polysense.workflows.imputation.plan import Imputing, imputing_again, plan_imputer
from polysense.workflows.reading import processor_remarks
from polysense.workflows.stored_features import read_prepared

__all__ = ["FittedData", "fit_data", "fit_processor", "read_settings"]

_log = get_logger("polysense.workflows")


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

    @property
    def datasets(self) -> list[TableDataset]:
        """The rows that train, and those that validate where there are any."""
        return [self.train] if self.validation is None else [self.train, self.validation]

    def sampled(self, numbers: NumRows, seed: int) -> FittedData:
        """A sample of so many rows; all where there are no more."""
        validation = None if self.validation is None else sampled(self.validation, numbers.validation, seed)
        return replace(self, train=sampled(self.train, numbers.train, seed), validation=validation)

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
    num_workers = read_settings(recipe, train)
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


def read_settings(recipe: Recipe, dataset: TableDataset) -> int:
    """Sets a dataset's cache as its recipe says, and gives the number of workers that read it."""
    workers, cache = choose_workers(dataset, num_cpus())
    if recipe.data.num_workers != "auto":
        workers = recipe.data.num_workers
    if recipe.data.cache == "memory":
        cache = 2**62
    elif recipe.data.cache == "none":
        cache = 0
    dataset.cache_bytes = cache
    return workers
