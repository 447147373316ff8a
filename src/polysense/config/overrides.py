"""`a.b.c=value` on the command line.

A key that itself holds dots stands in brackets: `model.encoders[left.eye].width=64`. Values are YAML. Changing a
`type` starts that component afresh, since the old one's keys mean nothing to the new one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from polysense.config.codec import parse_yaml
from polysense.errors import ConfigError

__all__ = ["apply_overrides"]

_PART = re.compile(r"\[([^\]]+)\]|([^.\[\]=]+)")


def _split(path: str) -> list[str]:
    parts = [bracketed or plain for bracketed, plain in _PART.findall(path)]
    if not parts or _PART.sub("", path).strip("."):
        raise ConfigError(f"the override's path {path!r} can't be read; write a.b.c=value, or a[name with dots].c=value")
    return parts


def apply_overrides(plain: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Sets keys of a plain recipe in place and returns it.

    Args:
        plain: The recipe as plain dictionaries and lists.
        overrides: Each `a.b.c=value`.

    Raises:
        ConfigError: An override has no `=`, or its path runs through something that has no keys.
    """
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"found {override!r} where an override is expected; write a.b.c=value")
        parts = _split(path.strip())
        value = parse_yaml(text, f"override {path.strip()}")
        here: Any = plain
        for depth, part in enumerate(parts[:-1]):
            if isinstance(here, list):
                here = here[_index(here, part, override)]
                continue
            below = here.get(part)
            if below is None:
                below = here[part] = {}
            elif isinstance(below, str):
                below = here[part] = {"type": below}
            elif not isinstance(below, (dict, list)):
                raise ConfigError(
                    f"override {override!r}: {'.'.join(parts[: depth + 1])} is {below!r}, which has no keys below it"
                )
            here = below
        last = parts[-1]
        if isinstance(here, list):
            here[_index(here, last, override)] = value
        elif last == "type" and "type" in here and here["type"] != value:
            here.clear()
            here["type"] = value
        else:
            here[last] = value
    return plain


def _index(values: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(values):
        raise ConfigError(f"override {override!r}: expected a position from 0 to {len(values) - 1}, found {part!r}")
    return int(part)
