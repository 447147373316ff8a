"""Checks the annotated shapes of polysense on every call of a function that has some.

jaxtyping's hook finds the functions; how they are wrapped is lighter than its own way, which binds the arguments of
every call and checks them twice, with and without what comes back, of functions without a shape as well: two thirds of
the time of a small training. Here a function without shapes stays as it is (mypy knows its types), and one with shapes
is checked once, by beartype within a context of jaxtyping, so that a name stands for one size throughout a call.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

_jaxtyped = jaxtyping.jaxtyped
_typechecked = beartype(conf=BeartypeConf(violation_type=TypeError))


def install(*, everything: bool = False) -> None:
    """To be called before anything of polysense is imported.

    Args:
        everything: Whether types without shapes are checked too, as jaxtyping does it.
    """
    if not everything:
        jaxtyping.jaxtyped = jaxtyped  # the name by which the decorators that the hook writes are looked up
    jaxtyping.install_import_hook("polysense", "beartype.beartype")


def jaxtyped(*, typechecker: Any) -> Callable[[Any], Any]:
    """Stands in for the decorator of jaxtyping's hook."""
    del typechecker
    return checked


def checked(decorated: Any) -> Any:
    """A function, method or dataclass of which every call is checked, if it has shapes in its annotations."""
    match decorated:
        case classmethod() | staticmethod():
            return type(decorated)(checked(decorated.__func__))
        case property():
            return property(decorated.fget and checked(decorated.fget), decorated.fset, decorated.fdel)
        case type():
            if dataclasses.is_dataclass(decorated):
                decorated.__init__ = checked(decorated.__init__)
            return decorated
    if not callable(decorated) or getattr(decorated, "is_checked", False):
        return decorated
    shapes = {name: each for name, each in _annotations(decorated) if _is_shape(each)}
    if not shapes:
        return decorated
    if any("{" in str(written) for written in decorated.__annotations__.values()):
        return _jaxtyped(decorated, typechecker=beartype)  # a size is that of an argument, which it alone looks up

    typed = types.FunctionType(
        decorated.__code__, decorated.__globals__, decorated.__name__, decorated.__defaults__, decorated.__closure__
    )
    typed.__kwdefaults__, typed.__qualname__ = decorated.__kwdefaults__, decorated.__qualname__
    typed.__module__, typed.__annotations__ = decorated.__module__, shapes
    typed = _typechecked(typed)

    @functools.wraps(decorated)
    def call(*arguments: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        with _jaxtyped("context"):
            return typed(*arguments, **options)

    call.is_checked = True  # type: ignore[attr-defined]
    return call


def _annotations(function: Any) -> Iterator[tuple[str, Any]]:
    """By parameter what its annotation stands for, as far as its module knows that when it is defined."""
    for name, written in function.__annotations__.items():
        with contextlib.suppress(NameError, AttributeError, TypeError):
            yield name, eval(written, function.__globals__) if isinstance(written, str) else written


def _is_shape(annotation: Any) -> bool:
    return type(annotation).__module__.startswith("jaxtyping") or any(map(_is_shape, typing.get_args(annotation)))
