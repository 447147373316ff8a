"""Config, the base of every component's settings, and Family, the one registry.

A family is a set of interchangeable components told apart by `type:` (encoders, fusions, heads, optimizers, ...). A
member registers itself by being defined; a third party's is found through an entry point in the group
`polysense.<family>`, named as its type, whose value is the config class, or in the folder of its modality or task.

    @dataclass(frozen=True, kw_only=True)
    class GatedConfig(FusionConfig):
        type: Literal["gated"] = "gated"
        dropout: float = 0.1

    class Gated(Fusion, config=GatedConfig): ...

A config's `build` makes what the class that names it is; one that has more to decide replaces `build`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from polysense.config.limits import check_limits
from polysense.core.packages import entry_points
from polysense.errors import ConfigError

__all__ = ["Config", "Configured", "Family", "describe", "members", "num_registered"]

_families: dict[str, dict[str, type[Family]]] = {}
_homes: dict[str, tuple[str, ...]] = {}
_ROOMS = {"modalities": "modality", "tasks": "task"}  # whose folders third parties have too


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all settings: frozen, keyword-only, unknown keys rejected when read, numbers within their limits.

    `replaced` names keys that there were once (of a family also types), and what to write instead.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    replaced: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__post_init__" in cls.__dict__:
            setattr(cls, "__post_init__", _within_limits(cls.__post_init__))  # noqa: B010 (a method, to mypy)

    def __post_init__(self) -> None:
        check_limits(self)


def _within_limits(check: Callable[[Any], None]) -> Callable[[Any], None]:
    """A config's own check, run on numbers within their limits, whether or not it calls the base's."""

    @functools.wraps(check)
    def checked(self: Any) -> None:
        check_limits(self)
        check(self)

    return checked


@dataclass(frozen=True, kw_only=True)
class Family(Config):
    """Base of a `type:` family; subclass it with `family="name"`, then subclass that with a `type` each.

    `homes` are the modules in which polysense's own members stand, such as "modalities.*.encoders.*": a file put there
    is a member, and nobody has to import it. The folder of a third party's modality or task is laid out in the same
    way, so its entry point (`polysense.modality`, "package.chess.spec:ChessSpec") is the only one that it needs.
    """

    family: ClassVar[str] = ""
    builds: ClassVar[Callable[..., Any] | None] = None
    type: str

    def __init_subclass__(cls, *, family: str | None = None, homes: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if family is not None:
            cls.family = family
            _families[family] = {}
            _homes[family] = homes
        elif isinstance(cls.__dict__.get("type"), str):
            known = _families[cls.family].setdefault(cls.__dict__["type"], cls)
            # dataclass(slots=True) and module reloads define a class twice; two different ones are a clash.
            if known.__qualname__ != cls.__qualname__ or known.__module__ != cls.__module__:
                raise ConfigError(
                    f"two {cls.family}s are named {cls.__dict__['type']!r}: {known.__module__}.{known.__qualname__} "
                    f"and {cls.__module__}.{cls.__qualname__}; rename one of them"
                )
            _families[cls.family][cls.__dict__["type"]] = cls

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        if isinstance(cls.__dict__.get("type"), str):
            return handler(source)
        choices = {name: handler.generate_schema(member) for name, member in members(cls.family).items()}
        union = core_schema.tagged_union_schema(choices, discriminator=_type_of)
        return core_schema.no_info_before_validator_function(_spell_out, union)


class Configured:
    """Base of what configs of a family build."""

    def __init_subclass__(cls, *, config: type[Family] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if config is not None:
            config.builds = cls


def _spell_out(value: Any) -> Any:
    """`fusion: gated` is short for `fusion: {type: gated}`."""
    return {"type": value} if isinstance(value, str) else value


def _type_of(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else getattr(value, "type", None)


def members(family: str) -> dict[str, type[Family]]:
    """A family's members by type, third parties' included, sorted.

    Raises:
        ConfigError: A third party's entry point can't be loaded.
    """
    for home in _homes.pop(family, ()):
        room, *pattern = home.split(".")
        _import_all("polysense", [room, *pattern])
        for point in entry_points(f"polysense.{_ROOMS[room]}") if room in _ROOMS else ():
            with _blamed(f"the {_ROOMS[room]} {point.name!r}", point.value, point.dist):
                _import_all(point.module.rpartition(".")[0], pattern[1:])
    result = _families.setdefault(family, {})
    for point in entry_points(f"polysense.{family}"):
        if point.name not in result:
            with _blamed(f"the {family} {point.name!r}", point.value, point.dist):
                result[point.name] = point.load()
    return dict(sorted(result.items()))


@contextlib.contextmanager
def _blamed(part: str, module: str, package: Any) -> Iterator[None]:
    """Whatever a third party's module raises is its package's fault, and says so."""
    try:
        yield
    except Exception as error:
        raise ConfigError(
            f"{part} of the package {package.name if package else '?'} can't be loaded from {module}: {error}; mend or "
            f"uninstall that package"
        ) from error


def _import_all(package: str, pattern: Sequence[str]) -> None:
    """Imports the modules of a package that a pattern names, part by part as file names (`*`, `*target`)."""
    spec = importlib.import_module(package).__spec__
    if not pattern or spec is None or spec.submodule_search_locations is None:
        return
    for below in pkgutil.iter_modules(spec.submodule_search_locations):
        if fnmatch.fnmatchcase(below.name, pattern[0]):
            _import_all(f"{package}.{below.name}", pattern[1:])


def num_registered() -> int:
    """Members of all families, as far as they are loaded."""
    return sum(len(known) for known in _families.values())


def describe(config: type[Config]) -> tuple[str, dict[str, str]]:
    """A config's one-line summary and, per field, its text in the docstring's Attributes section.

    A field that a base class declares is described there, unless the config's own docstring says otherwise.
    """
    lines = inspect.cleandoc(config.__dict__.get("__doc__") or "").splitlines()
    texts: dict[str, str] = {}
    for each in reversed(config.__mro__):
        texts |= _attributes(each)
    return lines[0] if lines else "", texts


def _attributes(config: type) -> dict[str, str]:
    """The entries of the Attributes section of a class's own docstring."""
    texts: dict[str, str] = {}
    inside, current = False, ""
    for line in inspect.cleandoc(config.__dict__.get("__doc__") or "").splitlines()[1:]:
        if not line.startswith(" "):
            inside = line.startswith("Attributes:") or (inside and not line)
        elif inside:
            start = re.match(r" {4}(\w+): (.*)", line)
            if start:
                current = start.group(1)
                texts[current] = start.group(2).strip()
            elif current:
                texts[current] += " " + line.strip()
    return texts
