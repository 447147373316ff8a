"""Registry of modalities and tasks: a kind is a folder with a `spec.py`, or an entry point of an installed package.

    polysense/modalities/NAME/spec.py, polysense/tasks/NAME/spec.py     one instance each, named SPEC
    [project.entry-points."polysense.modality"]                         a third party's: NAME = "package.module:SPEC"
    [project.entry-points."polysense.task"]                             the same; a spec's class will do as well
    [project.entry-points."polysense.metric"]                           an ExtraMetric of a task

Generic code asks here and imports no kind. Kinds come in the order of their `rank`, then of their names.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar, runtime_checkable

from polysense.core.metric import ExtraMetric
from polysense.core.modality_spec import ModalitySpec
from polysense.core.packages import entry_points
from polysense.core.schema import Target
from polysense.core.task_spec import TaskSpec
from polysense.errors import ConfigError

__all__ = ["by_name", "extra_metrics", "modalities", "modality", "named", "specs", "task", "tasks"]


@runtime_checkable
class _Ranked(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def rank(self) -> int: ...


K = TypeVar("K", bound=_Ranked)


def modality(name: str) -> ModalitySpec:
    """The spec of a modality.

    Raises:
        ConfigError: There is none of that name.
    """
    known = modalities()
    if name not in known:
        raise ConfigError(f"there is no modality {name!r}; expected one of {', '.join(known)}")
    return known[name]


@functools.cache
def modalities() -> Mapping[str, ModalitySpec]:
    """All modalities by name, in order."""
    every = specs("modality", "polysense.modalities", ModalitySpec)
    return by_name([spec for spec in every if isinstance(spec, ModalitySpec)], "modality")


def task(name: str) -> TaskSpec[Target]:
    """The spec of a task.

    Raises:
        ConfigError: There is none of that name.
    """
    known = tasks()
    if name not in known:
        raise ConfigError(f"there is no task {name!r}; expected one of {', '.join(known)}")
    return known[name]


@functools.cache
def tasks() -> Mapping[str, TaskSpec[Target]]:
    """All tasks by name, in order."""
    every = specs("task", "polysense.tasks", TaskSpec)
    return by_name([spec for spec in every if isinstance(spec, TaskSpec)], "task")


@functools.cache
def extra_metrics(task_name: str) -> tuple[ExtraMetric, ...]:
    """What installed packages measure of a task beside its own metrics, in the order of their names."""
    every = [extra for extra in _loaded("metric", ExtraMetric) if isinstance(extra, ExtraMetric)]
    return tuple(extra for extra in every if extra.task == task_name)


def named(where: str) -> Callable[..., object]:
    """The function that a spec names as "module:function"."""
    module, _, function = where.partition(":")
    result: Callable[..., object] = vars(importlib.import_module(module))[function]
    return result


def specs(kind: str, home: str, base: type) -> list[object]:
    """The specs in a package's folders and those of installed packages.

    Args:
        kind: "modality" or "task": the entry points' group is `polysense.KIND`.
        home: The package whose folders hold polysense's own.
        base: What each must be an instance of.

    Raises:
        ConfigError: A third party's spec can't be loaded, or is none.
    """
    result: list[object] = []
    for folder in pkgutil.iter_modules(importlib.import_module(home).__path__):
        name = f"{home}.{folder.name}.spec"
        if folder.ispkg and importlib.util.find_spec(name) is not None:
            result.append(_checked(vars(importlib.import_module(name))["SPEC"], base, name))
    return result + _loaded(kind, base)


def _loaded(kind: str, base: type) -> list[object]:
    """What installed packages have under `polysense.KIND`, each an instance of a base."""
    result: list[object] = []
    for point in sorted(entry_points(f"polysense.{kind}"), key=lambda point: point.name):
        package = point.dist.name if point.dist else "?"
        try:
            value = point.load()
        except Exception as error:
            raise ConfigError(
                f"the {kind} {point.name!r} of the package {package} can't be loaded from {point.value}: {error}; "
                f"mend or uninstall that package"
            ) from error
        result.append(_checked(value, base, f"{point.value} of the package {package}"))
    return result


def _checked(value: object, base: type, where: str) -> object:
    instance = value() if isinstance(value, type) and issubclass(value, base) else value
    if not isinstance(instance, base):
        raise ConfigError(f"{where}: found {type(instance).__name__}, expected a {base.__name__} or its class")
    return instance


def by_name(known: list[K], kind: str) -> Mapping[str, K]:
    """Specs by name, in the order of their rank.

    Raises:
        ConfigError: Two have one name.
    """
    ordered = sorted(known, key=lambda spec: (spec.rank, spec.name))
    names = [spec.name for spec in ordered]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two specs of the kind {kind} are named {name!r}; rename one, or uninstall its package")
    return dict(zip(names, ordered, strict=True))
