"""A tokenizer as what spells and reads token ids, for changing letters of a text that is tokenized already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from tokenizers import Tokenizer

from polysense.data.pretrained_tokenizer import encode_text
from polysense.modalities.text.typos import with_typos

__all__ = ["Speller"]


class Speller:
    """Misspells texts that are given as token ids.

    Args:
        tokenizer: Which gave them.
        max_tokens: Of a text; None: any number.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int | None) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())  # the other one cuts
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True  # a text spells no mark
        self._max_tokens = max_tokens
        # What stands for no text of its own: marks, and the word for all unknown ones.
        self._marks = frozenset(self._tokenizer.get_added_tokens_decoder())
        unknown = getattr(self._tokenizer.model, "unk_token", None)
        if unknown is not None and (position := self._tokenizer.token_to_id(unknown)) is not None:
            self._marks |= {position}

    def mistyped(self, ids: Sequence[int], rate: float, draw: Callable[[int, int], np.ndarray]) -> list[int]:
        """A text's ids, of the text with typing errors.

        Args:
            ids: Of a text, without padding.
            rate: See `typos.with_typos`.
            draw: Gives so many uniforms in [0, 1) for each run between two marks: (run, num) -> float64 [num].

        Returns:
            At most `max_tokens`; marks at the end stay there.
        """
        result: list[int] = []
        tail = 0
        for run, (is_mark, group) in enumerate(groupby(ids, self._marks.__contains__)):
            part = list(group)
            result += part if is_mark else self._run(part, rate, lambda num, run=run: draw(run, num))  # type: ignore[misc]
            tail = len(part) if is_mark else 0
        if self._max_tokens is not None and len(result) > self._max_tokens:
            result = result[: self._max_tokens - tail] + result[len(result) - tail :]
        return result

    def _run(self, ids: list[int], rate: float, draw: Callable[[int], np.ndarray]) -> list[int]:
        text = self._tokenizer.decode(ids, skip_special_tokens=False)
        misspelled = with_typos(text, rate, draw)
        if misspelled == text or self._ids(text) != ids:
            return ids
        return self._ids(misspelled) or ids

    def _ids(self, text: str) -> list[int]:
        result: list[int] = encode_text(self._tokenizer, text, add_special_tokens=False).ids
        return result
