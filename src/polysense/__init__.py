"""polysense: one model over the columns of a table, and the truth about what each of them contributed.

import polysense

run = polysense.fit("train.csv", target="label")
print(run.summary())
predictions = polysense.load(run.folder).predict("new.csv")
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from polysense.core.version import VERSION as __version__

# MKL's matrix products choose a routine by where in memory a row begins, so a row's position in a batch changes its
# last bits wherever the inner dimension is not a multiple of 4. In this mode they don't; no slowdown was measured. MKL
# reads it at its first call, so polysense is to be imported before anything is computed.
os.environ.setdefault("MKL_CBWR", "AUTO")

if TYPE_CHECKING:
    from polysense.api import (
        Check,
        Compared,
        Run,
        audit,
        check,
        compare,
        demo,
        embed,
        evaluate,
        explain,
        fewshot,
        fit,
        impute,
        new,
        predict,
        prepare,
        stream,
        zero_shot,
    )
    from polysense.api import export_labels as export_labels
    from polysense.api import import_labels as import_labels
    from polysense.api import label as label
    from polysense.bundle import Bundle, load
    from polysense.data.media.paths import ConfinedFolder, media_folder
    from polysense.data.tables.predictions import Predictions
    from polysense.data.tables.shard_names import table_folder as table_folder
    from polysense.data.tables.sources import Table, read_table
    from polysense.errors import PolysenseError, UserError
    from polysense.recipe import Recipe, load_recipe

__all__ = [
    "Bundle",
    "Check",
    "Compared",
    "ConfinedFolder",
    "PolysenseError",
    "Predictions",
    "Recipe",
    "Run",
    "Table",
    "UserError",
    "__version__",
    "audit",
    "check",
    "compare",
    "demo",
    "embed",
    "evaluate",
    "explain",
    "fewshot",
    "fit",
    "impute",
    "load",
    "load_recipe",
    "media_folder",
    "new",
    "predict",
    "prepare",
    "read_table",
    "stream",
    "zero_shot",
]

# Imported when first asked for: `import polysense` costs nothing that the caller does not use.
_HOMES = {
    "Bundle": "bundle",
    "Check": "api",
    "Compared": "api",
    "ConfinedFolder": "data.media.paths",
    "PolysenseError": "errors",
    "Predictions": "data.tables.predictions",
    "Recipe": "recipe",
    "Run": "api",
    "Table": "data.tables.sources",
    "UserError": "errors",
    "audit": "api",
    "check": "api",
    "compare": "api",
    "demo": "api",
    "embed": "api",
    "evaluate": "api",
    "explain": "api",
    "export_labels": "api",
    "fewshot": "api",
    "fit": "api",
    "import_labels": "api",
    "impute": "api",
    "label": "api",
    "load": "bundle",
    "load_recipe": "recipe",
    "media_folder": "data.media.paths",
    "new": "api",
    "predict": "api",
    "prepare": "api",
    "read_table": "data.tables.sources",
    "stream": "api",
    "table_folder": "data.tables.shard_names",
    "zero_shot": "api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"polysense.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'polysense' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
