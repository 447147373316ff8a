"""Checks of a bundle before anything is built from it: a folder from anywhere, with anything in its files.

The weights' own header says how large the model is, so settings that ask for another are refused before they take
memory: a manifest of a kilobyte could ask for a terabyte. What is checked costs a second build without memory (torch's
device "meta"), some milliseconds a layer. A network of a million layers would take hours even so, and no setting
says so in all libraries; so a build ends as soon as it has made many more parts than there are weights.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from polysense.core.checksum import damages, is_own_checksum
from polysense.core.error_text import first_line
from polysense.core.json import parse_json, read_json
from polysense.core.schema import Schema
from polysense.core.spelling import shortened
from polysense.errors import BundleError, ConfigError
from polysense.nn.model_config import ModelConfig

__all__ = [
    "bounded_build",
    "read_manifest",
    "require_intact",
    "require_own_files",
    "require_shapes",
    "require_sizes",
    "weight_shapes",
]

_KINDS: Mapping[str, type] = {
    "polysense": str, "packages": dict, "sha256": dict, "model": dict, "prediction": dict, "recipe": dict, "info": dict,
}  # fmt: skip
_NAMES: Mapping[type, str] = {str: "a text", dict: "keys and values", list: "a list"}
_IMPUTER = {"imputations": dict, "reads": list}
_MANY = 1024  # more than any model repeats, of what has few weights
# Layers and parameters: whole networks are made of which the encoder alone is saved.
_PARTS, _PARTS_PER_WEIGHT = 20_000, 10
_WORDS = re.compile(r"tokenizer|vocab")  # files whose names are any words
_COUNTED = re.compile(r"(?:^|_)(?:layers?|blocks?|depths?|stages?|heads?|experts?)$")  # in libraries' settings


def require_own_files(folder: Path) -> None:
    """Raises BundleError where a link leads out of the folder: a bundle is whole, and reads nothing of its reader's."""
    inside = folder.resolve()
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise BundleError(
                f"{path}: is a link out of the bundle; copy the bundle with what its links lead to (cp -rL)"
            )


def require_intact(folder: Path, checksums: Mapping[str, str], required: Collection[str]) -> None:
    """Raises BundleError unless every file is the one that was saved.

    Args:
        folder: The bundle's.
        checksums: By file.
        required: Files that must have one.
    """
    missing = sorted(set(required) - checksums.keys())
    problems = [*damages(folder, checksums), *(f"{name} has no checksum in bundle.json" for name in missing)]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise BundleError(
            f"{folder}: the bundle is damaged: {'; '.join(problems[:3])}{more}. Copy it again, or train again; if you "
            "changed a file on purpose, load the bundle as it was, change the model and save it"
        )


def read_manifest(path: Path, known: int) -> dict[str, Any]:
    """A bundle's bundle.json.

    Args:
        path: The file.
        known: The format that is read.

    Raises:
        BundleError: It is not what was saved, of another format, lacks something, or holds what it should not.
    """
    try:
        plain = read_json(path, dict)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: can't be read: {error}; copy the bundle again") from None
    intact = is_own_checksum(plain)
    if intact is False:  # first: the number of the format may be what was damaged
        raise BundleError(
            f"{path}: is not the file that was saved: its SHA-256 is another. Copy the bundle again, or train again; "
            "if you changed it on purpose, load the bundle as it was, change the model and save it"
        )
    result = plain.get("format")
    if isinstance(result, bool) or not isinstance(result, int):
        raise BundleError(
            f"{path}: found the format {shortened(result)}, expected a number: this is no bundle's manifest"
        )
    if result != known:
        what = "upgrade polysense" if result > known else "train again, or load it with that version"
        raise BundleError(
            f"{path.parent}: written by polysense {str(plain.get('polysense'))[:60]} in format {result}; this version "
            f"reads format {known}: {what}"
        )
    if intact is None:
        raise BundleError(f"{path}: holds no checksum of its own; copy the bundle again")
    _check(plain, _KINDS, path, "")
    for name, version in plain["packages"].items():
        if not name or not isinstance(version, str):
            raise BundleError(
                f"{path}: packages: found {shortened(name)}: {shortened(version)}, expected NAME: VERSION"
            )
    if (imputer := plain.get("imputer")) is not None:
        _check(plain, {"imputer": dict}, path, "")
        _check(imputer, _IMPUTER, path, "imputer.")
        if set(imputer) != set(_IMPUTER) or not all(
            isinstance(name, str) for name in (*imputer["imputations"].values(), *imputer["reads"])
        ):
            raise BundleError(f"{path}: imputer: expected names of columns under {' and '.join(_IMPUTER)}")
    return plain


def weight_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a file of weights; none of them is read.

    Raises:
        BundleError: There is no such file, or it is broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise BundleError(f"{path}: the weights can't be read: {error}; copy the bundle again") from None


