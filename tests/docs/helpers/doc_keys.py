"""Whether a recipe has a key, and partial recipes made whole."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

import polysense.recipe  # noqa: F401 (registers every component)
from polysense.config.base import Family, members
from polysense.config.codec import from_dict
from polysense.core.registry import modalities
from polysense.recipe import Recipe

_ENCODERS = {name: str(spec.default_encoder(None)["type"]) for name, spec in modalities().items()}
_HEADS = {"chat": "generation"}


def has_key(path: str) -> bool:
    """Whether some recipe has the key `a.b.c`; names of columns and targets may be anything."""
    bracketed = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
    return _has(Recipe, [one or other for one, other in bracketed.findall(path)])


def _has(kind: Any, parts: list[str]) -> bool:
    if not parts:
        return True
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return any(_has(option, parts) for option in typing.get_args(kind))
    if typing.get_origin(kind) in (dict, Mapping):
        return _has(typing.get_args(kind)[1], parts[1:])
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return False
    kinds = [kind]
    if issubclass(kind, Family) and not isinstance(kind.__dict__.get("type"), str):
        kinds = [*members(kind.family).values()]
    for each in kinds:
        hints = typing.get_type_hints(each)
        if parts[0] in {field.name for field in dataclasses.fields(each)} and _has(hints[parts[0]], parts[1:]):
            return True
    return False


def complete(plain: dict[str, Any]) -> Recipe:
    """A recipe of which a page shows a part: what it lacks is the simplest thing that goes with it.

    Raises:
        ConfigError: What is shown is wrong: an unknown key, a value of the wrong type.
    """
    data, model = plain.setdefault("data", {}), plain.setdefault("model", {})
    columns, encoders = data.setdefault("columns", {}), model.setdefault("encoders", {})
    targets, heads = data.setdefault("targets", {}), model.setdefault("heads", {})
    for name, encoder in encoders.items():
        read = members("encoder")[_type(encoder)].reads() if _type(encoder) != "auto" else {"text"}
        columns.setdefault(name, {"type": next(kind for kind in _ENCODERS if kind in read)})
    for name in data.get("transforms", {}):
        columns.setdefault(name, {"type": _type(data["transforms"][name])})
    for target in targets.values():
        for name in target.get("columns") or () if isinstance(target, dict) else ():
            columns.setdefault(name, {"type": "text"})
    if not columns:
        columns["note"] = {"type": "text"}
    for name, column in columns.items():
        encoders.setdefault(name, {"type": _ENCODERS[_type(column)]})
    for name, head in heads.items():
        inner = head["head"] if isinstance(head, dict) and "head" in head else head
        targets.setdefault(name, {"type": next(iter(members("head")[_type(inner)].tasks))})
    if not targets:
        targets["label"] = {"type": "classification"}
    for name, target in targets.items():
        heads.setdefault(name, {"type": _HEADS.get(_type(target), _type(target))})
    return from_dict(Recipe, plain, where="the page's part of a recipe")


def _type(component: Any) -> str:
    return component if isinstance(component, str) else str(component["type"])
