"""Names of the registered modalities and tasks, found without importing one: help texts need no numpy."""

from __future__ import annotations

import importlib.util
import pkgutil

from polysense.core.packages import entry_points

__all__ = ["kind_names"]

_HOMES = {"modality": "polysense.modalities", "task": "polysense.tasks"}


def kind_names(kind: str) -> tuple[str, ...]:
    """The folders that hold a spec, and the entry points of installed packages, sorted.

    Args:
        kind: "modality" or "task".
    """
    home = _HOMES[kind]
    spec = importlib.util.find_spec(home)
    folders = pkgutil.iter_modules(spec.submodule_search_locations if spec is not None else None)
    own = {one.name for one in folders if one.ispkg and importlib.util.find_spec(f"{home}.{one.name}.spec") is not None}
    return tuple(sorted(own | {point.name for point in entry_points(f"polysense.{kind}")}))
