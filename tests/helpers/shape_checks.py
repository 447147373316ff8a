"""Checks the annotated shapes of polysense on every call of a function that has some.

jaxtyping's own hook wraps every function of a package and binds the arguments of each call twice. That was a quarter of
the time of all tests, spent for the most part on functions without a shape, whose types mypy knows.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jaxtyping

_jaxtyped = jaxtyping.jaxtyped


def install() -> None:
    """To be called before anything of polysense is imported."""
    jaxtyping.jaxtyped = jaxtyped  # the name by which the decorators that the hook writes are looked up
    jaxtyping.install_import_hook("polysense", "beartype.beartype")


def jaxtyped(*, typechecker: Any) -> Callable[[Any], Any]:
    """jaxtyping's decorator for what has shapes in its annotations; nothing for the rest."""
    return lambda decorated: _jaxtyped(decorated, typechecker=typechecker) if has_shapes(decorated) else decorated


def has_shapes(decorated: Any) -> bool:
    """Whether an annotation of a function, a property or a dataclass names the shape of an array, itself or by an alias."""
    if inspect.isclass(decorated):
        # A dataclass takes the fields of its bases too, each written in its own module.
        owners = decorated.__mro__ if dataclasses.is_dataclass(decorated) else ()
        places = [(inspect.get_annotations(owner), vars(sys.modules[owner.__module__])) for owner in owners]
    else:
        function = inspect.unwrap(getattr(decorated, "fget", None) or getattr(decorated, "__func__", decorated))
        places = [(getattr(function, "__annotations__", {}), getattr(function, "__globals__", {}))]
    return any(_is_shape(each) for written, names in places for each in _mentioned(written.values(), names))


def _mentioned(written: Iterable[Any], names: dict[str, Any]) -> Iterator[Any]:
    """The annotations that are objects, and what the identifiers of those that are text stand for."""
    for annotation in written:
        if isinstance(annotation, str):
            yield from (names[name] for name in re.findall(r"\b[^\W\d]\w*", annotation) if name in names)
        else:
            yield annotation


def _is_shape(annotation: Any) -> bool:
    return type(annotation).__module__.startswith("jaxtyping") or any(map(_is_shape, typing.get_args(annotation)))
