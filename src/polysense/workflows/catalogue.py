"""What a recipe can name: every family's members with their parameters, read from the code itself.

A component's summary and its parameters' meanings stand in its docstring once; the recipe's comments, `polysense list`
and the documentation's catalogue (`scripts/make_catalogue.py`) are all made from there. Third parties' components are
listed with their package.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polysense.recipe  # noqa: F401 (importing it registers everything that a recipe can name)
from polysense.config.base import Config, describe, members
from polysense.config.codec import to_dict
from polysense.core.packages import package_of
from polysense.core.spelling import did_you_mean
from polysense.core.wrapping import WIDTH, wrapped
from polysense.data.cleaning import CleaningConfig
from polysense.data.exporting import ExporterConfig  # noqa: F401 (which no recipe names)
from polysense.data.features import FeatureConfig
from polysense.data.importing import ImporterConfig  # noqa: F401 (which no recipe names)
from polysense.errors import ConfigError
from polysense.escaping import joined
from polysense.nn.encoder import EncoderConfig
from polysense.nn.head import HeadConfig
from polysense.workflows.labeling.strategies.base import StrategyConfig  # noqa: F401 (which no recipe names)

__all__ = [
    "FAMILIES",
    "Component",
    "FamilyInfo",
    "Parameter",
    "components",
    "find",
    "listing",
    "overview",
    "plain_type",
]


_HEAD_WIDTH = 40  # of a line, before what the component is


@dataclass(frozen=True)
class FamilyInfo:
    """A set of components that are told apart by `type`.

    Attributes:
        name: Its name on the command line.
        where: Where a recipe names one.
        text: What they do.
        singular: One of them; None: the name without its s.
    """

    name: str
    where: str
    text: str
    singular: str | None = None

    @property
    def key(self) -> str:
        """Its name in code and in entry points: the singular."""
        return self.name.removesuffix("s") if self.singular is None else self.singular


FAMILIES = (
    FamilyInfo("encoders", "model.encoders.COLUMN", "Turn a column's cells into tokens."),
    FamilyInfo("fusions", "model.fusion", "Join the columns' tokens."),
    FamilyInfo("heads", "model.heads.TARGET", "Read a target from what was fused."),
    FamilyInfo("losses", "model.heads.TARGET.loss", "Say what a head of one class of several minimizes.", "loss"),
    FamilyInfo("estimators", "model.heads.TARGET.estimators.NAME", "Simple models of features, fitted after training."),
    FamilyInfo("objectives", "model.objectives.NAME", "Additional losses, in training only."),
    FamilyInfo("rewards", "model.objectives.NAME.reward", "Say what a generated text is worth to a policy gradient."),
    FamilyInfo("decodings", "model.heads.TARGET.decoding", "Choose the tokens of a text."),
    FamilyInfo("columns", "data.columns.COLUMN", "Say how an input column is read."),
    FamilyInfo("cleanings", "data.cleaning.NAME", "Change a column's cells before they are read, where asked."),
    FamilyInfo("imputations", "data.missing.COLUMN", "Stand in for missing cells, where asked."),
    FamilyInfo("features", "data.features.COLUMN", "Make numbers of a column's cells without trained weights."),
    FamilyInfo("targets", "data.targets.TARGET", "Say what kind of output a target is."),
    FamilyInfo("transforms", "data.transforms.COLUMN", "Vary a column's cells in training."),
    FamilyInfo("splits", "data.split", "Set rows aside to validate and to test."),
    FamilyInfo("batchings", "training.batching", "Choose which rows make a training step."),
    FamilyInfo("samplers", "training.sampler", "Choose how often each row is drawn in an epoch."),
    FamilyInfo("optimizers", "training.optimizer", "Turn gradients into steps."),
    FamilyInfo("balances", "training.balance", "Keep the column that learns first from leaving the others behind."),
    FamilyInfo("schedules", "training.schedule", "Change the learning rate over a run."),
    FamilyInfo("importers", "convert --format NAME", "Read annotated media in another format as a table."),
    FamilyInfo("exporters", "predict --export NAME=PATH", "Write predictions in another format, or as pictures."),
    FamilyInfo("strategies", "label --strategy NAME", "Choose which rows to label next.", "strategy"),
)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One key of a component.

    Attributes:
        name: The key.
        kind: Its type, as the code has it.
        default: As YAML and JSON write it; None where it must be given.
        text: What it means.
    """

    name: str
    kind: str
    default: str | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Component:
    """One member of a family.

    Attributes:
        family: The family's name on the command line.
        name: Its `type`.
        summary: One line.
        serves: The modalities that an encoder takes or features are made of, or the tasks that a head serves.
        parameters: In the order of the code.
        package: The package that it comes from, where that is not polysense.
        about: What its file says of the idea, the source and the trade-off, where the file is its own.
    """

    family: str
    name: str
    summary: str
    serves: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    package: str | None
    about: str


