"""Pretrained backbones at hand: the models of a folder or of the local Hugging Face cache, and the one that a column
takes.

A folder is one model, as save_pretrained or timm writes it, or holds several. Of these a column takes what fits, in
this order:

1. what its modality ranks first (of texts a sentence encoder before any other; see `core.backbones.Backbones.rank`);
2. a well-known model (docs/pretrained.md), in the order of that table, by the folder's name;
3. a size that a CPU bears: 3 to 30 million parameters, then up to 150, then what is smaller, then what is larger;
4. the format whose encoder comes first in `Backbones.encoders`: of one model in two folders timm's before
   transformers', since its config.json alone says size, mean, deviation, interpolation and padding, where transformers
   needs a second file that may be another's; where both are right they give the same features;
5. fewer parameters, then the name.

What a folder holds is read from its small files and from the header of its weights; whether its library can load it is
asked only of what would be taken. Nothing that it brings as code is run.
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from safetensors import SafetensorError, safe_open

from polysense.config.base import members
from polysense.core import registry
from polysense.core.backbones import BackboneFolder, Backbones
from polysense.core.error_text import first_line
from polysense.core.json import read_json
from polysense.core.logs import get_logger
from polysense.errors import WeightsError
from polysense.nn.encoder import EncoderConfig

__all__ = [
    "PRETRAINED",
    "Loader",
    "ModelFolder",
    "cache_folder",
    "choose",
    "encoder_loaders",
    "encoders",
    "look_at",
    "snapshot",
    "survey",
    "whose",
]

PRETRAINED = "POLYSENSE_PRETRAINED"
"""The environment variable that names a folder of models, or says `off`, where a recipe says `auto`."""

_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_FILES = ("model.safetensors", "pytorch_model.bin")
_SIZES = ((3e6, 30e6), (30e6, 150e6), (0.0, 3e6))  # parameters, in the order in which they are preferred
_MOST_FOLDERS = 1_000  # that are looked at in one

_log = get_logger("polysense.nn")


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """A folder that holds a model, or looks as if.

    Attributes:
        folder: Where, its name, and its config.json.
        parameters: Of its weights.
        problem: Why it can't be loaded; "" where nothing speaks against it.
    """

    folder: BackboneFolder
    parameters: int = 0
    problem: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.folder.name

    def encoder(self, backbones: Backbones) -> type[EncoderConfig] | None:
        """The encoder that loads it, of those that a modality has."""
        return next((each for each in encoders(backbones.encoders) if each.loads(self.folder.settings)), None)


C = TypeVar("C")  # the config of what is chosen


@dataclass(frozen=True)
class Loader(Generic[C]):
    """How models of one format become what a column or a target takes.

    Attributes:
        framework: The library that loads them.
        loads: Whether a config.json of these settings is of the format.
        open: From a model's path and name to its config; raises what the library does if it can't be loaded.
        needs_processor: Whether a tokenizer's or processor's file must lie beside the weights.
    """

    framework: str
    loads: Callable[[Mapping[str, object]], bool]
    open: Callable[[str, str], C]
    needs_processor: bool = False


def encoders(types: Iterable[str]) -> list[type[EncoderConfig]]:
    """Encoder configs by their types."""
    known = members("encoder")
    return [each for name in types if issubclass(each := known[name], EncoderConfig)]


def survey(root: Path) -> list[ModelFolder]:
    """The models in a folder: it is one, holds some, or is a Hugging Face cache.

    Raises:
        WeightsError: There is no such folder, or it is one model and broken.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise WeightsError(
            f"{root}: {what}; pretrained is auto, download or off, or a folder of models, or of one (config.json and "
            "weights)"
        )
    if _is_model(root):
        model = look_at(root)
        if model.problem:
            raise WeightsError(f"{root}: {model.problem}")
        return [model]
    try:
        models = [look_at(folder, name) for folder, name in _models(root)]
    except OSError as error:
        raise WeightsError(f"{root}: can't be read: {error.strerror or error}") from None
    for model in models:
        if model.problem:
            _warn(str(model.folder.path), model.problem)
    return models


def look_at(folder: Path, name: str | None = None) -> ModelFolder:
    """What a model's folder holds, whatever is wrong with it."""
    settings: Mapping[str, object] = {}
    problem, parameters = "", 0
    try:
        settings = read_settings(folder)
        if not any(each.loads(settings) for each in encoders(members("encoder"))):
            raise WeightsError("config.json names neither a model_type (transformers) nor an architecture (timm)")
        parameters = _parameters(folder)
    except WeightsError as error:
        problem = str(error).removeprefix(f"{folder}: ")
    own = BackboneFolder(path=folder, name=name or folder.resolve().name, settings=settings)
    return ModelFolder(folder=own, parameters=parameters, problem=problem)


def encoder_loaders(modality: str, backbones: Backbones, options: Mapping[str, Any]) -> list[Loader[EncoderConfig]]:
    """The encoders that load a column's backbones, the best format first.

    Args:
        modality: Of the column.
        backbones: What it says of them.
        options: `tune`, `learning_rate_scale` and `items`.
    """

    def loader(encoder: type[EncoderConfig]) -> Loader[EncoderConfig]:
        def opened(path: str, name: str) -> EncoderConfig:
            config = encoder.of_backbone(path, options)
            config.requirements(name, modality)
            return config

        return Loader(encoder.framework, encoder.loads, opened, encoder.needs_processor)

    return [loader(each) for each in encoders(backbones.encoders)]


