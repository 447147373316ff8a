"""Texts that a tokenizer from outside has no tokens for."""

from __future__ import annotations

import re

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from polysense.data.pretrained_tokenizer import encode_text
from polysense.errors import ColumnError


def test_a_tokenizer_without_a_token_for_a_word_is_told_of() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "red": 1}, unk_token="[UNK]"))  # and no such token
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert encode_text(tokenizer, "a red").ids == [0, 1]
    with pytest.raises(ColumnError, match=re.escape("can't read 'a red car': WordLevel error: Missing [UNK] token")):
        encode_text(tokenizer, "a red car")
