"""The recipe: everything that decides a run, as one config. YAML is its serialised form."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polysense.config.base import Config
from polysense.config.codec import dump_yaml, field_comments, from_dict, parse_yaml, read_text, to_dict
from polysense.config.overrides import apply_overrides
from polysense.data.config import DataConfig
from polysense.errors import ConfigError
from polysense.nn.model import ModelConfig
from polysense.training.config import TrainingConfig

__all__ = ["EvaluationConfig", "Recipe", "load_recipe"]

_TABLES = ("table", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(Config):
    """What is measured once the model is trained.

    Attributes:
        bootstrap: Resamples behind every interval; 0 gives no intervals.
        contribution: Whether to measure what each column contributes, by masking columns of the trained model.
        contribution_rows: Rows that this is measured on, at most.
        baselines: Whether to also train a model on each column alone, and their ensemble, with the same settings.
            Takes about as
            long again as the training.
        report: Whether to write report.html.
        written_rows: Where a target is a text: validation rows whose texts are written after each epoch of the
            training, at most; how likely the true texts are is measured on all of them. 0 writes none before the end.
        samples: How many validation rows are shown after each epoch of the training, with their inputs, what should
            come out and what came out: in samples.html, samples.jsonl and TensorBoard, texts in train.log too.
    """

    bootstrap: int = 1000
    contribution: bool = True
    contribution_rows: int = 2000
    baselines: bool = False
    report: bool = True
    written_rows: int = 64
    samples: int = 4

    def __post_init__(self) -> None:
        if self.written_rows < 0 or self.samples < 0:
            raise ConfigError("written_rows and samples must be at least 0")
        if self.bootstrap < 0 or self.contribution_rows < 1:
            raise ConfigError("bootstrap must be at least 0, and contribution_rows at least 1")


@dataclass(frozen=True, kw_only=True)
class Recipe(Config):
    """A run: its data, model, training and evaluation.

    Attributes:
        data: Tables, columns, targets, split, augmentation.
        model: Encoders, fusion, heads.
        training: Optimisation.
        evaluation: What is measured.
    """

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        for below, kind, named in (
            ("encoders", "data.columns", set(self.data.columns)),
            ("heads", "data.targets", set(self.data.targets)),
        ):
            given = set(getattr(self.model, below))
            for name in sorted(given - named):
                raise ConfigError(f"model.{below}.{name}: there is no {kind}.{name}")
            for name in sorted(named - given):
                raise ConfigError(f"{kind}.{name}: there is no model.{below}.{name}")

    def with_overrides(self, overrides: list[str], base: Path | None = None) -> Recipe:
        """A copy with `a.b.c=value` changes; table paths among them are relative to the current folder.

        Raises:
            ConfigError: An override can't be read or gives no valid recipe.
        """
        if not overrides:
            return self
        plain = apply_overrides(to_dict(self), overrides)
        return from_dict(Recipe, _absolute(plain, base or Path.cwd(), only=_overridden(overrides)), where="overrides")

    def to_yaml(self, comments: bool = True, extra: dict[str, str] | None = None) -> str:
        """The complete recipe; with `comments`, every key's meaning above it."""
        texts = field_comments(self) if comments else {}
        for path, text in (extra or {}).items():
            texts[path] = f"{texts[path]}\n{text}" if path in texts else text
        return dump_yaml(self, texts)


def _overridden(overrides: list[str]) -> set[str]:
    keys = {override.partition("=")[0].strip().removeprefix("data.") for override in overrides}
    return keys & {*_TABLES, "root"}


def _absolute(plain: dict[str, Any], base: Path, only: set[str]) -> dict[str, Any]:
    data = plain.get("data")
    if isinstance(data, dict):
        for key in only:
            if isinstance(data.get(key), str) and "://" not in data[key]:
                data[key] = str((base / Path(data[key]).expanduser()).resolve())
    return plain


def load_recipe(path: Path | str, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe; its table paths are relative to its own folder, those in overrides to the current one.

    Raises:
        ConfigError: It can't be read, or a key or value is wrong; names each.
    """
    path = Path(path)
    plain = parse_yaml(read_text(path), str(path))
    if not isinstance(plain, dict):
        raise ConfigError(f"{path}: found {type(plain).__name__}, expected keys: data, model, training, evaluation")
    plain = _absolute(plain, path.resolve().parent, {*_TABLES, "root"})
    if overrides:
        plain = _absolute(apply_overrides(plain, overrides), Path.cwd(), _overridden(overrides))
    return from_dict(Recipe, plain, where=str(path))
