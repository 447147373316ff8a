"""The decoder of a pretrained speech recognizer as a part: opened alone, and run over its encoder's states.

transformers' Whisper has no mask over the encoder's states, for it always hears 30 s. Here clips of different lengths
share a batch, and what lies beyond a clip's end is junk: each cross-attention gets the mask of the batch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysense.errors import ConfigError
from polysense.nn.layers.causal_lm import cache_name
from polysense.nn.pretrained_files import companion, from_pretrained, from_settings

__all__ = ["MaskedCrossAttention", "SpeechDecoder", "open_decoder", "open_speech_config", "prefix_of"]

_KINDS = ("whisper",)


def open_speech_config(path: str, revision: str | None) -> Any:
    """A speech recognizer's own config.

    Raises:
        WeightsError: It can't be had.
        ConfigError: It has no decoder that is known here.
    """
    import transformers

    settings = from_pretrained(transformers.AutoConfig, path, revision)
    if settings.model_type not in _KINDS:
        raise ConfigError(
            f"{path}: holds a model of the type {settings.model_type!r}, expected a speech recognizer with a decoder "
            f"({', '.join(_KINDS)}); give another path, or choose the head ctc_attention"
        )
    return settings


def prefix_of(path: str, revision: str | None, language: str | None) -> tuple[int, ...]:
    """The token ids that a transcript begins with, by the recognizer's tokenizer: start, language, task, no times.

    Args:
        path: Its folder or hub name.
        revision: Of the hub.
        language: Of the transcripts ("en", "de", ...); None for a recognizer of one language.

    Raises:
        WeightsError: The tokenizer can't be had.
        ConfigError: It knows no such language, or several and none is named.
    """
    import transformers

    tokenizer = from_pretrained(transformers.AutoTokenizer, path, revision)
    spelled = ["<|startoftranscript|>"]
    if companion(path, "generation_config.json", revision).get("is_multilingual", False):
        known = (str(token)[2:-2] for token in tokenizer.get_added_vocab() if str(token).startswith("<|"))
        languages = sorted(name for name in known if name.isalpha() and name.islower() and len(name) in (2, 3))
        if language not in languages:
            what = "names none" if language is None else f"has {language!r}"
            raise ConfigError(
                f"language: {path} is a recognizer of several languages, and the recipe {what}; expected one of "
                f"{', '.join(languages)}"
            )
        spelled += [f"<|{language}|>", "<|transcribe|>"]
    elif language not in (None, "en"):
        raise ConfigError(f"language: {path} knows English alone, found {language!r}; give a multilingual recognizer")
    ids = tokenizer.convert_tokens_to_ids([*spelled, "<|notimestamps|>"])
    if any(token is None or token == tokenizer.unk_token_id for token in ids[:1]):
        raise ConfigError(f"{path}: its tokenizer has no {spelled[0]}, expected a speech recognizer's own tokenizer")
    # A tokenizer that was trained without the other control tokens goes on without them.
    return tuple(int(token) for token in ids if token is not None and token != tokenizer.unk_token_id)


def open_decoder(settings: Any, path: str | None, revision: str | None) -> Any:
    """The decoder in float32, with pretrained weights, or random ones where there is no path."""
    import transformers

    settings.dtype = torch.float32
    factory: Any = transformers.AutoModel
    options: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "sdpa"}
    if path is None:
        model = from_settings(factory, settings, **options)
    else:
        model = from_pretrained(factory, path, revision, config=settings, **options)
    decoder = model.get_decoder()
    decoder.layerdrop = 0.0  # a parameter without a gradient would keep other processes waiting
    for layer in decoder.layers:
        layer.encoder_attn = MaskedCrossAttention(layer.encoder_attn)
    return decoder


class MaskedCrossAttention(nn.Module):
    """A cross-attention that sees valid states only.

    Args:
        attention: The model's own.
    """

    mask: Tensor | None

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        # Set before each forward: the model's layers pass none on.
        self.mask = None

    def forward(self, *args: Any, **options: Any) -> Any:
        """The attention's own output."""
        return self.attention(*args, **{**options, "attention_mask": self.mask})


class SpeechDecoder:
    """Calls a decoder on token ids and its encoder's states.

    Args:
        decoder: As `open_decoder` gives it.
    """

    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder
        self._cache_name = cache_name(decoder)

    @property
    def num_embeddings(self) -> int:
        """Token ids that it knows: [0, num_embeddings)."""
        return int(self.decoder.embed_tokens.weight.shape[0])

    @property
    def max_positions(self) -> int:
        """The longest sequence of tokens that it takes."""
        return int(self.decoder.max_target_positions)

    def __call__(
        self,
        ids: Int[Tensor, "batch length"],
        states: Float[Tensor, "batch frames width"],
        mask: Bool[Tensor, "batch frames"],
        first: int,
        cache: Any = None,
        *,
        use_cache: bool = False,
    ) -> tuple[Float[Tensor, "batch kept vocabulary"], Any]:
        """Logits of the token after each from position `first` on, and the keys and values.

        Args:
            ids: What is new; ids that it does not know stand for padding, after which nothing is read.
            states: Of the encoder; 0 where not valid.
            mask: Which are valid. A row without any reads one state of zeros.
            first: The first position of `ids` whose logits are wanted.
            cache: The past's keys and values.
            use_cache: Whether to keep them.
        """
        nothing = ~mask.any(dim=1, keepdim=True)
        seen = mask | (nothing & (torch.arange(mask.shape[1], device=mask.device) == 0))
        bias = torch.zeros(seen.shape, dtype=states.dtype, device=mask.device).masked_fill(~seen, -math.inf)
        for layer in self.decoder.layers:
            layer.encoder_attn.mask = bias[:, None, None].expand(-1, 1, ids.shape[1], -1)
        options: dict[str, Any] = {self._cache_name: cache}
        output = self.decoder(
            input_ids=torch.where(ids < self.num_embeddings, ids, 0),
            encoder_hidden_states=states,
            use_cache=use_cache,
            **options,
        )
        for layer in self.decoder.layers:
            layer.encoder_attn.mask = None
        hidden = output.last_hidden_state[:, first:]
        # The output layer is the embedding, in every model of this kind.
        logits: Tensor = hidden @ self.decoder.embed_tokens.weight.T
        return logits, getattr(output, self._cache_name) if use_cache else None
