"""Dataclasses as pytrees: torch's export, FSDP2 and our gradient cache see the tensors that lie in them.

Every field is a child, be it a tensor, a mapping, another pytree or None, but for those that say `static()`, which are
part of the structure: two trees are alike only if these are equal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["concatenate", "map_tensors", "pytree_node", "static", "tensors"]

T = TypeVar("T")

_STATIC = "polysense.static"


def static() -> dict[str, bool]:
    """The metadata of a field that is structure and holds no tensor: `grid: X = field(metadata=static())`."""
    return {_STATIC: True}


def pytree_node(cls: type[T]) -> type[T]:
    """Registers a dataclass with torch; stands above `@dataclass`."""
    assert dataclasses.is_dataclass(cls), f"{cls.__name__} is no dataclass: put @pytree_node above @dataclass"
    fields = dataclasses.fields(cls)
    children = [field.name for field in fields if _STATIC not in field.metadata]
    fixed = [field.name for field in fields if _STATIC in field.metadata]
    build = cast("Callable[..., T]", cls)

    def flatten(node: T) -> tuple[list[object], tuple[object, ...]]:
        values = vars(node)
        return [values[name] for name in children], tuple(values[name] for name in fixed)

    def unflatten(leaves: Iterable[object], context: tuple[object, ...]) -> T:
        return build(**dict(zip(children, leaves, strict=True)), **dict(zip(fixed, context, strict=True)))

    pytree.register_pytree_node(
        cls,
        flatten,
        unflatten,
        serialized_type_name=f"{cls.__module__}.{cls.__qualname__}",
    )
    return cls


def map_tensors(change: Callable[[Tensor], Tensor], tree: T) -> T:
    """The same tree with every tensor changed; what is no tensor stays."""
    return cast("T", pytree.tree_map_only(torch.Tensor, change, tree))


def concatenate(trees: Sequence[T]) -> T:
    """The rows of several trees of one structure, one after another."""

    def joined(*leaves: object) -> object:
        parts = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        return torch.cat(parts) if parts else leaves[0]

    return cast("T", pytree.tree_map(joined, *trees))


def tensors(tree: object) -> list[Tensor]:
    """All tensors of a tree, in order."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
