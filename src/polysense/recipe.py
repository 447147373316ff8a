"""The recipe: everything that decides a run, as one config. YAML is its serialized form."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from polysense.config.base import Config
from polysense.config.codec import (
    dump_short_yaml,
    dump_yaml,
    field_comments,
    from_dict,
    parse_yaml,
    read_text,
    to_dict,
    to_short_dict,
)
from polysense.config.limits import Limit, NonNegativeFloat, NonNegativeInt, PositiveInt
from polysense.config.overrides import apply_overrides
from polysense.data.batches.blocks import PredictionConfig
from polysense.data.batches.sampling import ClassSamplerConfig
from polysense.data.config import DataConfig
from polysense.data.recipe_paths import (
    INIT_FROM,
    PATHS,
    PRETRAINED,
    TABLES,
    absolute_paths,
    relative_paths,
    spelled_out,
)
from polysense.data.target import TargetConfig
from polysense.errors import ConfigError
from polysense.nn.head import HeadConfig
from polysense.nn.model_config import ModelConfig
from polysense.training.config import TrainingConfig

__all__ = ["EvaluationConfig", "InitFromConfig", "Recipe", "load_recipe"]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Config):
    """Evaluation after training.

    Attributes:
        bootstrap: Resamples behind every interval; 0 gives no intervals.
        contribution: Whether to measure what each column contributes, by masking columns of the trained model.
        contribution_rows: Rows that this is measured on, at most.
        baselines: Whether to also train a unimodal model of each column, and to evaluate their ensemble, with the same
            settings. It takes about as long as the training itself.
        simple_baselines: Whether to compare the model with simple ones on its columns' feature vectors: a linear one of
            each column, boosted trees of numbers, categories and dates, all columns together, and their average.
        simple_baseline_rows: Training rows that these are fitted on, at most.
        report: Whether to write report.html.
        generated_rows: For generation targets: the maximum number of validation rows whose texts are generated after
            each epoch; teacher-forced metrics use all rows. 0 generates none before the end of training.
        samples: Number of validation rows to show after each epoch with their inputs, targets and predictions, in
            samples.html, samples.jsonl and TensorBoard; texts in train.log too.
        folds: Out-of-fold evaluation, for small tables: so many models are trained, each without one part of the rows,
            and every row is judged by the model that did not see it; then one more is trained on all rows, and
            delivered. A test that is given (a split column, a table) stays untouched. 0 evaluates on the split alone.
    """

    bootstrap: Annotated[int, Limit(0, 100_000)] = 1000
    contribution: bool = True
    contribution_rows: PositiveInt = 2000
    baselines: bool = False
    simple_baselines: bool = True
    simple_baseline_rows: PositiveInt = 20_000
    report: bool = True
    generated_rows: NonNegativeInt = 64
    samples: NonNegativeInt = 4
    folds: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds == 1:
            raise ConfigError("folds: one fold leaves no rows to train on; expected 2 or more, or 0 for none")


@dataclass(frozen=True, kw_only=True)
class InitFromConfig(Config):
    """What a model starts from: named parts of a trained one, with the preprocessing that they were trained with.

    A module is `encoders.COLUMN`, `fusion` or `heads.TARGET`; the name by itself is enough if it is unique. It is
    transferred completely or not at all. init_from.json and the model card list the transferred modules, and the others
    with the reason.

    Attributes:
        bundle: A bundle's folder, or a run's folder that holds one. It is not needed any more once the training runs.
        parts: The modules to transfer, as a list (`encoders` and `heads` stand for all of a kind), or as `HERE: THERE`
            if names differ. Each must be compatible. null transfers every encoder of a column that both models have,
            and the fusion, if they are compatible.
        freeze: Transferred modules that are frozen: neither training nor weight decay nor averaging changes them.
        learning_rate_scale: Factor on the learning rate of transferred modules.
    """

    bundle: str
    parts: dict[str, str] | tuple[str, ...] | None = None
    freeze: tuple[str, ...] = ()
    learning_rate_scale: NonNegativeFloat = 1.0

    def __post_init__(self) -> None:
        if self.parts is not None and not self.parts:
            raise ConfigError(
                "init_from.parts: names nothing; null transfers all compatible modules, and init_from: null none"
            )
        if self.learning_rate_scale <= 0:
            result = self.learning_rate_scale
            raise ConfigError(f"init_from.learning_rate_scale must be above 0; found {result} (to hold parts: freeze)")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(spelled_out, handler(source))


@dataclass(frozen=True, kw_only=True)
class Recipe(Config):
    """A run: its data, model, training and evaluation.

    Attributes:
        data: Tables, columns, targets, split, augmentation.
        model: Encoders, fusion, heads.
        training: Optimization.
        evaluation: Evaluation after training.
        prediction: How rows are predicted, in validation and by the bundle.
        init_from: A trained bundle whose parts the model starts from; null starts anew.
        pretrained: Where `encoder: auto` looks for pretrained backbones. auto: in the folder that POLYSENSE_PRETRAINED
            names, and in the local Hugging Face cache; download: there, else on the hub; off: nowhere; or a folder of
            models. It has no effect on an encoder that is named.
        audit: What is measured of the trained model beside its scores: how it does with missing, mismatched and damaged
            cells, and how far it may be trusted. quick takes at most a quarter of the training's time; full tries every
            corruption and takes the time that it needs; off measures nothing.
    """

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    prediction: PredictionConfig = field(default_factory=PredictionConfig)
    init_from: InitFromConfig | None = None
    pretrained: str = "auto"
    audit: Literal["quick", "full", "off"] = "quick"

    def __post_init__(self) -> None:
        if not self.pretrained.strip():
            raise ConfigError("pretrained: names nothing; expected auto, download, off, or a folder of models")
        for below, kind, named in (
            ("encoders", "data.columns", set(self.data.columns)),
            ("heads", "data.targets", set(self.data.targets)),
        ):
            given = set(getattr(self.model, below))
            for name in sorted(given - named):
                raise ConfigError(f"model.{below}.{name}: there is no {kind}.{name}")
            for name in sorted(named - given):
                raise ConfigError(f"{kind}.{name}: there is no model.{below}.{name}")
        sampler = self.training.sampler
        if isinstance(sampler, ClassSamplerConfig):
            sampler.resolved(tuple(self.data.targets))
        for name, target in self.data.targets.items():
            self._check_answer(name, target, self.model.heads[name])

    def _check_answer(self, name: str, target: TargetConfig, head: HeadConfig) -> None:
        """Whether a head is kept from reading its own answer."""
        hidden = head.excluded
        for column in hidden:
            if column not in self.data.columns:
                known = ", ".join(self.data.columns)
                raise ConfigError(f"model.heads.{name}.exclude: {column!r} is no input column (there are: {known})")
        if target.reads_inputs:
            return
        for column, config in self.data.columns.items():
            if config.source(column) in target.sources(name) and column not in hidden:
                raise ConfigError(
                    f"data.columns.{column}: {config.source(column)!r} is also a target; an input that is the answer "
                    f"teaches nothing. If it is here for another target, keep it from this one: "
                    f"model.heads.{name}.exclude: [{column}]"
                )

    def with_overrides(self, overrides: list[str], base: Path | None = None) -> Recipe:
        """A copy with `a.b.c=value` changes; paths among them are relative to the current folder.

        Raises:
            ConfigError: An override can't be read or gives no valid recipe.
        """
        if not overrides:
            return self
        plain = apply_overrides(to_dict(self), overrides)
        return from_dict(Recipe, absolute_paths(plain, base or Path.cwd(), _overridden(overrides)), where="overrides")

    def relative_to(self, folder: Path) -> Recipe:
        """A copy whose paths start from a folder, for a file there: it holds no path of this machine, and reads the
        same after a move of both."""
        return from_dict(Recipe, relative_paths(to_dict(self), folder), where="the recipe")

    def to_short_yaml(self) -> str:
        """The recipe without what is so by default; it reads as the same recipe."""
        return dump_short_yaml(to_short_dict(self))

    def to_yaml(self, comments: bool = True, extra: dict[str, str] | None = None) -> str:
        """The complete recipe; with `comments`, every key's meaning above it."""
        texts = field_comments(self) if comments else {}
        for path, text in (extra or {}).items():
            texts[path] = f"{texts[path]}\n{text}" if path in texts else text
        return dump_yaml(self, texts)


def _overridden(overrides: list[str]) -> set[str]:
    keys = {override.partition("=")[0].strip().removeprefix("data.") for override in overrides}
    keys |= {key.partition(".")[0] for key in keys}  # tables.NAME
    return {key.removesuffix(".bundle") for key in keys} & {*PATHS, TABLES, INIT_FROM, PRETRAINED}


def load_recipe(path: Path | str, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe; its paths are relative to its own folder, those in overrides to the current one.

    Raises:
        ConfigError: It can't be read, or a key or value is wrong; names each.
    """
    path = Path(path)
    plain = parse_yaml(read_text(path), str(path))
    if not isinstance(plain, dict):
        raise ConfigError(f"{path}: found {type(plain).__name__}, expected keys: data, model, training, evaluation")
    plain = absolute_paths(plain, path.resolve().parent)
    if overrides:
        plain = absolute_paths(apply_overrides(plain, overrides), Path.cwd(), _overridden(overrides))
    return from_dict(Recipe, plain, where=str(path))
