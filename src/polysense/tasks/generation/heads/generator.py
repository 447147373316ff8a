"""`generator`: a pretrained language model where one is at hand, else a decoder trained from scratch.

Settled once, when a training starts, after the encoders are (see `nn.auto_encoder`); a run's recipe holds what it gave.
A language model is taken beside a pretrained encoder, for one that is trained from scratch needs more rows than a table
has that wants a language model. It is told of the columns by their fused summary alone (`connector: none`): on a CPU
each token costs 16 ms in training, and a photograph's 49 would be four fifths of all. There a row costs a quarter of a
second even so, and it is left to small tables: with many rows the decoder from scratch learns the same in a tenth of
the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import ClassVar, Literal

from polysense.core.schema import Requirements, Target
from polysense.errors import ConfigError
from polysense.nn.backbone_search import BackboneSearch
from polysense.nn.backbones import Loader
from polysense.nn.circumstances import Circumstances
from polysense.nn.encoder import EncoderConfig
from polysense.nn.head import BaseHead, HeadConfig
from polysense.nn.layers.causal_lm import Tuning
from polysense.nn.pretrained import PretrainedConfig
from polysense.tasks.generation.heads.autoregressive import WritingHeadConfig
from polysense.tasks.generation.heads.decoder import GenerationHeadConfig
from polysense.tasks.generation.heads.language_model import LanguageModelHeadConfig
from polysense.tasks.generation.language_models import language_models_for

__all__ = ["GeneratorHeadConfig"]

_MOST_ROWS_ON_A_CPU = 5_000


@dataclass(frozen=True, kw_only=True)
class GeneratorHeadConfig(HeadConfig):
    """A pretrained language model where one is at hand, else a decoder trained from scratch.

    Attributes:
        path: The language model to take: a local folder as save_pretrained writes it, or a hub name. null takes what
            the recipe's `pretrained` allows, beside a pretrained encoder, on a CPU for up to 5,000 rows.
        tune: What is trained of it, see `language_model`; auto is lora where peft is installed, else frozen.
        scratch: The head that is trained from scratch where there is none.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    type: Literal["generator"] = "generator"
    path: str | None = None
    tune: Literal["auto"] | Tuning = "auto"
    scratch: HeadConfig = field(default_factory=GenerationHeadConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.scratch, WritingHeadConfig):
            raise ConfigError(f"scratch: {self.scratch.type} writes no text; name a head that does")

    @property
    def excluded(self) -> tuple[str, ...]:
        return self.scratch.excluded

    def resolve(
        self,
        encoders: Mapping[str, EncoderConfig],
        circumstances: Circumstances | None = None,
        cells: Iterable[object] = (),
    ) -> tuple[HeadConfig, str]:
        here = circumstances or Circumstances()
        if self.path is not None:
            config = self._language_model(self.path)
            return config, f"{self.path}, since path names it; {_tuned(config)}"
        if here.pretrained == "off":
            return self._from_scratch("pretrained is off")
        if not any(type(encoder).framework for encoder in encoders.values()):
            return self._from_scratch("no input column has a pretrained encoder that a language model could read")
        if not here.on_gpu and here.num_rows > _MOST_ROWS_ON_A_CPU:
            return self._from_scratch(
                f"on a CPU a language model is too slow for more than {_MOST_ROWS_ON_A_CPU:,} rows"
            )
        loader = Loader("transformers", PretrainedConfig.loads, self._opened, needs_processor=True)
        chosen, reason = BackboneSearch(language_models_for(cells), [loader]).run(here.pretrained)
        return self._from_scratch(reason) if chosen is None else (chosen, f"{reason}; {_tuned(chosen)}")

    def requirements(self, target_name: str) -> Requirements:
        raise _unresolved(target_name)

    def build(self, target: Target, width: int) -> BaseHead:
        raise _unresolved(target.name)

    def _from_scratch(self, why: str) -> tuple[HeadConfig, str]:
        return self.scratch, f"{self.scratch.type}, trained from scratch: {why}"

    def _opened(self, path: str, name: str) -> LanguageModelHeadConfig:
        config = self._language_model(path)
        config.requirements(name)
        return config

    def _language_model(self, path: str) -> LanguageModelHeadConfig:
        tune = self.tune
        if tune == "auto":
            tune = "frozen" if find_spec("peft") is None else "lora"
        assert isinstance(self.scratch, WritingHeadConfig)
        return LanguageModelHeadConfig(
            path=path,
            tune=tune,
            connector="none",
            exclude=self.scratch.exclude,
            decoding=self.scratch.decoding,
        )


def _tuned(config: LanguageModelHeadConfig) -> str:
    if config.tune == "lora":
        return "frozen but for low-rank adapters"
    return {"frozen": "frozen", "full": "tuned"}[config.tune]


def _unresolved(target: str) -> ConfigError:
    return ConfigError(
        f"model.heads.{target}: `generator` stands for another head, which is settled when a training starts; name one "
        "here, or call resolve(encoders) on its config first"
    )
