"""`recognizer`: a pretrained recognizer's decoder where the audio column's encoder has one, else a head from scratch.

Settled once, when a training starts, after the encoders are (see `nn.auto_encoder`); a run's recipe holds what it gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from polysense.core.schema import Requirements, Target
from polysense.errors import ConfigError, PolysenseError
from polysense.nn.circumstances import Circumstances
from polysense.nn.encoder import EncoderConfig
from polysense.nn.head import BaseHead, HeadConfig
from polysense.nn.pretrained import PretrainedConfig
from polysense.tasks.generation.heads.autoregressive import WritingHeadConfig
from polysense.tasks.generation.heads.ctc_attention import CTCAttentionHeadConfig
from polysense.tasks.generation.heads.pretrained_decoder import PretrainedDecoderHeadConfig

__all__ = ["RecognizerHeadConfig"]


@dataclass(frozen=True, kw_only=True)
class RecognizerHeadConfig(HeadConfig):
    """A pretrained speech recognizer's decoder where a column's encoder is one's, else a head trained from scratch.

    Attributes:
        language: Of the transcripts ("en", "de", ...), for a recognizer of several languages.
        tune: What is trained of a pretrained decoder, see `pretrained_decoder`.
        scratch: The head that is trained from scratch where there is none.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    type: Literal["recognizer"] = "recognizer"
    language: str | None = None
    tune: Literal["frozen", "lora", "full"] = "full"
    scratch: HeadConfig = field(default_factory=lambda: CTCAttentionHeadConfig(language_model=5))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.scratch, WritingHeadConfig):
            raise ConfigError(f"scratch: {self.scratch.type} writes no text; name a head that does")

    def resolve(
        self,
        encoders: Mapping[str, EncoderConfig],
        circumstances: Circumstances | None = None,
        cells: Iterable[object] = (),
    ) -> tuple[HeadConfig, str]:
        del circumstances, cells
        why, chosen = ["no input column has a recognizer's encoder"], list[PretrainedDecoderHeadConfig]()
        for column, encoder in encoders.items():
            if not isinstance(encoder, PretrainedConfig) or encoder.weights != "pretrained":
                continue
            config = PretrainedDecoderHeadConfig(
                path=encoder.path, column=column, language=self.language, tune=self.tune, revision=encoder.revision
            )
            try:
                config.requirements(column)
            except PolysenseError as error:
                why.append(str(error))
            else:
                chosen.append(config)
        if len(chosen) == 1:
            # A folder by its name alone: the reason stands in files that go to other machines.
            return chosen[
                0
            ], f"the decoder of {Path(chosen[0].path).name}, whose encoder column {chosen[0].column!r} has"
        if chosen:
            why.append(f"{len(chosen)} columns have one; name the head pretrained_decoder and its column")
        return self.scratch, f"{self.scratch.type}, trained from scratch: {why[-1]}"

    def requirements(self, target_name: str) -> Requirements:
        raise _unresolved(target_name)

    def build(self, target: Target, width: int) -> BaseHead:
        raise _unresolved(target.name)


def _unresolved(target: str) -> ConfigError:
    return ConfigError(
        f"model.heads.{target}: `recognizer` stands for another head, which is settled when a training starts; name "
        "one here, or call resolve(encoders) on its config first"
    )
