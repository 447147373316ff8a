"""Pretrained causal language models that a text output starts from: the well-known ones, and what a folder is worth.

Small ones, for a training on a CPU is what chooses by itself. Whether a vocabulary knows the language of a target is
measured on its sentences; answers of a word or two say nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from polysense.core.backbones import Backbone, BackboneFolder, Backbones
from polysense.core.vocabulary_fit import texts_of, vocabulary_fit

__all__ = ["KNOWN", "language_models_for"]

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_CAUSAL = ("ForCausalLM", "LMHeadModel")
_WORDS_OF_A_SENTENCE = 4

KNOWN = (
    Backbone(
        name="HuggingFaceTB/SmolLM2-135M-Instruct", license="Apache-2.0", parameters=134.5, megabytes=269,
        purpose="English sentences", speed="8 ms a token, 16 ms in training",
    ),
    Backbone(
        name="HuggingFaceTB/SmolLM2-135M", license="Apache-2.0", parameters=134.5, megabytes=269,
        purpose="English sentences",
    ),
    Backbone(
        name="openai-community/gpt2", license="MIT", parameters=124.4, megabytes=548, purpose="English sentences"
    ),
    Backbone(name="gpt2", license="MIT", parameters=124.4, megabytes=548, purpose="the same under its former name"),
    Backbone(
        name="HuggingFaceTB/SmolLM2-360M-Instruct", license="Apache-2.0", parameters=361.8, megabytes=724,
        purpose="English sentences; slow without a GPU",
    ),
    Backbone(
        name="Qwen/Qwen2.5-0.5B-Instruct", license="Apache-2.0", parameters=494.0, megabytes=988,
        purpose="texts of 29 languages; slow without a GPU",
    ),
)  # fmt: skip


def language_models_for(cells: Iterable[object] = ()) -> Backbones:
    """Language models for a target.

    Args:
        cells: Some of its cells.
    """
    sentences = tuple(text for text in texts_of(cells) if len(text.split()) >= _WORDS_OF_A_SENTENCE)
    rank = partial(_rank, sentences=sentences)
    return Backbones(known=KNOWN, kind="causal language model", files=_TOKENIZERS, encoders=(), rank=rank)


def _rank(folder: BackboneFolder, *, sentences: Sequence[str]) -> int | str:
    """See `Backbones.rank`."""
    architectures = folder.settings.get("architectures")
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    if not any(name.endswith(_CAUSAL) for name in names):
        return f"it is no causal language model ({names[0] if names else folder.settings.get('model_type')})"
    return (vocabulary_fit(folder.path / _TOKENIZERS[0], sentences) if sentences else "") or 0
