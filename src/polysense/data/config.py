"""DataConfig: which tables, which columns, how they are read, split, varied and cached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from polysense.config.base import Config
from polysense.config.limits import FractionBelowOne, NonNegativeInt, PositiveInt
from polysense.core.registry import modality
from polysense.data.augmentation.base import TransformConfig
from polysense.data.cleaning import CellCleaner, CleaningConfig
from polysense.data.column import ColumnConfig, ColumnProcessor
from polysense.data.features import FeatureConfig
from polysense.data.imputation import ImputationConfig
from polysense.data.joins.config import JoinConfig
from polysense.data.split import FractionSplitConfig, SplitConfig
from polysense.data.tables.sources import Table, read_table
from polysense.data.target import TargetConfig, TargetProcessor

__all__ = ["DataConfig"]


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """The data: tables, columns, targets, split, augmentation.

    Attributes:
        table: The table: csv, tsv, jsonl, json, parquet, arrow or feather, or tar shards; a path or an address such as
            s3://BUCKET/TABLE.csv. Null if a data frame is given in Python.
        validation: A table of its own for validation; null takes the validation part of the split.
        test: A table of its own for the test; null takes the test part of the split.
        tables: Other tables whose columns are joined to each row, by name: `products: products.csv`, or with more keys.
            Their columns are called `products.COLUMN`, in validation and test tables of their own too.
        root: The folder that media paths start from; null is the table's folder.
        allow_outside: Whether cells may name files outside of that folder. If not, such a cell is unreadable, symbolic
            links followed. True suits tables of your own; what other people send is better read with false.
        allow_urls: Whether cells may name media files by URL, of the web (http, https) or of object storage (s3, gs,
            az, ...: whatever your keys may read). They are downloaded once, at most 256 MiB each and in 60 seconds
            ($POLYSENSE_DOWNLOAD_BYTES, of the web $POLYSENSE_DOWNLOAD_SECONDS), and kept in the folder `downloads` of
            $POLYSENSE_CACHE; addresses of this machine and of private networks are refused.
        columns: Per input column how its cells are read. A column that is not here is not used. An input whose name is
            not the table's column's says `column: NAME`.
        targets: The targets to predict, by name; the name is also the table's column, unless `column` names another
            one.
        impute: The bundle of a reconstruction model (`--task reconstruction`), or its run's folder: it imputes missing
            cells of the input columns that it has, before the model reads them, in training and afterwards. It becomes
            part of the trained bundle. null imputes nothing: missing cells are masked.
        missing: Per input column of numbers or categories what stands in for its missing cells, fitted on training
            rows: mean, median, mode, nearest, iterative; of time series interpolate, for steps within a cell. By
            default missing cells are masked.
        impute_media: Whether images are imputed too. They are blurred, and are held in memory as files while the table
            is in use.
        weight: The column that holds each row's weight in the loss, a number of 0 or more; null weighs all rows
            equally. A row without a weight counts as 1.
        split: How the rows are split into training, validation and test.
        allow_shared_patients: Whether the rows of one patient may be in several parts of the split. By default that is
            an error, since a score on known patients says little of new ones; it is a warning for other persons.
        transforms: Augmentation of each input column in training. Columns that are not listed are not augmented.
        views: How many augmented versions each training cell has, between which the epochs take turns; a frozen
            pretrained encoder's features of each are computed once and kept, as `store` says. null: a new version in
            every epoch, whose features are computed anew.
        cleaning: Per input column and target what its cells are changed by before they are read, in that order; what is
            learned is learned from training cells. Nothing is cleaned that is not listed here.
        features: Per input column the features that are made of its cells without trained weights, which the encoder
            `features` reads.
        modality_dropout: Probability that a present cell is masked in training, so that the model learns to do without
            it; 0 to 1.
        cache: Whether decoded cells are cached in memory. auto: if they fit; memory: always; none: never.
        store: Whether what a frozen pretrained encoder gives for a cell is computed once and kept, on disk and for all
            runs. auto: for columns that are not augmented, or in a number of `views`; off: computed in every epoch.
            Predictions are the same to the last bit. $POLYSENSE_CACHE names another folder than ~/.cache/polysense,
            $POLYSENSE_CACHE_BYTES the most bytes in it (by default 20 GiB). auto reads cells that `polysense prepare`
            decoded, too.
        num_workers: Processes that decode ahead of the training; 0 decodes in the training process. auto decides from
            the cost of decoding and the cores.
    """

    table: str | None = None
    validation: str | None = None
    test: str | None = None
    tables: dict[str, JoinConfig] = field(default_factory=dict)
    root: str | None = None
    allow_outside: bool = True
    allow_urls: bool = False
    columns: dict[str, ColumnConfig] = field(default_factory=dict)
    targets: dict[str, TargetConfig] = field(default_factory=dict)
    impute: str | None = None
    missing: dict[str, ImputationConfig] = field(default_factory=dict)
    impute_media: bool = False
    weight: str | None = None
    split: SplitConfig = field(default_factory=FractionSplitConfig)
    allow_shared_patients: bool = False
    transforms: dict[str, TransformConfig] = field(default_factory=dict)
    views: PositiveInt | None = None
    cleaning: dict[str, tuple[CleaningConfig, ...]] = field(default_factory=dict)
    features: dict[str, tuple[FeatureConfig, ...]] = field(default_factory=dict)
    modality_dropout: FractionBelowOne = 0.1
    cache: Literal["auto", "none", "memory"] = "auto"
    store: Literal["auto", "off"] = "auto"
    num_workers: NonNegativeInt | Literal["auto"] = "auto"

    def read(self, source: Any) -> Table:
        """A table of the recipe, whose cells may name what the recipe allows; errors as of `read_table`."""
        return read_table(source, root=self.root, allow_outside=self.allow_outside, allow_urls=self.allow_urls)

    def column_processor(self, name: str) -> ColumnProcessor:
        """The preprocessing of an input column with its cleaning, not yet fitted."""
        processor = self.columns[name].build(name)
        of_gaps = self.missing[name].within_cells() if name in self.missing else None
        processor.cleaner = CellCleaner([*self.cleaning.get(name, ()), *([] if of_gaps is None else [of_gaps])])
        return processor

    def target_processor(self, name: str) -> TargetProcessor:
        """The preprocessing of a target with its cleaning, not yet fitted."""
        processor = self.targets[name].build(name)
        processor.cleaner = CellCleaner(self.cleaning.get(name, ()))
        return processor

    @property
    def modalities(self) -> dict[str, str]:
        """Per input column its modality."""
        return {name: column.modality for name, column in self.columns.items()}

    def __post_init__(self) -> None:
        super().__post_init__()
        unused = sorted(set(self.transforms) - set(self.columns))
        if unused:
            raise ValueError(f"transforms: there is no input column {unused[0]!r} (columns: {', '.join(self.columns)})")
        self._check_missing()
        for name, cleanings in self.cleaning.items():
            if name not in self.columns and name not in self.targets:
                known = ", ".join([*self.columns, *self.targets])
                raise ValueError(f"cleaning: there is no input column and no target {name!r} (there are: {known})")
            if name in self.targets and name not in self.columns and len(self.targets[name].sources(name)) != 1:
                raise ValueError(f"cleaning.{name}: the target is read from several columns, and one can be cleaned")
            for each_cleaning in cleanings:
                each_cleaning.check(name, self.columns[name].modality if name in self.columns else None)
        for name, features in self.features.items():
            if name not in self.columns:
                raise ValueError(f"features: there is no input column {name!r} (columns: {', '.join(self.columns)})")
            types = [each.type for each in features]
            twice = next((kind for kind in types if types.count(kind) > 1), None)
            if twice is not None:
                raise ValueError(f"features.{name}: {twice!r} is there twice; once is enough")
            for each in features:
                each.check(name, self.columns[name].modality)
        # Settled here, so that the run's recipe says which columns they are.
        inputs = {name: column.source(name) for name, column in self.columns.items()}
        settled = {name: target.resolved(inputs) for name, target in self.targets.items()}
        object.__setattr__(self, "targets", settled)
        answers = {
            column
            for name, target in settled.items()
            if not (target.reads_inputs or target.may_be_input)  # of which the recipe knows more (`recipe.Recipe`)
            for column in target.sources(name)
        }
        both = sorted(set(inputs.values()) & answers)
        if both:
            raise ValueError(f"columns: {both[0]!r} is also a target; an input that is the answer teaches nothing")

    def _check_missing(self) -> None:
        """Whether what imputes missing cells fits the columns."""
        if self.missing and self.impute is not None:
            raise ValueError("missing: impute names a model that imputes missing cells; leave one of them out")
        for name, imputation in self.missing.items():
            if name not in self.columns:
                raise ValueError(f"missing: there is no input column {name!r} (columns: {', '.join(self.columns)})")
            spec, of_gaps = modality(self.columns[name].modality), imputation.within_cells()
            if of_gaps is not None:
                if spec.name not in of_gaps.reads():
                    kinds = ", ".join(sorted(of_gaps.reads()))
                    raise ValueError(
                        f"missing.{name}: {imputation.type!r} is of {kinds}, and the column is {spec.name}"
                    )
                continue
            if not (spec.is_numeric or (spec.is_discrete and not imputation.is_numeric)):
                what = "numbers" if imputation.is_numeric else "numbers or categories"
                raise ValueError(
                    f"missing.{name}: {imputation.type!r} is of {what}, and the column is {spec.name}; leave it masked "
                    f"or name a model that reconstructs it: data.impute"
                )
