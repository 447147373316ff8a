"""`auto`: a pretrained backbone where one is given or at hand, an encoder trained from scratch where not.

The branch of the textbook's flowchart, taken once, when a training starts: `resolve` gives a concrete encoder and the
reason in a sentence, and a run's recipe holds what it gave. So a bundle, a resumed run and a repeated one never ask
again, on a machine whose cache holds something else. The network is never asked: what is at hand is what the local
Hugging Face cache holds of a short list of well-known backbones, and it is loaded from its folder there.

The trade-off: the list is short and its order is one opinion, cheap before large. Whoever knows a better backbone for
their data names it by `path`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from polysense.core.modality import Modality
from polysense.core.schema import Column, Requirements
from polysense.errors import ConfigError, WeightsError
from polysense.modalities.audio.encoders.cnn import AudioCNNConfig
from polysense.modalities.category.encoders.embedding import CategoryEmbeddingConfig
from polysense.modalities.date.encoders.mlp import DateMLPConfig
from polysense.modalities.image.encoders.resnet import ResNetConfig
from polysense.modalities.image.encoders.timm import TimmConfig
from polysense.modalities.number.encoders.mlp import NumberMLPConfig
from polysense.modalities.text.encoders.transformer import TextTransformerConfig
from polysense.nn.encoder import Encoder, EncoderConfig
from polysense.nn.pretrained import PretrainedConfig

__all__ = ["AutoEncoderConfig", "is_mostly_english"]

_ENGLISH = (
    "sentence-transformers/all-MiniLM-L6-v2",
    "sentence-transformers/all-mpnet-base-v2",
    "BAAI/bge-small-en-v1.5",
    "distilbert/distilbert-base-uncased",
    "distilbert-base-uncased",
    "google-bert/bert-base-uncased",
    "bert-base-uncased",
    "FacebookAI/roberta-base",
    "roberta-base",
)
_MULTILINGUAL = (
    "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
    "intfloat/multilingual-e5-small",
    "distilbert/distilbert-base-multilingual-cased",
    "google-bert/bert-base-multilingual-cased",
    "bert-base-multilingual-cased",
    "FacebookAI/xlm-roberta-base",
    "xlm-roberta-base",
)
_IMAGE = (
    "timm/resnet50.a1_in1k",
    "facebook/dinov2-small",
    "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
    "timm/convnext_tiny.fb_in22k_ft_in1k",
    "google/vit-base-patch16-224-in21k",
    "google/vit-base-patch16-224",
    "facebook/dinov2-base",
    "microsoft/resnet-50",
    "facebook/convnext-tiny-224",
    "timm/resnet18.a1_in1k",
    "microsoft/resnet-18",
)
_AUDIO = (  # wav2vec2's cost goes with a clip's length; Whisper pads each to 30 s, AST to 10 s
    "facebook/wav2vec2-base",
    "facebook/hubert-base-ls960",
    "microsoft/wavlm-base",
    "facebook/wav2vec2-base-960h",
    "openai/whisper-tiny",
    "openai/whisper-base",
    "MIT/ast-finetuned-audioset-10-10-0.4593",
)
_SCRATCH: Mapping[Modality, EncoderConfig] = {
    Modality.TEXT: TextTransformerConfig(),
    Modality.IMAGE: ResNetConfig(),
    Modality.AUDIO: AudioCNNConfig(),
    Modality.NUMBER: NumberMLPConfig(),
    Modality.CATEGORY: CategoryEmbeddingConfig(),
    Modality.DATE: DateMLPConfig(),
}

_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")

# Frequent words of English, and of other languages in Latin letters; none is frequent in both.
_ENGLISH_WORDS = re.compile(r"(?:the|of|and|to|is|that|it|for|with|this|you|not|have|from|be|are)")
_OTHER_WORDS = re.compile(
    r"(?:der|das|und|ist|nicht|ein|eine|den|von|zu|mit|que|de|la|el|los|las|es|un|una|por|le|les|et|des|est|une|du|pas"
    r"|di|che|sono|het|een|van|niet|em|uma|nie|jest|och|att|det|som)"
)


@dataclass(frozen=True, kw_only=True)
class AutoEncoderConfig(EncoderConfig):
    """A pretrained backbone where one is given or in the local cache, else an encoder trained from scratch.

    Attributes:
        path: A backbone to take: a local folder as save_pretrained writes it, or a hub name (transformers or timm).
            null takes a well-known one that is in the local Hugging Face cache, if there is one.
        tune: Of a pretrained backbone: "frozen", "full", or how many of the last blocks learn.
        learning_rate_scale: A pretrained backbone's learning rate over the rest's.
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset(_SCRATCH)
    type: Literal["auto"] = "auto"
    path: str | None = None
    tune: Literal["frozen", "full"] | int = "frozen"
    learning_rate_scale: float = 0.1

    def __post_init__(self) -> None:
        if isinstance(self.tune, int) and self.tune < 1:
            raise ConfigError(f"tune: {self.tune} blocks; write `frozen` to open none")

    def resolve(self, modality: Modality, texts: Iterable[object] = ()) -> tuple[EncoderConfig, str]:
        """Decides; once for a training, before preprocessing is fitted.

        Args:
            modality: Of the column.
            texts: Of a text column some cells, for whether a multilingual backbone is called for.

        Returns:
            A concrete encoder, and in a sentence why this one.

        Raises:
            ConfigError: The path holds no backbone for such a column.
            WeightsError: There is no such folder, or it is incomplete.
        """
        if modality not in self.modalities:
            raise ConfigError(f"the encoder 'auto' takes {', '.join(sorted(self.modalities))}; found {modality}")
        if self.path is not None:
            return self._given(modality, self.path)
        scratch = dataclasses.replace(_SCRATCH[modality], items=self.items)
        if modality in (Modality.NUMBER, Modality.CATEGORY, Modality.DATE):
            return scratch, f"{scratch.type}, trained from scratch: {modality} columns have no pretrained backbones"
        names, kind = self._candidates(modality, texts)
        root = _cache()
        for name in names:
            folder = _snapshot(root, name)
            if folder is not None and _is_complete(folder, modality):
                config = self._in_folder(folder, modality)
                return config, f"pretrained {name}, which the local Hugging Face cache holds ({folder})"
        return scratch, (
            f"{scratch.type}, trained from scratch: no path is given, and the local Hugging Face cache ({root}) holds "
            f"none of the {len(names)} {kind} backbones that are looked for, such as {names[0]}"
        )

    def requirements(self, column_name: str) -> Requirements:
        raise _unresolved(f"model.encoders.{column_name}")

    def build(self, column: Column, width: int, resources: Path | None = None) -> Encoder:
        raise _unresolved(f"model.encoders.{column.name}")

    def _candidates(self, modality: Modality, texts: Iterable[object]) -> tuple[tuple[str, ...], str]:
        if modality is Modality.IMAGE:
            return _IMAGE, "image"
        if modality is Modality.AUDIO:
            return _AUDIO, "audio"
        if is_mostly_english(texts):
            return _ENGLISH + _MULTILINGUAL, "text"
        # An English vocabulary cuts other scripts into unknown tokens: from scratch is better than that.
        return _MULTILINGUAL, "multilingual text"

    def _given(self, modality: Modality, path: str) -> tuple[EncoderConfig, str]:
        if modality in (Modality.NUMBER, Modality.CATEGORY, Modality.DATE):
            raise ConfigError(f"path: {path}: {modality} columns have no pretrained backbones; leave it out")
        folder = Path(path).expanduser()
        if folder.is_file():
            raise ConfigError(
                f"path: {path}: is a file, which does not say what network it belongs to; give a folder written by "
                f"save_pretrained, or name the encoder: `type: timm` with name and weights, or for word vectors "
                f"`type: word_vectors`"
            )
        if folder.is_dir():
            config = self._in_folder(folder, modality)
            return config, f"pretrained, since path is given: {path} holds a {_framework(config)} model"
        if path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise WeightsError(f"path: {path}: no such folder; expected one written by save_pretrained, or a hub name")
        cached = _snapshot(_cache(), path.removeprefix("hf-hub:"))
        if cached is not None and _is_complete(cached, modality):
            config = self._in_folder(cached, modality)
            where = f"which the local Hugging Face cache holds ({cached})"
        else:
            is_timm = _names_timm(path, modality)
            config = self._timm(path.removeprefix("timm/")) if is_timm else self._transformers(path)
            where = "which the local Hugging Face cache does not hold, so it is asked of the hub"
        return config, f"pretrained, since path is given: {path}, a {_framework(config)} model, {where}"

    def _in_folder(self, folder: Path, modality: Modality) -> EncoderConfig:
        settings = _settings(folder)
        if "model_type" in settings:
            return self._transformers(str(folder))
        if "architecture" not in settings:
            raise WeightsError(
                f"{folder / 'config.json'}: names neither a model_type (transformers) nor an architecture (timm)"
            )
        if modality is not Modality.IMAGE:
            raise ConfigError(f"path: {folder}: holds the timm model {settings['architecture']}, which takes images")
        if not any((folder / name).is_file() for name in _WEIGHTS):
            raise WeightsError(f"{folder}: holds timm's config.json, but no weights ({_WEIGHTS[0]})")
        return self._timm(str(folder))

    def _transformers(self, path: str) -> PretrainedConfig:
        return PretrainedConfig(
            path=path, tune=self.tune, learning_rate_scale=self.learning_rate_scale, items=self.items
        )

    def _timm(self, name: str) -> TimmConfig:
        return TimmConfig(name=name, tune=self.tune, learning_rate_scale=self.learning_rate_scale, items=self.items)


