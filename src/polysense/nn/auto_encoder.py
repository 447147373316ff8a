"""`auto`: a pretrained backbone where one is at hand, an encoder trained from scratch where not.

The branch of the textbook's flowchart, taken once, when a training starts: `resolve` gives a concrete encoder and the
reason in a sentence, and a run's recipe holds what it gave. So a bundle, a resumed run and a repeated one never ask
again, on a machine that has something else at hand. Where it looks is the recipe's `pretrained`:

- `auto`: the folder that POLYSENSE_PRETRAINED names, then the local Hugging Face cache for well-known models;
- `download`: the same, then the hub, for the first of these models;
- a folder: that folder alone;
- `off`: nowhere.

How much of a backbone learns is `tune: auto` by default: none of it on a CPU, where a pass over the rows is all that
there is time for, and none for fewer than 5,000 rows, which teach a linear layer over it more than the layers below;
on a GPU with 5,000 rows its last two blocks, with 50,000 all of it, at a tenth of the rest's learning rate.

The trade-off: the list of models is short and its order is one opinion. Whoever knows a better backbone for their data
names it by `path`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from polysense.config.codec import from_dict
from polysense.config.limits import NonNegativeFloat
from polysense.core import registry
from polysense.core.backbones import Backbones
from polysense.core.schema import Column, Requirements
from polysense.core.unsupported import Unsupported
from polysense.errors import ConfigError, WeightsError
from polysense.nn.backbone import check_tune
from polysense.nn.backbone_search import BackboneSearch
from polysense.nn.backbones import ModelFolder, cache_folder, encoder_loaders, encoders, look_at, snapshot, whose
from polysense.nn.circumstances import Circumstances
from polysense.nn.encoder import Encoder, EncoderConfig

__all__ = ["AutoEncoderConfig"]

_TUNED_ROWS, _FULLY_TUNED_ROWS = 5_000, 50_000
_TUNED_BLOCKS = 2


@dataclass(frozen=True, kw_only=True)
class AutoEncoderConfig(EncoderConfig):
    """A pretrained backbone if one is named or at hand, else an encoder trained from scratch.

    Attributes:
        path: A backbone to take: a local folder as save_pretrained writes it, or a hub name (transformers or timm).
            null takes what the recipe's `pretrained` allows.
        tune: Of a pretrained backbone: "frozen", "full", or how many of the last blocks learn. auto: frozen on a CPU
            and below 5,000 rows; on a GPU the last 2 blocks, from 50,000 rows on all of it.
        learning_rate_scale: A pretrained backbone's learning rate over the rest's.
        scratch: The encoder that is trained from scratch where no backbone is at hand; null takes the modality's own.
    """

    type: Literal["auto"] = "auto"
    path: str | None = None
    tune: Literal["auto", "frozen", "full"] | int = "auto"
    learning_rate_scale: NonNegativeFloat = 0.1
    scratch: EncoderConfig | None = None

    def __post_init__(self) -> None:
        check_tune(self.tune, has_weights=True)
        if isinstance(self.scratch, AutoEncoderConfig):
            raise ConfigError("scratch: auto is no encoder that can be trained; name one")

    @property
    def is_deferred(self) -> bool:
        return True

    @classmethod
    def reads(cls) -> frozenset[str]:
        return frozenset(registry.modalities())

    def resolve(
        self, modality: str, cells: Iterable[object] = (), circumstances: Circumstances | None = None
    ) -> tuple[EncoderConfig, str]:
        """Decides; once for a training, before preprocessing is fitted.

        Args:
            modality: Of the column.
            cells: Some of its cells, for whether a multilingual backbone is called for.
            circumstances: What else it depends on; by default those of a small table on a CPU.

        Returns:
            A concrete encoder, and in a sentence why this one.

        Raises:
            ConfigError: The path holds no backbone for such a column.
            WeightsError: There is no such folder, or the only model that it is is broken.
        """
        here = circumstances or Circumstances()
        backbones = registry.modality(modality).backbones(list(cells))
        if isinstance(backbones, Unsupported):
            if self.path is not None:
                raise ConfigError(f"path: {self.path}: {backbones}; leave it out")
            return self._from_scratch(modality, str(backbones))
        tune, why = self._tuning(here)
        options = {"tune": tune, "learning_rate_scale": self.learning_rate_scale, "items": self.items}
        if self.path is not None:
            named, reason = self._of_path(self.path, modality, backbones, options)
            return named, f"{reason}; {why}"
        loaders = encoder_loaders(modality, backbones, options)
        config, reason = BackboneSearch(backbones, loaders).run(here.pretrained)
        if config is None:
            return self._from_scratch(modality, reason)
        return config, f"{reason}; {why}"

    def requirements(self, column_name: str, modality: str) -> Requirements:
        raise _unresolved(f"model.encoders.{column_name}")

    def build(self, column: Column, width: int, resources: Path | None = None) -> Encoder:
        raise _unresolved(f"model.encoders.{column.name}")

    def _tuning(self, here: Circumstances) -> tuple[str | int, str]:
        """How much of a backbone learns, and why."""
        if self.tune != "auto":
            return self.tune, _tuned(self.tune)
        if not here.on_gpu:
            return "frozen", f"{_tuned('frozen')} on a CPU"
        if here.num_rows < _TUNED_ROWS:
            return "frozen", f"{_tuned('frozen')} for fewer than {_TUNED_ROWS:,} rows"
        tune: str | int = "full" if here.num_rows >= _FULLY_TUNED_ROWS else _TUNED_BLOCKS
        return tune, f"{_tuned(tune)} on a GPU with {here.num_rows:,} rows"

    def _from_scratch(self, modality: str, why: str) -> tuple[EncoderConfig, str]:
        if self.scratch is not None:
            config = replace(self.scratch, items=self.items)
        else:
            plain = {**registry.modality(modality).default_encoder(None), "items": self.items}
            config = from_dict(EncoderConfig, plain, where="the encoder 'auto'")
        return config, f"{config.type}, trained from scratch: {why}"

    def _of_path(
        self, path: str, modality: str, backbones: Backbones, options: Mapping[str, Any]
    ) -> tuple[EncoderConfig, str]:
        folder = Path(path).expanduser()
        if folder.is_file():
            raise ConfigError(
                f"path: {path}: is a file, which does not say what network it belongs to; give a folder written by "
                f"save_pretrained, or name the encoder: `type: timm` with name and weights, or for word vectors "
                f"`type: word_vectors`"
            )
        if folder.is_dir():
            model = look_at(folder)
            if model.problem and (model.encoder(backbones) is not None or not whose(model)):
                raise WeightsError(f"{folder}: {model.problem}")
            config = _in_folder(model, backbones, options)
            return config, f"pretrained {model.name}, a {config.framework} model, since path names it"
        if path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise WeightsError(f"path: {path}: no such folder; expected one written by save_pretrained, or a hub name")
        cached = snapshot(cache_folder(), path.removeprefix("hf-hub:"))
        if cached is not None and not (model := look_at(cached, path)).problem and _is_complete(model, backbones):
            config = _in_folder(model, backbones, options)
            where = "from the local Hugging Face cache"
        else:
            config = next(each.of_backbone(path, options) for each in encoders(backbones.encoders) if each.knows(path))
            where = "which the local Hugging Face cache does not hold, so it is asked of the hub"
        return config, f"pretrained {path}, a {config.framework} model, since path names it, {where}"


def _tuned(tune: str | int) -> str:
    return {"frozen": "frozen", "full": "tuned"}.get(str(tune), f"its last {tune} blocks tuned")


def _is_complete(model: ModelFolder, backbones: Backbones) -> bool:
    """Whether a snapshot can be loaded: a download of the weights only can't."""
    encoder = model.encoder(backbones)
    return encoder is not None and (not encoder.needs_processor or model.folder.has(*backbones.files))


def _in_folder(model: ModelFolder, backbones: Backbones, options: Mapping[str, Any]) -> EncoderConfig:
    """The encoder of a folder that a recipe names, whatever its modality thinks of it."""
    encoder = model.encoder(backbones)
    if encoder is None:
        raise ConfigError(f"path: {model.folder.path}: {whose(model)}")
    return encoder.of_backbone(str(model.folder.path), options)


def _unresolved(where: str) -> ConfigError:
    return ConfigError(
        f"{where}: the encoder 'auto' stands for one that is chosen when a training starts, and has not been chosen "
        f"here; name an encoder, or call resolve(modality) on its config first"
    )
