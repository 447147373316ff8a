"""`auto`: a pretrained backbone where one is given or at hand, an encoder trained from scratch where not.

The branch of the textbook's flowchart, taken once, when a training starts: `resolve` gives a concrete encoder and the
reason in a sentence, and a run's recipe holds what it gave. So a bundle, a resumed run and a repeated one never ask
again, on a machine whose cache holds something else. The network is never asked: what is at hand is what the local
Hugging Face cache holds of a short list of well-known backbones, and it is loaded from its folder there.

The trade-off: the list is short and its order is one opinion, cheap before large. Whoever knows a better backbone for
their data names it by `path`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polysense.config.base import members
from polysense.config.codec import from_dict
from polysense.config.limits import NonNegativeFloat
from polysense.core import registry
from polysense.core.json import read_json
from polysense.core.modality_spec import Backbones
from polysense.core.schema import Column, Requirements
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError, WeightsError
from polysense.nn.encoder import Encoder, EncoderConfig

__all__ = ["AutoEncoderConfig"]

_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@dataclass(frozen=True, kw_only=True)
class AutoEncoderConfig(EncoderConfig):
    """A pretrained backbone if one is named or in the local cache, else an encoder trained from scratch.

    Attributes:
        path: A backbone to take: a local folder as save_pretrained writes it, or a hub name (transformers or timm).
            null takes a well-known one that is in the local Hugging Face cache, if there is one.
        tune: Of a pretrained backbone: "frozen", "full", or how many of the last blocks learn.
        learning_rate_scale: A pretrained backbone's learning rate over the rest's.
    """

    type: Literal["auto"] = "auto"
    path: str | None = None
    tune: Literal["frozen", "full"] | int = "frozen"
    learning_rate_scale: NonNegativeFloat = 0.1

    def __post_init__(self) -> None:
        if isinstance(self.tune, int) and self.tune < 1:
            raise ConfigError(f"tune: {self.tune} blocks; write `frozen` to open none")

    @classmethod
    def reads(cls) -> frozenset[str]:
        return frozenset(registry.modalities())

    def resolve(self, modality: str, cells: Iterable[object] = ()) -> tuple[EncoderConfig, str]:
        """Decides; once for a training, before preprocessing is fitted.

        Args:
            modality: Of the column.
            cells: Some of its cells, for whether a multilingual backbone is called for.

        Returns:
            A concrete encoder, and in a sentence why this one.

        Raises:
            ConfigError: The path holds no backbone for such a column.
            WeightsError: There is no such folder, or it is incomplete.
        """
        backbones = registry.modality(modality).backbones(list(cells))
        if isinstance(backbones, Unsupported):
            if self.path is not None:
                raise ConfigError(f"path: {self.path}: {backbones}; leave it out")
            scratch = self._from_scratch(modality)
            return scratch, f"{scratch.type}, trained from scratch: {backbones}"
        if self.path is not None:
            return self._of_path(self.path, backbones)
        root = _cache()
        for name in backbones.names:
            folder = _snapshot(root, name)
            if folder is not None and _is_complete(folder, backbones):
                config = self._in_folder(folder, backbones)
                return config, f"pretrained {name}, which the local Hugging Face cache holds ({folder})"
        scratch = self._from_scratch(modality)
        return scratch, (
            f"{scratch.type}, trained from scratch: no path is given, and the local Hugging Face cache ({root}) holds "
            f"none of the {len(backbones.names)} {backbones.kind} backbones that are looked for, such as "
            f"{backbones.names[0]}"
        )

    def requirements(self, column_name: str, modality: str) -> Requirements:
        raise _unresolved(f"model.encoders.{column_name}")

    def build(self, column: Column, width: int, resources: Path | None = None) -> Encoder:
        raise _unresolved(f"model.encoders.{column.name}")

    def _from_scratch(self, modality: str) -> EncoderConfig:
        plain = {**registry.modality(modality).default_encoder(None), "items": self.items}
        return from_dict(EncoderConfig, plain, where="the encoder 'auto'")

    def _of_path(self, path: str, backbones: Backbones) -> tuple[EncoderConfig, str]:
        folder = Path(path).expanduser()
        if folder.is_file():
            raise ConfigError(
                f"path: {path}: is a file, which does not say what network it belongs to; give a folder written by "
                f"save_pretrained, or name the encoder: `type: timm` with name and weights, or for word vectors "
                f"`type: word_vectors`"
            )
        if folder.is_dir():
            config = self._in_folder(folder, backbones)
            return config, f"pretrained, since path is given: {path} holds a {config.framework} model"
        if path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise WeightsError(f"path: {path}: no such folder; expected one written by save_pretrained, or a hub name")
        cached = _snapshot(_cache(), path.removeprefix("hf-hub:"))
        if cached is not None and _is_complete(cached, backbones):
            config = self._in_folder(cached, backbones)
            where = f"which the local Hugging Face cache holds ({cached})"
        else:
            config = next(
                each.of_backbone(path, self._options) for each in _encoders(backbones.encoders) if each.knows(path)
            )
            where = "which the local Hugging Face cache does not hold, so it is asked of the hub"
        return config, f"pretrained, since path is given: {path}, a {config.framework} model, {where}"

    def _in_folder(self, folder: Path, backbones: Backbones) -> EncoderConfig:
        settings = _settings(folder)
        for each in _encoders(backbones.encoders):
            if each.loads(settings):
                if not each.needs_processor and not any((folder / name).is_file() for name in _WEIGHTS):
                    raise WeightsError(
                        f"{folder}: holds {each.framework}'s config.json, but no weights ({_WEIGHTS[0]})"
                    )
                return each.of_backbone(str(folder), self._options)
        for each in _encoders(members("encoder")):
            if each.loads(settings):
                nouns = " or ".join(registry.modality(name).nouns[1] for name in sorted(each.modalities))
                model = settings.get("architecture", "?")
                raise ConfigError(f"path: {folder}: holds the {each.framework} model {model}, which takes {nouns}")
        raise WeightsError(
            f"{folder / 'config.json'}: names neither a model_type (transformers) nor an architecture (timm)"
        )

    @property
    def _options(self) -> dict[str, Any]:
        return {"tune": self.tune, "learning_rate_scale": self.learning_rate_scale, "items": self.items}


def _encoders(types: Iterable[str]) -> list[type[EncoderConfig]]:
    known = members("encoder")
    return [each for name in types if issubclass(each := known[name], EncoderConfig)]


def _unresolved(where: str) -> ConfigError:
    return ConfigError(
        f"{where}: the encoder 'auto' stands for one that is chosen when a training starts, and has not been chosen "
        f"here; name an encoder, or call resolve(modality) on its config first"
    )


def _cache() -> Path:
    """The folder that huggingface_hub caches in, by the same variables."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def _snapshot(root: Path, name: str) -> Path | None:
    """The folder of a cached model's main revision (models--ORG--NAME/snapshots/HASH, named by refs/main)."""
    base = root / ("models--" + name.replace("/", "--"))
    try:
        revision = (base / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    folder = base / "snapshots" / revision
    return folder if revision and folder.is_dir() else None


def _is_complete(folder: Path, backbones: Backbones) -> bool:
    """Whether a snapshot can be loaded: a download that broke off, or one of a tokenizer only, can't."""

    def has(names: Iterable[str]) -> bool:
        return any((folder / name).is_file() for name in names)

    if not (folder / "config.json").is_file() or not has(_WEIGHTS):
        return False
    try:
        settings = _settings(folder)
    except WeightsError:
        return False
    encoder = next((each for each in _encoders(backbones.encoders) if each.loads(settings)), None)
    return encoder is not None and (not encoder.needs_processor or has(backbones.files))


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        return read_json(path, dict)
    except FileNotFoundError:
        raise WeightsError(f"{folder}: has no config.json; expected a folder written by save_pretrained") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: can't be read: {error}") from None
