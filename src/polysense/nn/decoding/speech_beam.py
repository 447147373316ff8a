"""Beam search over tokens by a CTC, an attention decoder and a language model together; see `speech.py`.

Each beginning is scored by all of them at every token (one pass), so what the CTC finds impossible is never followed:
an attention decoder alone may skip or repeat a part of a long recording, a CTC alone knows little of the language.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from polysense.config.limits import Fraction
from polysense.errors import ConfigError
from polysense.nn.decoding.beam import BeamSearch, BeamSearchConfig
from polysense.nn.decoding.speech import SpeechWeights
from polysense.nn.decoding.token_target import TokenTarget

__all__ = ["SpeechBeam", "SpeechBeamConfig"]


@dataclass(frozen=True, kw_only=True)
class SpeechBeamConfig(BeamSearchConfig):
    """Beam search by CTC, attention decoder and language model together; of the heads ctc and ctc_attention.

    Attributes:
        length_penalty: How much longer texts are favored: a in score / ((5 + length) / 6)^a.
        ctc_weight: Weight of the CTC score; the attention decoder's is 1 minus it, from 0 to 1.
        language_model_weight: How much the head's language model counts, if it has one; 0 leaves it out.
        length_bonus: Added to a text's score per token, in nats; higher values give longer texts.
    """

    type: Literal["speech_beam"] = "speech_beam"  # type: ignore[assignment]
    length_penalty: float = 0.0
    ctc_weight: Fraction = 0.3
    language_model_weight: float = 0.3
    length_bonus: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("language_model_weight", "length_bonus"):
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f"{name} must be a finite number; found {getattr(self, name)}")


class SpeechBeam(BeamSearch, config=SpeechBeamConfig):
    """Beam search, and what its head is to weigh the scores by.

    Attributes:
        weights: How much each score counts.
    """

    def __init__(self, config: SpeechBeamConfig, target: TokenTarget) -> None:
        super().__init__(config, target)
        self.weights = SpeechWeights(
            ctc=config.ctc_weight,
            language_model=config.language_model_weight,
            length_bonus=config.length_bonus,
        )