def choose(
    models: Iterable[ModelFolder], backbones: Backbones, loaders: Sequence[Loader[C]]
) -> tuple[tuple[ModelFolder, C] | None, dict[str, str]]:
    """The model that a column or a target takes.

    Args:
        models: Those at hand.
        backbones: What it says of them.
        loaders: What can load one, the best format first.

    Returns:
        The model and its config, None where none fits; and per model that was passed over, the reason.
    """
    fitting: list[tuple[tuple[Any, ...], ModelFolder, Loader[C]]] = []
    refused: dict[str, str] = {}
    for model in models:
        place = next((i for i, each in enumerate(loaders) if each.loads(model.folder.settings)), None)
        if model.problem or place is None:
            refused[model.name] = model.problem or whose(model)
            continue
        if loaders[place].needs_processor and not model.folder.has(*backbones.files):
            refused[model.name] = f"it has no {' or '.join(backbones.files[:2])}"
            continue
        try:
            rank = backbones.rank(model.folder)
        except Exception as error:  # noqa: BLE001 (of settings from outside)
            rank = f"its settings can't be understood ({first_line(error)})"
        if isinstance(rank, str):
            refused[model.name] = rank
            continue
        key = (rank, _place(model.name, backbones), _size(model.parameters), place)
        fitting.append(((*key, model.parameters, model.name), model, loaders[place]))
    for _, model, loader in sorted(fitting, key=lambda each: each[0]):
        try:
            return (model, loader.open(str(model.folder.path), model.name)), refused
        except Exception as error:  # noqa: BLE001 (of files from outside, in a library's hands)
            refused[model.name] = first_line(error)
    return None, refused


def cache_folder() -> Path:
    """The folder that huggingface_hub caches in, by the same variables."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def snapshot(root: Path, name: str) -> Path | None:
    """The folder of a cached model's main revision (models--ORG--NAME/snapshots/HASH, named by refs/main)."""
    base = root / ("models--" + name.replace("/", "--"))
    try:
        revision = (base / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    folder = base / "snapshots" / revision
    return folder if revision and folder.is_dir() else None


def read_settings(folder: Path) -> dict[str, Any]:
    """A model's config.json.

    Raises:
        WeightsError: There is none, or it is broken.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise WeightsError(f"{folder}: has no config.json; expected a folder written by save_pretrained")
    try:
        return read_json(path, dict)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder}: config.json can't be read: {error}") from None


@functools.cache
def _warn(folder: str, problem: str) -> None:
    """Once, however many columns look there."""
    _log.warning("the pretrained model in %s is passed over: %s", folder, problem)


def _models(root: Path) -> Iterator[tuple[Path, str]]:
    """The model folders in a folder, one or two levels below it, and their names."""
    for folder in sorted(root.iterdir())[:_MOST_FOLDERS]:
        if not folder.is_dir():
            continue
        if _is_model(folder):
            yield folder, folder.name
        elif folder.name.startswith("models--"):
            name = folder.name.removeprefix("models--").replace("--", "/")
            if (cached := snapshot(root, name)) is not None and _is_model(cached):
                yield cached, name
        else:
            for below in sorted(folder.iterdir())[:_MOST_FOLDERS]:
                if below.is_dir() and _is_model(below):
                    yield below, f"{folder.name}/{below.name}"


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _parameters(folder: Path) -> int:
    """How many numbers a folder's weights hold, by the files' headers.

    Raises:
        WeightsError: There are none, or a file is broken.
    """
    files = [name for name in _FILES if (folder / name).is_file()][:1]
    for index in _INDEXES:
        if not files and (folder / index).is_file():
            files = _shards(folder, index)
    if not files:
        raise WeightsError(f"{folder}: holds no weights ({_FILES[0]})")
    return sum(_numbers(folder / name) for name in files)


def _shards(folder: Path, index: str) -> list[str]:
    try:
        names = sorted({str(name) for name in read_json(folder / index, dict)["weight_map"].values()})
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"{folder}: {index} can't be read: {first_line(error)}") from None
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise WeightsError(f"{folder}: {index} names {name}, which is not there; download the rest")
    return names


def _numbers(file: Path) -> int:
    if file.suffix != ".safetensors":
        return file.stat().st_size // 4
    try:
        with safe_open(file, framework="pt") as weights:
            return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        with file.open("rb") as opened:
            is_pointer = opened.read(20).startswith(b"version https://git-")
        hint = "it is a Git LFS pointer; fetch it with git lfs pull" if is_pointer else f"{error}; copy it again"
        raise WeightsError(f"{file.parent}: the weights in {file.name} can't be read: {hint}") from None


def whose(model: ModelFolder) -> str:
    """What a model takes that a column's encoders can't load; "" where none loads it."""
    for each in encoders(members("encoder")):
        if each.loads(model.folder.settings):
            nouns = " or ".join(registry.modality(name).nouns[1] for name in sorted(each.modalities))
            architecture = str(model.folder.settings.get("architecture", "?"))[:60]
            return f"it is the {each.framework} model {architecture}, which takes {nouns}"
    return ""


def _place(name: str, backbones: Backbones) -> int:
    """Of a model among the well-known ones, by the last part of its name."""
    known = [_plain(each) for each in backbones.names]
    return known.index(_plain(name)) if _plain(name) in known else len(known)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.rpartition("/")[2].lower())


def _size(parameters: int) -> int:
    return next((index for index, (low, high) in enumerate(_SIZES) if low <= parameters < high), len(_SIZES))
