"""A language model that is counted: how likely a token is after the few before it.

Interpolated Witten-Bell smoothing (Witten and Bell, "The Zero-Frequency Problem", 1991, method C; Chen and Goodman,
1999, section 2.5): after a context h that was followed N times, by T different tokens,

    p(w | h) = (count(h w) + T p(w | h')) / (N + T),    h' = h without its first token,

down to the share of each token, and at last 1 / tokens. Modified Kneser-Ney is a little better on large texts of words;
Witten-Bell has nothing to fit, and on characters, where most contexts are seen often, it is as good.

What recognition needs of it: given only transcripts, it knows which letters follow one another (Hannun et al., 2014).
Contexts are nodes of a tree, kept as sorted arrays in buffers, so it is saved with the model's weights, moves to a GPU
with it, and scores all beams of a batch at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["NgramModel"]

_BUFFERS = ("keys", "shares", "following", "starts", "backoff", "shorter", "depth", "unigram", "first")


class NgramModel(nn.Module):
    """Log probabilities of the next token after a context; before `fit`, all tokens are equally likely.

    Args:
        order: Tokens of the longest sequence that is counted; contexts are one shorter.
        vocabulary_size: Token ids run over [0, vocabulary_size).
        never: Ids that no text holds after its begin token.

    Attributes:
        keys: int64 [edges], context times the vocabulary's size plus token, ascending.
        shares: float64 [edges], count / (N + T).
        following: int64 [edges], the context after that token.
        starts: int64 [contexts + 1], where each context's edges begin.
        backoff: float64 [contexts], T / (N + T).
        shorter: int64 [contexts], the context without its first token.
        depth: int64 [contexts], its tokens. Context 0 is the empty one.
        unigram: float64 [vocabulary], probabilities after the empty context.
        first: int64 [1], the context at a text's start.
    """

    keys: Tensor
    shares: Tensor
    following: Tensor
    starts: Tensor
    backoff: Tensor
    shorter: Tensor
    depth: Tensor
    unigram: Tensor
    first: Tensor

    def __init__(self, order: int, vocabulary_size: int, never: Sequence[int]) -> None:
        super().__init__()
        assert order >= 1, f"sequences of {order} tokens"
        self.order, self.vocabulary_size = order, vocabulary_size
        allowed = np.ones(vocabulary_size)
        allowed[list(never)] = 0.0
        self._even = allowed / allowed.sum()
        self._put(
            keys=np.full(1, -1),
            shares=np.zeros(1),
            following=np.zeros(1, dtype=np.int64),
            starts=np.zeros(2, dtype=np.int64),
            backoff=np.ones(1),
            shorter=np.zeros(1, dtype=np.int64),
            depth=np.zeros(1, dtype=np.int64),
            unigram=self._even,
            first=np.zeros(1, dtype=np.int64),
        )
        # What is loaded has as many contexts as its texts gave.
        self.register_load_state_dict_pre_hook(_resize)  # type: ignore[no-untyped-call]

    @property
    def num_sequences(self) -> int:
        """Different sequences of 1 to `order` tokens that were seen."""
        return int((self.keys >= 0).sum())

    def fit(self, texts: Iterable[Sequence[int]]) -> None:
        """Counts.

        Args:
            texts: Token ids from the begin token on; the end token, where a text has it, is a token like the others.
        """
        arrays = [np.asarray(text, dtype=np.int64) for text in texts]
        arrays = [array for array in arrays if len(array) > 1]
        if not arrays:
            return
        tokens = np.concatenate(arrays)
        lengths = np.array([len(array) for array in arrays])
        # How many tokens of its text stand before each token.
        place = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        is_last = np.zeros(len(tokens), dtype=bool)
        is_last[np.cumsum(lengths) - 1] = True
        context = np.zeros(len(tokens), dtype=np.int64)  # at each place, the context of the current depth before it
        shorter, depth = [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
        num_contexts, first = 1, 0
        contexts = [(np.flatnonzero(place > 0), context)]
        for level in range(1, self.order):
            # A context of `level` tokens is the one of one less at the place before, and the token there.
            here = np.flatnonzero(place >= level)
            before = contexts[-1][1][here - 1] * self.vocabulary_size + tokens[here - 1]
            _, ids = np.unique(before, return_inverse=True)
            longer = np.full(len(tokens), -1)
            longer[here] = ids + num_contexts
            size = int(ids.max()) + 1 if len(ids) else 0
            suffix = np.zeros(size, dtype=np.int64)
            suffix[ids] = contexts[-1][1][here]
            shorter.append(suffix)
            depth.append(np.full(size, level))
            num_contexts += size
            if level == 1:
                first = int(longer[1])
            contexts.append((here, longer))
        tree = {"shorter": np.concatenate(shorter), "depth": np.concatenate(depth), "first": np.array([first])}
        self._put(**tree, **_edges(tokens, is_last, contexts, tree["shorter"], self.vocabulary_size, self._even))

    def start(self, rows: int) -> Int[Tensor, " rows"]:
        """The context at a text's start, for so many rows."""
        return self.first.expand(rows)

    def advance(self, contexts: Int[Tensor, " rows"], tokens: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
        """The contexts after a token more: the longest that was seen."""
        result = torch.zeros_like(contexts)
        open_ = torch.ones_like(contexts, dtype=torch.bool)
        for _ in range(self.order):
            key = contexts * self.vocabulary_size + tokens
            edge = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
            here = open_ & (self.keys[edge] == key)
            result = torch.where(here, self.following[edge], result)
            open_ = open_ & ~here
            contexts = self.shorter[contexts]
        return result

    def log_probabilities(self, contexts: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        """Of every next token after the contexts; -inf for what is never written."""
        levels = []
        for level in range(self.order - 1, 0, -1):
            here = self.depth[contexts] == level
            levels.append((here, contexts))
            contexts = torch.where(here, self.shorter[contexts], contexts)
        result = self.unigram.expand(len(contexts), -1)
        for here, each in reversed(levels):
            result = torch.where(here[:, None], self.backoff[each][:, None] * result + self._seen(each), result)
        return result.log()

    def _seen(self, contexts: Tensor) -> Tensor:
        """The shares of what was seen after each context, 0 of the rest."""
        start = self.starts[contexts]
        num = self.starts[contexts + 1] - start
        rows = torch.repeat_interleave(torch.arange(len(contexts), device=num.device), num)
        offset = torch.arange(len(rows), device=num.device) - torch.repeat_interleave(num.cumsum(0) - num, num)
        edges = start[rows] + offset
        out = torch.zeros(len(contexts), self.vocabulary_size, dtype=self.shares.dtype, device=num.device)
        out[rows, self.keys[edges] % self.vocabulary_size] = self.shares[edges]
        return out

    def _put(self, **arrays: np.ndarray) -> None:
        device = self.keys.device if "keys" in self._buffers else None
        for name in _BUFFERS:
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(arrays[name])).to(device))


