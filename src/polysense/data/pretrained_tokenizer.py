"""Tokenizers that came with a pretrained model, by way of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from polysense.core.error_text import first_line
from polysense.core.own_code import OWN_CODE, needs_own_code
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
