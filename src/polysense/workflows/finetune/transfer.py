"""Start from a trained bundle: which parts fit, what comes with them, and a report of what moved and what did not.

Weights mean something only behind the preprocessing that they were trained with: a vocabulary fitted anew on other rows
gives the same token id to another word, and no shape would tell. So an encoder moves together with the fitted
preprocessing of its column, a head with that of its target, and whatever differs in the settings of the two models is a
reason against moving, by name. A part moves as a whole or not at all.

Parts that the recipe names must fit, or the run stops before it trains. Without names, what fits moves, and the rest
starts anew with its reason in the log, in init_from.json and in the model card.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polysense.bundle import Bundle, load
from polysense.config.codec import to_dict
from polysense.core.json import json_text, read_json, write_json
from polysense.core.logs import get_logger
from polysense.core.schema import Target
from polysense.data.column import ColumnProcessor
from polysense.data.tables.sources import Table
from polysense.data.target import TargetProcessor
from polysense.errors import CheckpointError, ConfigError
from polysense.nn.auto_encoder import AutoEncoderConfig
from polysense.nn.ensemble_head import EnsembleHead
from polysense.nn.model import MultimodalModel
from polysense.recipe import InitFromConfig, Recipe
from polysense.workflows.finetune.compatibility import Compatibility
from polysense.workflows.finetune.shift import shift
from polysense.workflows.finetune.submodules import freeze, mismatch, scale_learning_rate, transfer
from polysense.workflows.representation.fingerprint import fingerprint

__all__ = [
    "FILE",
    "Start",
    "begin",
    "check_classes",
    "like_bundle",
    "model_mark",
    "plan_start",
    "without_parts",
]

FILE = "init_from.json"
"""The report's name in a run's folder."""

_log = get_logger("polysense.workflows")


@dataclass(frozen=True, eq=False, kw_only=True)
class Start:
    """What a model is to start from.

    Attributes:
        config: As the recipe asks for it.
        bundle: The trained model.
        transfers: Parts of the new model, and which of the trained one's they start from.
        not_moved: Parts of the new model that start anew, and why.
        frozen: Moved parts that do not learn.
        columns: The fitted preprocessing that comes with the encoders.
        targets: Likewise with the heads.
    """

    config: InitFromConfig
    bundle: Bundle
    transfers: Mapping[str, str]
    not_moved: Mapping[str, str]
    frozen: tuple[str, ...] = ()
    columns: Mapping[str, ColumnProcessor] = field(default_factory=dict)
    targets: Mapping[str, TargetProcessor] = field(default_factory=dict)

    def apply(self, model: MultimodalModel) -> dict[str, Any]:
        """Moves the parts into a model that was just built.

        Returns:
            The report, as in init_from.json.

        Raises:
            ConfigError: A part's tensors differ; then nothing was moved.
        """
        source = self.bundle.model
        for here, there in self.transfers.items():
            if reason := mismatch(model, here, source, there):
                raise ConfigError(
                    f"init_from: {here} can't be initialized from {there} of {self.config.bundle}: {reason}"
                )
        moved = []
        columns = {
            here.removeprefix("encoders.")
            for here, there in self.transfers.items()
            if here == there and here.startswith("encoders.")
        }
        for here, there in self.transfers.items():
            tensors, numbers = transfer(model, here, source, there, columns)
            moved.append({"part": here, "from": there, "tensors": tensors, "numbers": numbers})
            name = "" if here == there else f" ({there} there)"
            frozen = ", frozen" if here in self.frozen else ""
            _log.info(
                "init_from: %s%s transferred: %d tensors, %s parameters%s", here, name, tensors, f"{numbers:,}", frozen
            )
        for part, reason in self.not_moved.items():
            _log.info("init_from: %s is initialized at random: %s", part, reason)
        taken = {*self.transfers.values()}
        return {
            "bundle": self.config.bundle,
            "config": to_dict(self.config),
            "moved": moved,
            "not_moved": dict(self.not_moved),
            "not_used": [part for part in _parts(self.bundle.model_config) if part not in taken],
            "frozen": list(self.frozen),
            "learning_rate_scale": self.config.learning_rate_scale,
        }


def begin(model: MultimodalModel, recipe: Recipe, start: Start | None, folder: Path, *, write: bool) -> dict[str, Any]:
    """Has a model start as its recipe says, or go on in that way.

    Args:
        model: Just built.
        recipe: The run's.
        start: What it starts from; None where a run is resumed, whose checkpoint holds the weights.
        folder: The run's, where the report is written, or read when a run is resumed.
        write: Whether this process writes.

    Returns:
        The report; empty without `init_from`.

    Raises:
        ConfigError: A part's tensors differ.
        CheckpointError: The run to be resumed began in another way.
    """
    if recipe.init_from is None:
        return {}
    path, init_from = folder / FILE, recipe.relative_to(folder).init_from
    assert init_from is not None
    if start is not None:
        report = {**start.apply(model), "bundle": init_from.bundle, "config": to_dict(init_from)}
        if write:
            write_json(path, report)
    else:
        try:
            report = read_json(path, dict)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: can't be read, so the run can't be resumed: {error}") from error
        if report["config"] != to_dict(init_from):
            raise CheckpointError(
                f"{path}: init_from was {json_text(report['config'])} when the run began, and is now "
                f"{json_text(to_dict(init_from))}; resume it as it was, or start a new run"
            )
    freeze(model, report["frozen"])
    for name, head in model.by_target().items():
        part = f"heads.{name}"
        if isinstance(head, EnsembleHead) and part in {moved["part"] for moved in report["moved"]}:
            head.stays = part in report["frozen"] or recipe.training.epochs == 0
    scale_learning_rate(model, [moved["part"] for moved in report["moved"]], report["learning_rate_scale"])
    return {key: value for key, value in report.items() if key != "config"}


def plan_start(recipe: Recipe, table: Table) -> Start | None:
    """Settles what moves; None where the recipe starts anew.

    Args:
        recipe: Complete.
        table: The training rows.

    Raises:
        BundleError: There is no bundle, or it is broken.
        ConfigError: A part is named that there is not or that does not fit, or nothing fits at all.
    """
    config = recipe.init_from
    if config is None:
        return None
    bundle = load(config.bundle, device="cpu")
    here, there = _parts(recipe.model), _parts(bundle.model_config)
    requested = _requested(config, here, there)
    names = {**{part: part for part in here}, **requested}
    compatibility = Compatibility(recipe, bundle, table, names)
    transfers, not_moved = {}, {}
    for part in here:
        if part not in requested:
            named = part.startswith("heads.") and config.parts is None
            not_moved[part] = "a head is transferred only if init_from.parts names it" if named else "it is not named"
        elif reason := compatibility.why_not(part, requested[part]):
            not_moved[part] = reason
        else:
            transfers[part] = requested[part]
    refused = {part: not_moved[part] for part in requested if part in not_moved}
    if refused and (config.parts is not None or not transfers):
        what = "these parts do not fit" if config.parts is not None else "nothing of it fits"
        listed = (f"  {part}: {reason}" for part, reason in refused.items())
        raise ConfigError(f"init_from: {config.bundle}: {what}:", *listed)
    frozen = tuple(dict.fromkeys(part for name in config.freeze for part in _named(name, here, "init_from.freeze")))
    for part in frozen:
        if part not in transfers:
            raise ConfigError(
                f"init_from.freeze: {part} is not transferred ({not_moved[part]}), and its random weights can't be "
                f"frozen; the transferred modules are {', '.join(transfers)}"
            )
    columns, targets = compatibility.preprocessing(transfers)
    for name, column in columns.items():
        if reason := shift(column, table):
            _log.warning("init_from: column %r: %s", name, reason)
    cleaners = {name: column.cleaner for name, column in columns.items()}
    cleaners |= {name: target.cleaner for name, target in targets.items()}
    for name, cleaner in cleaners.items():
        if cleaner and not recipe.data.cleaning.get(name):
            cleanings = ", ".join(each.type for each in cleaner.configs)
            _log.info("init_from: %r is cleaned as it was there (%s)", name, cleanings)
    return Start(
        config=config,
        bundle=bundle,
        transfers=transfers,
        not_moved=not_moved,
        frozen=frozen,
        columns=columns,
        targets=targets,
    )


def check_classes(recipe: Recipe, table: Table, targets: Sequence[Target]) -> None:
    """Checks that heads that move bring along the same classes, so that models can be compared with others.

    Args:
        recipe: Of one of the models that are compared.
        table: The training rows.
        targets: As these rows alone make them.

    Raises:
        ConfigError: They bring others.
    """
    config = recipe.init_from
    if config is None or not any(part.startswith("heads.") for part in _requested(config, _parts(recipe.model), None)):
        return
    start = plan_start(recipe, table)
    assert start is not None, "the recipe starts from a bundle"
    for target in targets:
        if target.name in start.targets and start.targets[target.name].target.classes != target.classes:
            raise ConfigError(
                f"init_from: heads.{target.name} brings other classes along than these training rows have, so its "
                "model can't be compared with one that starts anew; move encoders and the fusion alone"
            )


def model_mark(bundle: str) -> str:
    """A hash of the weights and the preprocessing that a bundle holds.

    Raises:
        BundleError: There is none.
    """
    return fingerprint(load(bundle, device="cpu"))


def like_bundle(recipe: Recipe, *, inferred: bool) -> Recipe:
    """A recipe that takes after the bundle that it starts from, where it leaves things open.

    Args:
        recipe: With `init_from`.
        inferred: Whether nobody wrote it: then the columns that both know are read and encoded as there, at the same
            width, and fused likewise if they are the same columns. Else only `encoder: auto` becomes the bundle's.
    """
    config = recipe.init_from
    assert config is not None, "the recipe starts from no bundle"
    if not inferred and not any(isinstance(encoder, AutoEncoderConfig) for encoder in recipe.model.encoders.values()):
        return recipe
    bundle = load(config.bundle, device="cpu")
    here, there = _parts(recipe.model), _parts(bundle.model_config)
    known = bundle.processor.columns
    encoders, columns = dict(recipe.model.encoders), dict(recipe.data.columns)
    cleaning = dict(recipe.data.cleaning)
    sources = {}
    for here_part, there_part in _requested(config, here, there).items():
        kind, _, name = here_part.partition(".")
        source = there_part.partition(".")[2]
        same_kind = kind == "encoders" and source in known and known[source].config.type == columns[name].type
        if same_kind and (inferred or isinstance(encoders[name], AutoEncoderConfig)):
            encoders[name] = bundle.model_config.encoders[source]
            sources[source] = name
            if inferred:
                columns[name] = dataclasses.replace(known[source].config, column=columns[name].column)
                if known[source].cleaner:
                    cleaning[name] = known[source].cleaner.configs
    if not inferred:
        return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, encoders=encoders))
    model = dataclasses.replace(recipe.model, encoders=encoders, width=bundle.model_config.width)
    if set(sources) == set(known) and len(sources) == len(columns):
        # In the bundle's order, which the fusion's weights follow.
        columns = {sources[name]: columns[sources[name]] for name in known}
        encoders = {name: encoders[name] for name in columns}
        taken = bundle.model_config
        model = dataclasses.replace(model, encoders=encoders, fusion=taken.fusion, missing=taken.missing)
    data = dataclasses.replace(recipe.data, columns=columns, cleaning=cleaning)
    return dataclasses.replace(recipe, model=model, data=data)


def without_parts(recipe: Recipe, columns: Sequence[str]) -> InitFromConfig | None:
    """What a recipe's `init_from` is to a model of some of its columns alone.

    The encoders of these columns and the heads move as they do with all columns; the fusion, which is one of all
    columns, starts anew. None where nothing is left to move.

    Args:
        recipe: Of all columns.
        columns: Those that stay.
    """
    config = recipe.init_from
    if config is None:
        return None
    if config.parts is None:
        known = load(config.bundle, device="cpu").processor.columns
        parts = {f"encoders.{name}": f"encoders.{name}" for name in recipe.data.columns if name in known}
    else:
        parts = _requested(config, _parts(recipe.model), None)
    gone = {"fusion", *(f"encoders.{name}" for name in recipe.data.columns if name not in columns)}
    here = _parts(recipe.model)
    frozen = [part for name in config.freeze for part in _named(name, here, "init_from.freeze")]
    left = {part: source for part, source in parts.items() if part not in gone}
    if not left:
        return None
    return dataclasses.replace(
        config,
        parts=left if config.parts is not None else None,
        freeze=tuple(part for part in frozen if part not in gone),
    )


def _parts(model: Any) -> tuple[str, ...]:
    """The parts of a model's config, in order."""
    return (*(f"encoders.{name}" for name in model.encoders), "fusion", *(f"heads.{name}" for name in model.heads))


