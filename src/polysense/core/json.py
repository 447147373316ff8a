"""JSON as polysense writes it: strict, UTF-8, and null for what JSON can't say.

Python's own writer gives `NaN` and `Infinity`, which no other reader takes, and knows neither numpy's scalars nor enums
nor dataclasses; its reader ends in a RecursionError on deep nesting. Here both ends say what is wrong and where.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import json
import math
from collections.abc import Iterable, Mapping, Set
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, TypeAlias, TypeVar

from polysense.core.files import write_text
from polysense.errors import BundleError

__all__ = [
    "JsonValue",
    "json_object",
    "json_text",
    "parse_json",
    "read_fields",
    "read_json",
    "to_json",
    "write_json",
    "write_json_lines",
]

# Not recursive: the checks of signatures in tests can't resolve a type within itself.
JsonValue: TypeAlias = bool | int | float | str | list[object] | dict[str, object] | None

T = TypeVar("T")

_MAX_DEPTH = 200
_TOO_DEEP = f"it is nested too deeply to be read as JSON: more than {_MAX_DEPTH} levels"
_MAX_DIGITS = 4300  # what Python reads and writes by default


def to_json(value: object, where: str = "") -> JsonValue:
    """A value in JSON's own types.

    Args:
        value: None, numbers, texts, enums, dataclasses, dates, paths, mappings, sequences, sets; arrays and scalars of
            numpy and torch. What is not finite becomes null.
        where: The value's name, for the message.

    Raises:
        ValueError: It is nested too deeply, or holds an integer of too many digits.
        TypeError: It holds something else.
    """
    return _plain(value, where, 0)


def json_object(value: object, **changes: object) -> dict[str, Any]:
    """A dataclass's fields or a mapping's entries in JSON's own types, some of them replaced or added."""
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    assert isinstance(value, Mapping), f"found a {type(value).__name__}, expected what JSON calls an object"
    return {name: to_json(entry, name) for name, entry in {**value, **changes}.items()}


def json_text(value: object, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """A value as a JSON text, on one line unless `indent` is given; errors as in `to_json`."""
    return json.dumps(to_json(value), indent=indent, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file, whole or not at all; errors as in `to_json` and `write_text`."""
    write_text(path, json_text(value, indent=1) + "\n")


def write_json_lines(path: Path, values: Iterable[object]) -> None:
    """Writes a JSON Lines file, whole or not at all; errors as in `to_json` and `write_text`."""
    write_text(path, "".join(json_text(value) + "\n" for value in values))


def read_json(path: Path, kind: type[T]) -> T:
    """Reads a JSON file.

    Args:
        path: The file.
        kind: Its outermost type: dict or list.

    Raises:
        OSError: It can't be read.
        ValueError: It is no JSON, or of another type.
    """
    return parse_json(path.read_text(encoding="utf-8"), kind)


def read_fields(path: Path, *names: str) -> list[object]:
    """The values of some keys of a small file that a bundle holds.

    Args:
        path: A JSON object's file.
        names: Its keys.

    Raises:
        BundleError: It can't be read, or lacks one of them.
    """
    try:
        plain = read_json(path, dict)
        return [plain[name] for name in names]
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path}: can't be read ({type(error).__name__}: {error}); copy the bundle again") from None


def parse_json(text: str, kind: type[T], *, constants: bool = False) -> T:
    """Reads a JSON text; arguments and errors as in `read_json`.

    Args:
        text: Of one value.
        kind: Its outermost type; `object` takes any.
        constants: Whether NaN and Infinity are read, as Python writes them.
    """
    try:
        value = json.loads(text, parse_constant=None if constants else _refuse, parse_int=_integer)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if _depth_of(value) > _MAX_DEPTH:
        raise ValueError(_TOO_DEEP)
    if not isinstance(value, kind):
        raise ValueError(f"found a JSON {type(value).__name__}, expected a {kind.__name__}")
    return value


def _plain(value: object, where: str, depth: int) -> JsonValue:
    if value is None or (isinstance(value, (bool, str)) and not isinstance(value, Enum)):
        return value
    if depth > _MAX_DEPTH:
        raise ValueError(f"{where[:100]}: nested more than {_MAX_DEPTH} levels deep, or within itself")
    if isinstance(value, Enum):
        return _plain(value.value, where, depth)
    if isinstance(value, int):
        if abs(value) >= 10**_MAX_DIGITS:
            raise ValueError(f"{where or 'JSON'}: an integer of more than {_MAX_DIGITS} digits")
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        keys = {key: _key(key, where) for key in value}
        return {name: _plain(value[key], f"{where}.{name}" if where else name, depth + 1) for key, name in keys.items()}
    if isinstance(value, (list, tuple, Set)):
        return [_plain(below, f"{where}[{index}]", depth + 1) for index, below in enumerate(value)]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (PurePath, decimal.Decimal, datetime.timedelta)):
        return str(value)
    # Arrays and scalars of numpy and torch, without importing either.
    tolist = getattr(value, "tolist", None)
    if callable(tolist):
        return _plain(tolist(), where, depth + 1)
    raise TypeError(f"{where or 'JSON'}: found a {type(value).__name__}, which JSON can't hold")


def _depth_of(value: object) -> int:
    """Levels of lists and objects, counted without recursion."""
    depth, level = 0, [value]
    while level := [below for each in level if isinstance(each, (list, dict)) for below in _below(each)]:
        depth += 1
    return depth


def _below(value: list[object] | dict[str, object]) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value


def _key(key: object, where: str) -> str:
    plain = _plain(key, where, 0)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits; at most {_MAX_DIGITS:,} are read")
    return int(digits)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
