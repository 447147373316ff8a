"""From `--over a.b.c=x,y,z` to variants of a recipe: each option's values, and the product of several options."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polysense.core.json import json_text
from polysense.errors import ConfigError
from polysense.recipe import Recipe

__all__ = ["Variant", "folder_name", "make_variants", "parse_over"]

# What decides which rows train and judge, and what is asked of them. Variants that differ in it can't be compared.
_FIXED = {
    "training.seed": "the seeds are what every variant is repeated over; say how many with --seeds",
    "evaluation": "variants are all measured in the same way",
    "data.table": "variants are compared on the same rows",
    "data.validation": "variants are compared on the same rows",
    "data.test": "variants are compared on the same rows",
    "data.split": "variants are compared on the same rows",
    "data.tables": "variants are compared on the same rows",
    "data.root": "variants are compared on the same rows",
    "data.allow_outside": "variants are compared on the same rows",
    "data.allow_urls": "variants are compared on the same rows",
    "data.targets": "variants are compared on the same targets",
}
_OPENING, _CLOSING = "[{", "]}"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One setting to try.

    Attributes:
        name: What people call it.
        changes: `a.b.c=value` changes of the base recipe.
        recipe: The base recipe with them; None where they give no valid one.
        failure: Why, then.
    """

    name: str
    changes: tuple[str, ...]
    recipe: Recipe | None
    failure: str = ""


def parse_over(over: Mapping[str, Sequence[Any]] | Sequence[str]) -> list[tuple[str, list[str]]]:
    """Per option its key and its values as YAML text.

    Args:
        over: `a.b.c=x,y,z` options, where a comma within brackets, braces or quotes belongs to a value; or a mapping
            from keys to lists of values.

    Raises:
        ConfigError: An option can't be read, names a value or a key twice, or a key that variants may not differ in.
    """
    if isinstance(over, str):
        over = [over]
    if isinstance(over, Mapping):
        options = [(key, [v if isinstance(v, str) else json_text(v) for v in values]) for key, values in over.items()]
    else:
        options = [_parse(option) for option in over]
    if not options:
        raise ConfigError("nothing to compare is named; say what, as --over model.fusion.type=concat,gated")
    for position, (key, values) in enumerate(options):
        for fixed, reason in _FIXED.items():
            if key == fixed or key.startswith(f"{fixed}."):
                raise ConfigError(f"--over {key}: {reason}")
        if not values or "" in values:
            raise ConfigError(f"--over {key}: a value is empty; write --over {key}=one,another")
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ConfigError(f"--over {key} names {twice!r} twice")
        if key in [other for other, _ in options[:position]]:
            raise ConfigError(f"--over names {key} twice; give all its values in one option")
    return options


def _parse(option: str) -> tuple[str, list[str]]:
    match = re.fullmatch(r"((?:\[[^\]]+\]|[^\[=])*)=(.*)", option, re.DOTALL)
    if not match or not match[1].strip():
        raise ConfigError(f"found --over {option!r}, expected KEY=VALUE,VALUE, as model.fusion.type=concat,gated")
    return match[1].strip(), _values(match[2], option)


def _values(text: str, option: str) -> list[str]:
    """Split at the commas that stand outside brackets, braces and quotes."""
    values, start, open_ones, quote = [], 0, "", ""
    for i, character in enumerate(text):
        if quote:
            quote = "" if character == quote and text[i - 1] != "\\" else quote
        elif character in "\"'" and text[start:i].rstrip()[-1:] in ("", *",:[{"):  # else an apostrophe
            quote = character
        elif character in _OPENING:
            open_ones += character
        elif character in _CLOSING:
            if not open_ones or _OPENING.index(open_ones[-1]) != _CLOSING.index(character):
                raise ConfigError(f"--over {option}: {character!r} at character {i + 1} of the values closes nothing")
            open_ones = open_ones[:-1]
        elif character == "," and not open_ones:
            values.append(text[start:i].strip())
            start = i + 1
    if open_ones or quote:
        raise ConfigError(f"--over {option}: {(quote or open_ones[-1])!r} is never closed")
    return [*values, text[start:].strip()]


def make_variants(
    recipe: Recipe,
    over: Sequence[tuple[str, Sequence[str]]],
    vary: Callable[[Sequence[str]], Recipe] | None = None,
) -> list[Variant]:
    """The product of the options, the first one changing slowest.

    Args:
        recipe: The base.
        over: From `parse_over`.
        vary: The base with some overrides, where more follows from them than the keys that they name.

    Raises:
        ConfigError: A value gives no valid recipe in any combination.
    """
    apply = vary or (lambda changes: recipe.with_overrides(list(changes)))
    labels = _labels([key for key, _ in over])
    variants = []
    broken: dict[tuple[str, str], str] = {}
    working: set[tuple[str, str]] = set()
    for values in itertools.product(*(values for _, values in over)):
        pairs = [(key, value) for (key, _), value in zip(over, values, strict=True)]
        changes = tuple(f"{key}={value}" for key, value in pairs)
        named = zip(labels, values, strict=True)
        name = values[0] if len(values) == 1 else ", ".join(f"{label}={value}" for label, value in named)
        try:
            variants.append(Variant(name=name, changes=changes, recipe=apply(changes)))
            working.update(pairs)
        except ConfigError as error:
            variants.append(Variant(name=name, changes=changes, recipe=None, failure=str(error)))
            for pair in pairs:
                broken.setdefault(pair, str(error))
    for pair, reason in broken.items():
        # A value that works with some of the others makes a line that says "failed"; one that never does is a mistake.
        if pair not in working:
            raise ConfigError(f"--over {pair[0]}: {pair[1]!r} gives no valid recipe: {reason}")
    return variants


def _labels(keys: Sequence[str]) -> list[str]:
    """The shortest endings of the keys that tell them apart; `model.fusion.type` is called `fusion`."""
    parts = [re.findall(r"\[[^\]]+\]|[^.\[\]]+", key) for key in keys]
    parts = [part[:-1] if part[-1] == "type" and len(part) > 1 else part for part in parts]
    labels = []
    for i, part in enumerate(parts):
        others = [other for j, other in enumerate(parts) if j != i]
        length = next((n for n in range(1, len(part)) if all(o[-n:] != part[-n:] for o in others)), len(part))
        labels.append(".".join(part[-length:]))
    return labels


def folder_name(name: str, taken: Sequence[str]) -> str:
    """A name as a folder's, unlike those that are taken."""
    plain = re.sub(r"[^\w.=+-]+", "_", name).strip("_.")[:60] or "variant"
    lower = {other.lower() for other in taken}
    return next(
        free for free in itertools.chain([plain], (f"{plain}-{i}" for i in itertools.count(2)))
        if free.lower() not in lower
    )  # fmt: skip
