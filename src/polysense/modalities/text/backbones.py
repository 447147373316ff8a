"""Pretrained backbones of texts: the well-known ones by language, and the rank of a folder.

A sentence encoder goes before a language model that was trained to fill in masked words, since its pooled output was
trained to be compared. A causal language model is never taken: its tokens have seen only what is left of them, and
frozen they are worth less than counts of words. Whether a vocabulary knows a column's language is measured on the
column: an English one cuts other languages into twice as many tokens, which is worse than training from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from polysense.core.backbones import Backbone, BackboneFolder, Backbones
from polysense.core.vocabulary_fit import texts_of, vocabulary_fit

__all__ = ["backbones_for"]

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_SENTENCES = ("modules.json", "config_sentence_transformers.json", "1_Pooling/config.json")
_CAUSAL = ("ForCausalLM", "LMHeadModel")

_SENTENCE, _CAUSAL_SENTENCE, _MASKED, _OTHER = range(4)

_MANY_TOKENS = 100_000  # of a vocabulary that knows many languages: mBERT has 119,547, XLM-R 250,002, BERT 30,522

_ENGLISH = (
    Backbone(
        name="sentence-transformers/all-MiniLM-L6-v2", license="Apache-2.0", parameters=22.7, megabytes=91,
        purpose="English sentences and short paragraphs", speed="9 ms for 32 tokens, 33 ms for 128",
    ),
    Backbone(
        name="BAAI/bge-small-en-v1.5", license="MIT", parameters=33.4, megabytes=133,
        purpose="English paragraphs of up to 512 tokens, retrieval",
    ),
    Backbone(
        name="sentence-transformers/all-mpnet-base-v2", license="Apache-2.0", parameters=109.5, megabytes=438,
        purpose="English sentences; slow without a GPU",
    ),
    Backbone(
        name="distilbert/distilbert-base-uncased", license="Apache-2.0", parameters=66.4, megabytes=268,
        purpose="English words in context, to be tuned",
    ),
    Backbone(
        name="distilbert-base-uncased", license="Apache-2.0", parameters=66.4, megabytes=268,
        purpose="the same under its former name",
    ),
    Backbone(
        name="google-bert/bert-base-uncased", license="Apache-2.0", parameters=109.5, megabytes=440,
        purpose="English words in context, to be tuned",
    ),
    Backbone(
        name="bert-base-uncased", license="Apache-2.0", parameters=109.5, megabytes=440,
        purpose="the same under its former name",
    ),
    Backbone(
        name="FacebookAI/roberta-base", license="MIT", parameters=124.6, megabytes=499,
        purpose="English words in context, to be tuned",
    ),
    Backbone(
        name="roberta-base", license="MIT", parameters=124.6, megabytes=499, purpose="the same under its former name"
    ),
)  # fmt: skip
_MULTILINGUAL = (
    Backbone(
        name="sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", license="Apache-2.0", parameters=117.7,
        megabytes=471, purpose="sentences of 50 languages",
    ),
    Backbone(
        name="intfloat/multilingual-e5-small", license="MIT", parameters=117.7, megabytes=471,
        purpose="paragraphs of 94 languages, retrieval",
    ),
    Backbone(
        name="distilbert/distilbert-base-multilingual-cased", license="Apache-2.0", parameters=134.7, megabytes=542,
        purpose="words of 104 languages in context, to be tuned",
    ),
    Backbone(
        name="google-bert/bert-base-multilingual-cased", license="Apache-2.0", parameters=177.9, megabytes=714,
        purpose="words of 104 languages in context, to be tuned",
    ),
    Backbone(
        name="bert-base-multilingual-cased", license="Apache-2.0", parameters=177.9, megabytes=714,
        purpose="the same under its former name",
    ),
    Backbone(
        name="FacebookAI/xlm-roberta-base", license="MIT", parameters=278.0, megabytes=1115,
        purpose="words of 100 languages in context, to be tuned",
    ),
    Backbone(
        name="xlm-roberta-base", license="MIT", parameters=278.0, megabytes=1115,
        purpose="the same under its former name",
    ),
)  # fmt: skip


def backbones_for(cells: Sequence[object], *, english: bool) -> Backbones:
    """Backbones for a column of texts.

    Args:
        cells: Some of its cells.
        english: Whether they are mostly English.
    """
    known = _ENGLISH + _MULTILINGUAL if english else _MULTILINGUAL
    texts = () if english else tuple(texts_of(cells))
    kind = "text" if english else "multilingual text"
    return Backbones(known=known, kind=kind, files=_TOKENIZERS, rank=partial(_rank, texts=texts))


def _rank(folder: BackboneFolder, *, texts: Sequence[str]) -> int | str:
    """See `Backbones.rank`; `texts` are what its vocabulary has to know, () of English."""
    for name in _PROCESSORS:
        if folder.has(name):
            return f"its inputs are no texts ({name})"
    if not folder.has(*_TOKENIZERS):
        return f"it has no tokenizer ({_TOKENIZERS[0]})"
    is_sentence, is_causal = folder.has(*_SENTENCES), _is_causal(folder)
    if is_causal and not is_sentence:
        return "it is a causal language model, which encodes no sentences"
    if texts and (reason := _is_foreign(folder, texts)):
        return reason
    if is_sentence:
        return _CAUSAL_SENTENCE if is_causal else _SENTENCE
    return _OTHER if folder.settings.get("is_encoder_decoder") else _MASKED


def _is_causal(folder: BackboneFolder) -> bool:
    """Whether a model was trained to continue texts alone."""
    architectures = folder.settings.get("architectures")
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    if folder.settings.get("is_decoder") is True or any(name.endswith(_CAUSAL) for name in names):
        return True
    # A body without its head ("GPT2Model"): by what transformers has of its kind.
    from transformers.models.auto import modeling_auto as auto

    kind = folder.settings.get("model_type")
    others = {*auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, *auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES}
    return kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in others


def _is_foreign(folder: BackboneFolder, texts: Sequence[str]) -> str:
    """Why a vocabulary does not know some texts; "" if it does."""
    size = folder.settings.get("vocab_size")
    if folder.name in {each.name for each in _MULTILINGUAL} or (isinstance(size, int) and size >= _MANY_TOKENS):
        return ""
    fit = vocabulary_fit(folder.path / "tokenizer.json", texts)
    if fit is None:
        return f"its vocabulary of {size} tokens is of one language, and these texts are not English"
    return fit
