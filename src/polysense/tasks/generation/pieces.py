"""A text while it is written: what each further token adds, whole characters only.

A token may end within a character (bytes of UTF-8, as byte-level subwords have them). Until the rest has come it is
shown as U+FFFD, so what ends with that is held back. Decoding the whole beginning for each token, rather than the token
alone, keeps spaces and joined bytes right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["pieces"]

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


def pieces(texts: Iterable[str]) -> Iterator[str]:
    """The parts that put together are the last text.

    Args:
        texts: Longer and longer beginnings of a text, the last of which is the whole.
    """
    listed, text = "", ""
    for text in texts:
        ready = text.rstrip(_INCOMPLETE)
        if len(ready) > len(listed) and ready.startswith(listed):
            yield ready[len(listed) :]
            listed = ready
    if len(text) > len(listed):
        yield text[len(listed) :]