def _edges(
    tokens: np.ndarray,
    is_last: np.ndarray,
    contexts: list[tuple[np.ndarray, np.ndarray]],
    shorter: np.ndarray,
    vocabulary_size: int,
    even: np.ndarray,
) -> dict[str, np.ndarray]:
    """What was seen after each context.

    Args:
        tokens: All texts', one after another.
        is_last: Which of them end a text.
        contexts: Per depth the positions that have such a context, and at each position which one.
        shorter: Each context without its first token.
        vocabulary_size: Ids that there are.
        even: The distribution at the bottom.
    """
    seen, after = [], []
    for level, (here, longer) in enumerate(contexts):
        seen.append(longer[here] * vocabulary_size + tokens[here])
        # The context after a token is one longer, up to the longest.
        deeper = contexts[min(level + 1, len(contexts) - 1)][1]
        after.append(np.where(is_last, 0, np.append(deeper[1:], 0))[here])
    keys, index, counts = np.unique(np.concatenate(seen), return_inverse=True, return_counts=True)
    following = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(following, index, np.concatenate(after))
    owner, num_contexts = keys // vocabulary_size, len(shorter)
    # Tokens that only a text's end followed, where it was cut: what follows is what follows a shorter context.
    for _ in contexts[1:]:
        nothing = np.flatnonzero((following == 0) & (owner > 0))
        edge = np.searchsorted(keys, shorter[owner[nothing]] * vocabulary_size + keys[nothing] % vocabulary_size)
        following[nothing] = following[edge]
    total = np.bincount(owner, weights=counts, minlength=num_contexts)
    different = np.bincount(owner, minlength=num_contexts)
    backoff = different / (total + different)
    shares = counts / (total + different)[owner]
    root = owner == 0
    unigram = backoff[0] * even
    unigram[keys[root]] += shares[root]
    return {
        "keys": keys,
        "shares": shares,
        "following": following,
        "starts": np.searchsorted(owner, np.arange(num_contexts + 1)),
        "backoff": backoff,
        "unigram": unigram,
    }


def _resize(module: NgramModel, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in _BUFFERS:
        saved = state.get(prefix + name)
        if saved is not None:
            setattr(module, name, torch.empty_like(saved, device=getattr(module, name).device))
