"""Decision trees as tensors: all trees of an ensemble walk at once, one level at a time.

Nodes of all trees follow one another; a leaf is its own child, so that rows that have arrived stay. Children come after
their parents, which is checked when trees are loaded: a file of cycles is refused, and the walk ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polysense.nn.estimators.base import Estimator

__all__ = ["Nodes", "TreeEstimator"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Nodes:
    """One tree.

    Attributes:
        feature: The input that is compared at each node.
        threshold: Up to which rows go left.
        left: The child; of a leaf, itself.
        right: Likewise.
        value: Of the leaves (and anything elsewhere), [nodes, values].
        missing_left: Whether a row whose input is NaN goes left; None: to the right.
    """

    feature: Int[np.ndarray, " nodes"]
    threshold: Float[np.ndarray, " nodes"]
    left: Int[np.ndarray, " nodes"]
    right: Int[np.ndarray, " nodes"]
    value: Float[np.ndarray, "nodes values"]
    missing_left: Bool[np.ndarray, " nodes"] | None = None

    @staticmethod
    def constant(value: np.ndarray) -> Nodes:
        """A leaf alone."""
        zero = np.zeros(1, dtype=np.int64)
        return Nodes(feature=zero, threshold=np.zeros(1), left=zero, right=zero, value=value[None])


class TreeEstimator(Estimator):
    """An estimator of many trees.

    Attributes:
        roots: [trees], the first node of each.
        feature: [nodes].
        threshold: [nodes], float64.
        left: [nodes], of all trees' nodes.
        right: [nodes].
        missing_left: [nodes], where a NaN goes.
        leaf: [nodes], the row of a leaf's value in `value`; 0 elsewhere.
        value: [leaves, values].
    """

    fitted_buffers: ClassVar[Mapping[str, torch.dtype]] = {
        **dict.fromkeys(("roots", "feature", "left", "right", "leaf"), torch.int32),
        **dict.fromkeys(("threshold", "value"), torch.float64),
        "missing_left": torch.bool,
    }

    roots: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    missing_left: Tensor
    leaf: Tensor
    value: Tensor
    depth: int = 0
    _known_children: tuple[Tensor, Tensor, Tensor] | None = None

    def leaves(self, design: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch trees values"]:
        """The value of the leaf that each row reaches in each tree."""
        # 32-bit indices of flat tensors: on a processor they take 0.4 times as long as gathers by 64-bit ones.
        children = self._children()
        rows, inputs = design.shape
        starts = torch.arange(0, rows * inputs, max(inputs, 1), device=design.device)
        place = starts.int() if rows * inputs < 2**31 else starts
        place = place.repeat_interleave(len(self.roots))
        flat, node = design.flatten(), self.roots.repeat(rows)
        for _ in range(self.depth):
            values = flat.index_select(0, place + self.feature.index_select(0, node))
            goes_left = values <= self.threshold.index_select(0, node)
            if not self.imputes:
                goes_left = goes_left | (values.isnan() & self.missing_left.index_select(0, node))
            node = children.index_select(0, 2 * node + goes_left)
        return self.value[self.leaf.index_select(0, node).long()].view(rows, len(self.roots), self.value.shape[1])

    def _children(self) -> Int[Tensor, " twice_nodes"]:
        """Of each node the right child, then the left one. Made once: trees of a large table have millions of nodes,
        and copying these for every block of rows takes longer than the walk."""
        known = self._known_children
        if torch.compiler.is_compiling() or known is None or known[0] is not self.left or known[1] is not self.right:
            known = self.left, self.right, torch.stack([self.right, self.left], dim=1).flatten()
            if not torch.compiler.is_compiling():
                self._known_children = known
        return known[2]

    def put_trees(self, trees: Sequence[Nodes], **others: np.ndarray) -> None:
        """Sets the buffers of the trees."""
        sizes = np.array([len(tree.feature) for tree in trees])
        offsets = (np.cumsum(sizes) - sizes).astype(np.int32)  # trees of a large table are large in 64 bits
        leaves = [tree.left == np.arange(len(tree.left)) for tree in trees]
        is_leaf = np.concatenate(leaves)
        inner = ~is_leaf
        self.put(
            roots=offsets,
            feature=np.concatenate([tree.feature.astype(np.int32) for tree in trees]) * inner,
            threshold=np.where(inner, np.concatenate([tree.threshold for tree in trees]), 0.0),
            left=np.concatenate(
                [tree.left.astype(np.int32) + offset for tree, offset in zip(trees, offsets, strict=True)]
            ),
            right=np.concatenate(
                [tree.right.astype(np.int32) + offset for tree, offset in zip(trees, offsets, strict=True)]
            ),
            missing_left=np.concatenate(
                [
                    np.zeros(len(tree.left), dtype=bool) if tree.missing_left is None else tree.missing_left
                    for tree in trees
                ]
            ),
            leaf=(np.cumsum(is_leaf, dtype=np.int32) - 1) * is_leaf,
            value=np.concatenate([tree.value[own] for tree, own in zip(trees, leaves, strict=True)]),
            **others,
        )

    def check_buffers(self) -> None:
        num = len(self.feature)
        own = torch.arange(num, device=self.left.device)
        is_leaf = self.left == own
        inner = ~is_leaf
        ranges = (
            ((self.feature >= 0) & (self.feature < self.num_inputs)).all(),
            ((self.leaf >= 0) & (self.leaf < len(self.value))).all(),
            ((self.roots >= 0) & (self.roots < num)).all(),
            (self.right[is_leaf] == own[is_leaf]).all(),
            ((self.left < num) & (self.right < num)).all(),
            ((self.left > own)[inner] & (self.right > own)[inner]).all(),
        )
        lengths = {
            len(each) for each in (self.feature, self.threshold, self.left, self.right, self.missing_left, self.leaf)
        }
        if len(lengths) > 1 or self.value.dim() != 2 or not all(map(bool, ranges)):
            raise ValueError("these are no decision trees: a node leads out of its tree, or back")
        depth, node = 0, torch.unique(self.roots.long())
        while bool((inside := inner[node]).any()):
            depth += 1
            node = torch.unique(torch.cat([self.left[node[inside]], self.right[node[inside]]]).long())
        self.depth = depth
