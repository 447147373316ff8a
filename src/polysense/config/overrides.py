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

__all__ = ["apply_overrides", "split_override"]

_MAX_PARTS = 50
_PART = re.compile(r"\[([^\]]+)\]|([^.\[\]=]+)")
_OVERRIDE = re.compile(r"((?:\[[^\]]+\]|[^\[=])*)=(.*)", re.DOTALL)  # the first `=` outside brackets


def _split(path: str) -> list[str]:
    parts = [bracketed or plain.strip() for bracketed, plain in _PART.findall(path)]
    if not parts or "" in parts or _PART.sub("", path).strip("."):
        raise ConfigError(
            f"the override's path {path!r} can't be read; write a.b.c=value, or a[name with dots].c=value"
        )
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
        parts, text = split_override(override)
        value = parse_yaml(text, f"override {override.partition('=')[0].strip()}")
        here: Any = plain
        for depth, part in enumerate(parts[:-1]):
            key, below = _step(here, part, override)
            if below is None:
                below = here[key] = {}
            elif isinstance(below, str):
                below = here[key] = {"type": below}
            elif not isinstance(below, (dict, list)):
                raise ConfigError(
                    f"override {override!r}: {'.'.join(parts[: depth + 1])} is {below!r}, which has no keys below it"
                )
            here = below
        key, below = _step(here, parts[-1], override)
        if key == "type" and below is not None and below != value:
            here.clear()
        here[key] = value
    return plain


def split_override(override: str) -> tuple[list[str], str]:
    """The keys on the way, and the value as YAML.

    Raises:
        ConfigError: It has no `=`, or its path can't be read.
    """
    match = _OVERRIDE.fullmatch(override)
    if not match:
        raise ConfigError(f"found {override!r} where an override is expected; write a.b.c=value")
    path = match[1].strip()
    parts = _split(path)
    if len(parts) > _MAX_PARTS:
        raise ConfigError(f"the override's path {path[:60]!r}... has {len(parts):,} parts; the longest key has few")
    return parts, match[2]


def _step(here: dict[str, Any] | list[Any], part: str, override: str) -> tuple[Any, Any]:
    """The key or position that `part` names in `here`, and what stands there (None = nothing)."""
    if isinstance(here, dict):
        return part, here.get(part)
    if not part.isdecimal() or int(part) >= len(here):
        expected = f"a position from 0 to {len(here) - 1}" if here else "no position, since the list is empty"
        raise ConfigError(f"override {override!r}: expected {expected}, found {part!r}")
    return int(part), here[int(part)]