def _requested(config: InitFromConfig, here: Sequence[str], there: Sequence[str] | None) -> dict[str, str]:
    """Per part here, the part there that it is to start from.

    Args:
        config: The recipe's.
        here: The new model's parts.
        there: The trained one's; None takes names there as they stand.
    """
    where = "init_from.parts"
    if config.parts is None:
        return {part: part for part in here if not part.startswith("heads.")}
    if isinstance(config.parts, tuple):
        return {part: part for name in config.parts for part in _named(name, here, where)}
    requested = {}
    for name, source in config.parts.items():
        (part,) = _named(name, here, where, single=True)
        kind = part.partition(".")[0]
        full = source if source == "fusion" or source.startswith(f"{kind}.") else f"{kind}.{source}"
        if there is not None:
            (full,) = _named(full, there, f"{where}.{name}", single=True)
        if full.partition(".")[0] != kind:
            raise ConfigError(f"{where}.{name}: {part} can't start from {full}, which is another kind of part")
        requested[part] = full
    return requested


def _named(name: str, parts: Sequence[str], where: str, *, single: bool = False) -> list[str]:
    """The parts that a name stands for.

    Raises:
        ConfigError: None, or two of them.
    """
    if name in parts:
        return [name]
    if name in ("encoders", "heads") and not single:
        return [part for part in parts if part.startswith(f"{name}.")]
    results = [part for part in parts if part.partition(".")[2] == name]
    if len(results) == 1:
        return results
    if results:
        raise ConfigError(f"{where}: {name!r} may be {' or '.join(results)}; write which")
    raise ConfigError(f"{where}: there is no part {name!r}; the parts are {', '.join(parts)}")