def require_sizes(config: ModelConfig, schema: Schema, shapes: Mapping[str, tuple[int, ...]], resources: Path) -> None:
    """Raises BundleError where settings ask for a model of another size than the weights are of.

    Args:
        config: The model's.
        schema: The fitted columns and targets.
        shapes: Of the weights, by name.
        resources: What the encoders and heads need besides.
    """
    bound = max([_MANY, len(shapes), *(size for shape in shapes.values() for size in shape)])
    for name, value in _counts(config, "model"):
        if value > bound:
            raise BundleError(
                f"{resources.parent}: {name}: found {shortened(value)}; the bundle's weights are of no such model; "
                "copy it again"
            )
    for path in sorted(path for path in resources.rglob("*.json") if not _WORDS.search(path.name)):
        for name, value in _library_counts(_settings(path)):
            if value > bound:
                raise BundleError(
                    f"{path}: {name}: found {shortened(value)}; the bundle's weights are of no such model; copy it "
                    "again"
                )
    require_shapes(lambda: config.build(schema, resources), shapes, resources.parent)


def require_shapes(build: Callable[[], nn.Module], shapes: Mapping[str, tuple[int, ...]], folder: Path) -> None:
    """Raises BundleError where a model has other tensors than its weights.

    Args:
        build: Builds the model.
        shapes: Of the weights, by name.
        folder: The bundle's.
    """
    try:
        with torch.device("meta"), bounded_build(len(shapes), folder):
            model = build()
    except ConfigError as error:
        if isinstance(error.__cause__, RuntimeError):  # a package's layer that computes while it is built can't be here
            return
        raise
    given = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    with suppress(RuntimeError):  # layers that were fitted take their saved size; what has another is named below
        model.load_state_dict(given, strict=False)
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name, shape in own.items():
        if shapes.get(name) != shape:
            there = "nothing" if name not in shapes else f"a tensor of {list(shapes[name])}"
            raise BundleError(
                f"{folder}: the bundle's weights hold {there} as {name}, its settings ask for one of "
                f"{list(shape)}; copy it again"
            )


@contextmanager
def bounded_build(num_weights: int, folder: Path) -> Iterator[None]:
    """Within it, this thread makes no network of many more layers and parameters than there are weights for it.

    Args:
        num_weights: Tensors that a bundle holds.
        folder: The bundle's.

    Raises:
        BundleError: It would; what a library makes of this error is the caller's to mend.
    """
    most, thread, parts = _PARTS + _PARTS_PER_WEIGHT * num_weights, threading.get_ident(), 0

    def count(module: nn.Module, name: str, part: object) -> None:
        nonlocal parts
        parts += threading.get_ident() == thread
        if parts > most:
            raise BundleError(
                f"{folder}: the settings ask for a network of more than {most:,} layers and parameters, and the bundle "
                f"holds {num_weights:,} weights; copy it again"
            )

    handles = [register_module_parameter_registration_hook(count), register_module_module_registration_hook(count)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _settings(path: Path) -> object:
    try:
        return parse_json(path.read_text(encoding="utf-8"), object, constants=True)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: can't be read: {first_line(error)}; copy the bundle again") from None


def _library_counts(value: object, where: str = "", *, counted: bool = False) -> Iterator[tuple[str, int]]:
    """Every number in a library's settings whose name says that it counts what a network repeats."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _library_counts(below, f"{where}.{name}" if where else name, counted=bool(_COUNTED.search(name)))
    elif isinstance(value, list):
        for below in value:
            yield from _library_counts(below, where, counted=counted)
    elif counted and isinstance(value, int) and not isinstance(value, bool):
        yield where, value


def _counts(value: object, where: str) -> Iterator[tuple[str, int]]:
    """Every number of a config that says how many of something a model has."""
    if is_dataclass(value) and not isinstance(value, type):
        # A default is no claim: 50,000 buckets of pairs stand in the settings of an encoder that reads no pairs.
        each = {field.name: (getattr(value, field.name), field.default) for field in fields(value)}
        value = {name: own for name, (own, default) in each.items() if own is not default and own != default}
    if isinstance(value, Mapping):
        for name, below in value.items():
            if isinstance(below, int) and not isinstance(below, bool):
                if str(name) in ("width", "depth") or str(name).startswith("num_"):
                    yield f"{where}.{name}", below
            else:
                yield from _counts(below, f"{where}.{name}")


def _check(plain: Mapping[str, Any], kinds: Mapping[str, type], path: Path, where: str) -> None:
    for name, kind in kinds.items():
        if not isinstance(plain.get(name), kind):
            value = "nothing" if name not in plain else shortened(plain[name])
            expected = _NAMES[kind]
            raise BundleError(f"{path}: {where}{name}: found {value}, expected {expected}; copy the bundle again")