def _unresolved(where: str) -> ConfigError:
    return ConfigError(
        f"{where}: the encoder 'auto' stands for one that is chosen when a training starts, and has not been chosen "
        f"here; name an encoder, or call resolve(modality) on its config first"
    )


def _framework(config: EncoderConfig) -> str:
    return "timm" if isinstance(config, TimmConfig) else "transformers"


def _names_timm(name: str, modality: Modality) -> bool:
    """Whether a hub name that is not cached is timm's: by its prefix, or as an architecture of timm's."""
    if modality is not Modality.IMAGE or "/" in name:
        return name.startswith(("timm/", "hf-hub:"))
    import timm

    return bool(timm.is_model(name.split(".")[0]))


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


def _is_complete(folder: Path, modality: Modality) -> bool:
    """Whether a snapshot can be loaded: a download that broke off, or one of a tokenizer only, can't."""

    def has(names: Iterable[str]) -> bool:
        return any((folder / name).is_file() for name in names)

    if not (folder / "config.json").is_file() or not has(_WEIGHTS):
        return False
    try:
        settings = _settings(folder)
    except WeightsError:
        return False
    if "model_type" not in settings:
        return "architecture" in settings
    return has(_TOKENIZERS if modality is Modality.TEXT else _PROCESSORS)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{folder}: has no config.json; expected a folder written by save_pretrained") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: can't be read: {error}") from None
    if not isinstance(settings, dict):
        raise WeightsError(f"{path}: found {type(settings).__name__}, expected a model's settings")
    return settings


def is_mostly_english(texts: Iterable[object], limit: int = 500) -> bool:
    """Whether texts are mostly English, by their letters and most frequent words; True where nothing tells.

    Args:
        texts: Cells; what is no text is left alone, lists are looked into.
        limit: Cells that are looked at, the first ones.
    """
    letters = foreign = num_words = english = other = 0
    for cell, _ in zip(texts, range(limit), strict=False):
        for text in cell if isinstance(cell, list) else (cell,):
            if isinstance(text, str):
                letters += sum(map(str.isalpha, text))
                foreign += sum(c.isalpha() and not c.isascii() for c in text)
                words = text.lower().split()
                num_words += len(words)
                english += sum(_ENGLISH_WORDS.fullmatch(word) is not None for word in words)
                other += sum(_OTHER_WORDS.fullmatch(word) is not None for word in words)
    # A "de" here and there is a name: in running text of these languages every fourth word is one of the list.
    return foreign <= 0.1 * letters and other <= max(english, 0.05 * num_words)
