"""Texts that must be one of a list: their token ids as a tree, and an incremental decoder that can't leave it.

A beginning is followed only by tokens that some listed answer goes on with (constrained decoding over a prefix tree: De
Cao et al., "Autoregressive Entity Retrieval", 2021, section 3.2). Log probabilities are the model's own, not made to
sum to 1 over what is allowed: so a text's score is its log probability with or without a list, and those of all
answers can be compared.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from polysense.nn.decoding.incremental import IncrementalDecoder

__all__ = ["Constrained", "Trie"]


class Trie:
    """The beginnings of a list of answers.

    Nodes are numbered level by level, so that each level's are a range and the edges are sorted by (node, token). The
    root is 0; an answer that is over is a node without children.

    Args:
        answers: Token ids of each, the end token last.
        vocabulary_size: Token ids run over [0, vocabulary_size).

    Attributes:
        levels: Per number of tokens, the nodes' (first, last + 1).
        parents: [nodes], the node before; -1 for the root.
        tokens: [nodes], the token that leads to it; -1 for the root.
        num_children: [nodes]; 0 where an answer is over.
        first_child: [nodes], the others follow it.
    """

    def __init__(self, answers: Sequence[Sequence[int]], vocabulary_size: int) -> None:
        self.vocabulary_size = vocabulary_size
        parents, tokens = [-1], [-1]
        self.levels = [(0, 1)]
        # The same beginning stands side by side in the sorted list.
        remaining = [(0, answer) for answer in sorted({tuple(answer) for answer in answers})]
        while remaining:
            position, first = len(self.levels) - 1, len(parents)
            following: list[tuple[int, tuple[int, ...]]] = []
            last = (-1, -1)
            for node, answer in remaining:
                if (node, answer[position]) != last:
                    last = (node, answer[position])
                    parents.append(node)
                    tokens.append(answer[position])
                if len(answer) > position + 1:
                    following.append((len(parents) - 1, answer))
            self.levels.append((first, len(parents)))
            remaining = following
        self.parents, self.tokens = torch.tensor(parents, device="cpu"), torch.tensor(tokens, device="cpu")
        self.num_children = torch.from_numpy(np.bincount(parents[1:], minlength=len(parents)))
        # Children of a node follow one another, since nodes are made in the order of their parents.
        self.first_child = 1 + self.num_children.cumsum(0) - self.num_children

    @property
    def width(self) -> int:
        """Nodes of the widest level."""
        return max(last - first for first, last in self.levels)

    def texts(self, padding_id: int) -> Int[Tensor, "answers length"]:
        """The answers' token ids, padded, shorter ones first, in the order of the nodes at which they are over."""
        nodes = torch.nonzero(self.num_children == 0).flatten()
        texts = torch.full((len(nodes), len(self.levels) - 1), padding_id, device=nodes.device)
        for length in range(len(self.levels) - 1, 0, -1):
            first, last = self.levels[length]
            here = (nodes >= first) & (nodes < last)
            texts[here, length - 1] = self.tokens[nodes[here]]
            nodes = torch.where(here, self.parents[nodes], nodes)
        return texts

    def to(self, device: torch.device) -> Trie:
        """A copy on another device."""
        other = copy.copy(self)
        for name in ("parents", "tokens", "num_children", "first_child"):
            setattr(other, name, getattr(self, name).to(device))
        return other

    def child(self, nodes: Int[Tensor, " rows"], tokens: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
        """The node that a token leads to; one without children leads to itself. Other tokens lead anywhere."""
        keys = self.parents[1:] * self.vocabulary_size + self.tokens[1:]
        result = torch.searchsorted(keys, nodes * self.vocabulary_size + tokens) + 1
        result = result.clamp(max=len(self.parents) - 1)
        return torch.where(self.num_children[nodes] > 0, result, nodes)

    def mask(self, nodes: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        """0 for the tokens that a node is followed by, else -inf; all 0 where the answer is over."""
        device = nodes.device
        counts = self.num_children[nodes]
        mask = torch.full((len(nodes), self.vocabulary_size), -math.inf, device=device)
        row = torch.repeat_interleave(torch.arange(len(nodes), device=device), counts)
        within = torch.arange(len(row), device=device) - (counts.cumsum(0) - counts)[row]
        mask[row, self.tokens[self.first_child[nodes][row] + within]] = 0.0
        mask[counts == 0] = 0.0
        return mask


class Constrained(IncrementalDecoder):
    """An incremental decoder that gives -inf to every token that leads to no listed answer.

    Args:
        incremental: At the beginning.
        trie: The answers.
        rows: One for each of the decoder's rows.
    """

    def __init__(self, incremental: IncrementalDecoder, trie: Trie, rows: Int[Tensor, " rows"]) -> None:
        self._incremental, self._trie = incremental, trie.to(rows.device)
        self._nodes: Tensor | None = None
        self._num_rows, self._device = len(rows), rows.device

    def __call__(self, token: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        self._nodes = (
            torch.zeros(self._num_rows, dtype=torch.int64, device=self._device)
            if self._nodes is None
            else self._trie.child(self._nodes, token)
        )
        return self._incremental(token) + self._trie.mask(self._nodes)

    def reorder(self, rows: Int[Tensor, " new_rows"]) -> None:
        if self._nodes is not None:
            self._nodes = self._nodes[rows]
        self._incremental.reorder(rows)
