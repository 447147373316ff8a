"""Dataclasses as JSON and back, by their annotations: what was measured, kept to be shown again.

`core.json` writes for readers outside: it has no way back, and null stands for every number that is none. Here nothing
is lost: NaN and infinities are texts, a mapping is a list of pairs, an array has its type and shape. What is read is
checked against the annotations, so a file that somebody has edited is refused and ends in no strange object.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin

import numpy as np

from polysense.core.task_spec import Measure

__all__ = ["from_plain", "to_plain"]

T = TypeVar("T")

_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_ARRAY, _MEASURE = "array", "measure"
_OF_NUMBERS = "biuf"


def to_plain(value: object) -> object:
    """A value in JSON's own types.

    Args:
        value: None, bool, int, float, str, enums, `Measure`s, dataclasses, mappings, sequences and arrays of numbers.

    Raises:
        TypeError: It holds something else.
    """
    if value is None or isinstance(value, (bool, np.bool_)):
        return value if value is None else bool(value)
    if isinstance(value, Enum):
        return to_plain(value.value)
    if isinstance(value, Measure):
        return {_MEASURE: [str(value), value.label, value.unit]}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in _OF_NUMBERS:
            raise TypeError(f"found an array of {value.dtype}, which is not kept")
        return {_ARRAY: str(value.dtype), "shape": list(value.shape), "values": to_plain(value.ravel().tolist())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return [[to_plain(key), to_plain(entry)] for key, entry in value.items()]
    if isinstance(value, Sequence):
        return [to_plain(entry) for entry in value]
    raise TypeError(f"found a {type(value).__name__}, which is not kept")


def from_plain(kind: type[T], plain: object) -> T:
    """The value of a type that `to_plain` wrote.

    Args:
        kind: A dataclass.
        plain: As JSON has it.

    Raises:
        ValueError: It is no such value; the message says where.
    """
    value: T = _read(kind, plain, kind.__name__)
    return value


@cache
def _hints(kind: type[object]) -> Mapping[str, object]:
    return typing.get_type_hints(kind)


def _read(kind: Any, plain: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _of_union(arguments, plain, where)
    if kind is None or kind is type(None):
        return _checked(plain, plain is None, "null", where)
    # A measure is a text, and mappings that have texts as keys may have measures.
    if kind in (str, Measure) and isinstance(plain, dict):
        names = plain.get(_MEASURE, ())
        _checked(plain, len(plain) == 1 and len(names) == 3, f"a {kind.__name__}", where)
        return Measure(*(_read(str, each, where) for each in names))
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(plain)
        except ValueError:
            raise ValueError(f"{where}: found {plain!r}, expected a {kind.__name__}") from None
    if kind in (str, bool, int):
        return _checked(plain, type(plain) is kind, kind.__name__, where)
    if kind is float:
        if isinstance(plain, str) and plain in _NUMBERS:
            return _NUMBERS[plain]
        return float(_checked(plain, type(plain) in (int, float), "a number", where))
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, plain, where)
    if _is_array(kind):
        return _array(plain, where)
    if origin is not None and issubclass(origin, Mapping):
        _checked(plain, isinstance(plain, list), "a list of pairs", where)
        for pair in plain:
            _checked(pair, isinstance(pair, list) and len(pair) == 2, "a pair", where)
        key, entry = arguments
        return {_read(key, a, where): _read(entry, b, f"{where}[{a!r}]") for a, b in plain}
    if origin is tuple and arguments[-1] is not Ellipsis:
        _checked(plain, isinstance(plain, list) and len(plain) == len(arguments), f"{len(arguments)} entries", where)
        return tuple(
            _read(each, own, f"{where}[{i}]") for i, (each, own) in enumerate(zip(arguments, plain, strict=True))
        )
    if origin is not None and issubclass(origin, Sequence):
        _checked(plain, isinstance(plain, list), "a list", where)
        return tuple(_read(arguments[0], own, f"{where}[{i}]") for i, own in enumerate(plain))
    raise ValueError(f"{where}: values of the type {kind} are not kept")


def _of_union(kinds: Sequence[Any], plain: Any, where: str) -> Any:
    """The first of several types that a value is of."""
    reasons = []
    for kind in kinds:
        try:
            return _read(kind, plain, where)
        except ValueError as error:
            reasons.append(error)
    raise reasons[0]  # the others, null as a rule, say less


def _dataclass(kind: Any, plain: Any, where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    _checked(plain, isinstance(plain, dict) and set(plain) == set(fields), f"the fields of {kind.__name__}", where)
    hints = _hints(kind)
    return kind(**{name: _read(hints[name], plain[name], f"{where}.{name}") for name in fields})


def _is_array(kind: Any) -> bool:
    return kind is np.ndarray or get_origin(kind) is np.ndarray or getattr(kind, "array_type", None) is np.ndarray


def _array(plain: Any, where: str) -> np.ndarray:
    names = {_ARRAY, "shape", "values"}
    _checked(plain, isinstance(plain, dict) and set(plain) == names, "an array", where)
    values = [_read(float, each, where) if isinstance(each, str) else each for each in plain["values"]]
    try:
        kind = np.dtype(plain[_ARRAY])
        _checked(plain, kind.kind in _OF_NUMBERS, "an array of numbers", where)
        return np.array(values, dtype=kind).reshape(plain["shape"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: no array: {error}") from None


def _checked(plain: Any, is_right: bool, expected: str, where: str) -> Any:
    if not is_right:
        raise ValueError(f"{where}: found {str(plain)[:60]!r}, expected {expected}")
    return plain