def _served(config: type[Config]) -> tuple[str, ...]:
    """The modalities that an encoder takes or features are made of, or the tasks that a head serves."""
    if issubclass(config, EncoderConfig | FeatureConfig | CleaningConfig):
        return tuple(sorted(config.reads()))
    return tuple(sorted(config.serves())) if issubclass(config, HeadConfig) else ()


def components(family: FamilyInfo) -> list[Component]:
    """A family's members, sorted by name.

    Raises:
        ConfigError: A third party's component can't be loaded.
    """
    configs = members(family.key)
    modules = [config.__module__ for config in configs.values()]
    return [
        Component(
            family=family.name,
            name=name,
            summary=describe(config)[0],
            serves=_served(config),
            parameters=_parameters(config),
            package=_package(config.__module__),
            about=(sys.modules[config.__module__].__doc__ or "").strip()
            if modules.count(config.__module__) == 1
            else "",
        )
        for name, config in configs.items()
    ]


def _parameters(config: type[Config]) -> tuple[Parameter, ...]:
    texts = describe(config)[1]
    return tuple(
        Parameter(
            name=field.name,
            # Python writes an annotation down with single quotes; JSON and YAML have double ones.
            kind=(field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)).replace(
                "'", '"'
            ),
            default=_default(field),
            text=texts.get(field.name, ""),
        )
        for field in dataclasses.fields(config)
        if field.name != "type"
    )


def _default(field: dataclasses.Field[Any]) -> str | None:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return None
    return json.dumps(to_dict(value), ensure_ascii=False)


def _package(module: str) -> str | None:
    top = module.partition(".")[0]
    if top == "polysense":
        return None
    package = package_of(module)
    return top if package is None else package.name


def find(family: str, name: str | None = None) -> list[Component]:
    """A family's members, or the one of that name.

    Args:
        family: As `polysense list` names it, in the plural or the singular.
        name: A `type`.

    Raises:
        ConfigError: There is none.
    """
    info = next((one for one in FAMILIES if family in (one.name, one.key)), None)
    if info is None:
        raise ConfigError(_unknown("family", family, [one.name for one in FAMILIES]))
    family_members = components(info)
    if name is None:
        return family_members
    named = [one for one in family_members if one.name == name]
    if not named:
        raise ConfigError(_unknown(info.key, name, [one.name for one in family_members]))
    return named


def _unknown(kind: str, name: str, choices: Sequence[str]) -> str:
    hint = did_you_mean(name, choices)
    return f"no {kind} is named {name!r}{hint} (choose from: {', '.join(choices)})"


def overview() -> str:
    """The families, counted."""
    rows = [(one.name, str(len(components(one))), f"{one.text} {one.where}") for one in FAMILIES]
    return joined([*_columns(rows), "", "polysense list FAMILY lists one, polysense list FAMILY NAME explains one."])


def listing(listed: Sequence[Component], *, details: bool) -> str:
    """One line for each, or everything."""
    if details:
        return "\n\n".join(_details(one) for one in listed)
    return joined(_columns([(one.name, ", ".join(one.serves), _summary(one)) for one in listed]))


def _summary(one: Component) -> str:
    return one.summary + (f" [{one.package}]" if one.package else "")


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names and what they serve in columns; what they are beside them where that leaves room, else below."""
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
    lines: list[str] = []
    for row in rows:
        head = f"{row[0]:<{widths[0]}}  {row[1] + '  ' if widths[1] else '':<{widths[1] + 2}}"
        if len(head) <= _HEAD_WIDTH:
            lines += wrapped(row[2], indent=head, hanging=" " * len(head))
        else:
            lines += [*wrapped(row[1], indent=f"{row[0]:<{widths[0]}}  "), *wrapped(row[2], indent="    ")]
    return lines


def _details(one: Component) -> str:
    lines = wrapped(f"{one.name}: {_summary(one)}", hanging="  ")
    if one.serves:
        lines += wrapped(f"serves {', '.join(one.serves)}", indent="  ", hanging="    ")
    for parameter in one.parameters:
        default = "must be given" if parameter.default is None else f"= {parameter.default}"
        head = f"  {parameter.name} {default}  ({plain_type(parameter.kind)})"
        lines += [head] if len(head) <= WIDTH else wrapped(head, indent="  ", hanging="    ")
        lines += wrapped(parameter.text, indent="      ") if parameter.text else []
    if not one.parameters:
        lines.append("  no parameters")
    return joined(lines)


def plain_type(kind: str) -> str:
    """A type for people: `Literal["a", "b"]` is "a" | "b"."""
    return re.sub(r"Literal\[([^\[\]]*)\]", lambda match: match[1].replace(", ", " | "), kind)
