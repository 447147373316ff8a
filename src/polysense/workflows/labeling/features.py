"""Features of a table that is about to be labeled: made once, and kept beside its labels.

Columns are read as in a training without a target, by frozen pretrained encoders where some are at hand and by what
preprocessing makes of cells without weights. So nothing of it depends on labels, and a second session has them at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from polysense.core.files import replacing
from polysense.core.json import json_text
from polysense.core.logs import get_logger
from polysense.data.roles.infer import ColumnGuess
from polysense.data.tables.fingerprint import table_fingerprint
from polysense.data.tables.sources import Table
from polysense.presets import recipe_for
from polysense.workflows.encoder_choice import choose_encoders
from polysense.workflows.labeling.frozen_features import feature_model, feature_recipe

__all__ = ["labeling_features"]

_FILE = "features.npz"

_log = get_logger("polysense.labeling")


def labeling_features(
    table: Table, guesses: Sequence[ColumnGuess], target: str, folder: Path, *, pretrained: str | None = None
) -> tuple[Float[np.ndarray, "rows size"], str]:
    """The features of a table's rows, and what they are in words.

    Args:
        table: The rows.
        guesses: What its columns are.
        target: The column of labels, which is not read.
        folder: Of the labels, where features are kept.
        pretrained: Where pretrained encoders are looked for, as in a recipe.

    Raises:
        UserError: No column has features, or they can't be made.
    """
    inputs = [guess for guess in guesses if guess.name != target]
    recipe = recipe_for(inputs, len(table))
    if pretrained is not None:
        recipe = replace(recipe, pretrained=pretrained)
    recipe, _ = choose_encoders(recipe, table)
    recipe = feature_recipe(recipe, len(table))
    cells = table_fingerprint(table)
    cells["columns"].pop(target, None)  # labels come and go, and nothing is made of them
    facts = {"cells": cells, "features": repr(recipe.data.features), "encoders": repr(recipe.model.encoders)}
    stamp = hashlib.blake2b(json_text(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
    kept = _read(folder / _FILE, stamp, len(table))
    if kept is not None:
        return kept
    model = feature_model(recipe, table)
    values, unreadable = model.read(table)
    if unreadable:
        _log.warning("%d cells can't be read, and count as missing in the features", len(unreadable))
    with replacing(folder / _FILE) as part, part.open("wb") as stream:
        np.savez(stream, values=values, stamp=np.array(stamp), description=np.array(model.description))
    return values, model.description


def _read(path: Path, stamp: str, num_rows: int) -> tuple[np.ndarray, str] | None:
    """Features that were made of the same cells in the same way; None where there are none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["stamp"]) != stamp or len(arrays["values"]) != num_rows:
                return None
            return arrays["values"], str(arrays["description"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
