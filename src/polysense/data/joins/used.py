"""Which columns of joined tables a recipe uses, so that no others are joined."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

__all__ = ["uses_of"]


def uses_of(plain: Mapping[str, Any], more: Collection[str] = ()) -> Callable[[str], bool]:
    """Whether a recipe's `data` names a column, in whatever key, a prompt's template included.

    A name that is part of another counts too: a column too many costs memory, one too few would be missing.

    Args:
        plain: `data` as plain values.
        more: Further columns that are used.
    """
    named = "\0".join([*_texts(plain), *more])
    return lambda column: column in named


def _texts(plain: Any) -> Iterator[str]:
    if isinstance(plain, str):
        yield plain
    elif isinstance(plain, Mapping):
        for key, below in plain.items():
            yield str(key)
            yield from _texts(below)
    elif isinstance(plain, (list, tuple)):
        for below in plain:
            yield from _texts(below)
