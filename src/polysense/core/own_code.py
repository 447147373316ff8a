"""Pretrained folders that bring code along (`auto_map`, *.py files): what they hold is never run."""

from __future__ import annotations

__all__ = ["OWN_CODE", "needs_own_code"]

OWN_CODE = (
    "it needs code of its own (auto_map in its settings), and polysense runs no code that comes with a model; give a "
    "model whose architecture the installed library knows"
)


def needs_own_code(error: Exception) -> bool:
    """Whether an error of transformers says that code would have to be trusted."""
    return "trust_remote_code" in str(error) or "custom code" in str(error)
