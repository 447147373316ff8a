"""Tokenizers that came with a pretrained model, by way of transformers."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from polysense.errors import ColumnError, WeightsError

__all__ = ["fast_tokenizer"]


def fast_tokenizer(path: str, what: str, revision: str | None = None) -> tuple[Tokenizer, Any]:
    """The tokenizer and transformers' wrapper around it, which knows its special tokens.

    Args:
        path: A local folder or a hub name.
        what: What it is and for which column or target, for errors.
        revision: Of the hub; None = the newest.

    Raises:
        WeightsError: It is neither there nor in the hub's cache.
        ColumnError: It can't be saved as tokenizer.json.
    """
    from transformers import AutoTokenizer  # seconds to import

    try:
        wrapper = AutoTokenizer.from_pretrained(path, revision=revision)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"{what} can't be had: {reason}. Give the path of a local folder that holds tokenizer.json, or set HF_HOME "
            "to a cache that holds it"
        ) from None
    tokenizer = getattr(wrapper, "backend_tokenizer", None)
    if tokenizer is None:
        raise ColumnError(
            f"{what} has no fast form ({type(wrapper).__name__}); expected one that can be saved as tokenizer.json"
        )
    return tokenizer, wrapper
