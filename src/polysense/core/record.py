"""Records read back from JSON: every field of the type that its class declares, or an error that names it.

A bundle may come from anywhere. A record with a text where a number is declared would be built all the same, and fail
somewhere in the middle of a prediction.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, TypeVar, cast

from polysense.core.spelling import shortened

__all__ = ["read_record"]

R = TypeVar("R")


def read_record(record: type[R], plain: Mapping[str, Any]) -> R:
    """Builds a record of plain values.

    Args:
        record: Its class.
        plain: Per field its value, lists for tuples; records within it may be built already.

    Raises:
        ValueError: A field is missing, is none of the class's, is of another type, or is a size below 0; names it.
    """
    from pydantic import ValidationError

    known = {field.name for field in dataclasses.fields(record)}  # type: ignore[arg-type]
    for name in plain:
        if name not in known:
            raise ValueError(f"{record.__name__} has no field {name!r}")
    try:
        built: R = _adapter(cast("Hashable", record)).validate_python(dict(plain))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "value_error":  # what the record itself says, unless a number is none to begin with
            _require_sizes(plain)
            raise ValueError(str(first["ctx"]["error"])) from None
        where = ".".join(map(str, first["loc"])) or record.__name__
        raise ValueError(f"{where}: found {shortened(first['input'])}; {first['msg']}") from None
    _require_sizes({name: getattr(built, name) for name in known})
    return built


def _require_sizes(values: Mapping[str, Any]) -> None:
    for name in sorted(values):
        for value in _numbers(values[name]):
            if not math.isfinite(value) or (isinstance(value, int) and not -1 <= value < 2**53):
                raise ValueError(f"{name}: found {shortened(value)}, expected a size or a finite number")


@functools.cache
def _adapter(record: Hashable) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cast("Any", record))


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, list | tuple):
        for below in value:
            yield from _numbers(below)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value
