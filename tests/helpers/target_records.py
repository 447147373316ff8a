"""A fitted target of any registered task, as far as metrics and spec questions need one."""

from __future__ import annotations

import dataclasses

from polysense.core.registry import task
from polysense.core.schema import Target

__all__ = ["target_of"]

_NAMES = ("a", "b")
_FIELDS = {"members": _NAMES, "classes": _NAMES, "over": "a"}


def target_of(name: str) -> Target:
    """A target about the columns a and b, or of the classes a and b."""
    record = task(name).record
    own = {field.name for field in dataclasses.fields(record)}
    return record(name="y", task=name, columns=_NAMES, **{key: value for key, value in _FIELDS.items() if key in own})
