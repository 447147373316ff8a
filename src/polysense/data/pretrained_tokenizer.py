"""Tokenizers that came from outside: with a pretrained model, by way of transformers, or in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from polysense.core.error_text import first_line
from polysense.core.own_code import OWN_CODE, needs_own_code
from polysense.core.spelling import shortened
from polysense.errors import ColumnError, WeightsError

__all__ = ["encode_text", "fast_tokenizer"]


def encode_text(tokenizer: Tokenizer, text: str, *, add_special_tokens: bool = True) -> Encoding:
    """A text as a tokenizer reads it.

    Raises:
        ColumnError: The tokenizer has no token for something in it, and none for what it does not know.
    """
    try:
        return tokenizer.encode(text, add_special_tokens=add_special_tokens)
    except Exception as error:  # noqa: BLE001 (tokenizers raises a bare Exception)
        raise ColumnError(
            f"the tokenizer can't read {shortened(text)}: {first_line(error)}; expected one that reads every text, as "
            "one with an unknown token does. If it is a bundle's, copy the bundle again"
        ) from None


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
        # Code that comes with a tokenizer is never run, and nobody is asked; a folder is read without the hub.
        is_local = Path(path).expanduser().is_dir()
        wrapper = AutoTokenizer.from_pretrained(
            path, revision=revision, local_files_only=is_local, trust_remote_code=False
        )
    except Exception as error:  # noqa: BLE001 (of files from outside, in a library's hands)
        if needs_own_code(error):
            raise WeightsError(f"{what} can't be had: {OWN_CODE}") from None
        raise WeightsError(
            f"{what} can't be had: {first_line(error)}. Give the path of a local folder that holds tokenizer.json, or "
            "set HF_HOME to a cache that holds it"
        ) from None
    tokenizer = getattr(wrapper, "backend_tokenizer", None)
    if tokenizer is None:
        raise ColumnError(
            f"{what} has no fast form ({type(wrapper).__name__}); expected one that can be saved as tokenizer.json"
        )
    return tokenizer, wrapper
