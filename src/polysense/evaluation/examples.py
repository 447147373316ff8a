"""A few rows of a text target: what was written beside what it is compared with."""

from __future__ import annotations

import numpy as np

from polysense.core.random import permutation
from polysense.core.schema import Target
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.page import table, text

__all__ = ["chosen_rows", "texts_section"]

_SHOWN = 10
_MAX_REFERENCES = 5


def chosen_rows(present: np.ndarray, num_rows: int = _SHOWN) -> np.ndarray:
    """Positions to show, the same for the same rows; a table is often sorted, so not the first ones.

    Args:
        present: bool [rows], which have the target.
        num_rows: At most.
    """
    counted = np.flatnonzero(present)
    return np.sort(counted[permutation(len(counted), "examples")[:num_rows]])


def texts_section(target: Target, evaluation: Evaluation) -> str:
    """Ten rows on the page."""
    texts = evaluation.texts[target.name]
    if texts.outputs is None:
        return ""
    rows = []
    for i in chosen_rows(evaluation.truths[target.name].present):
        references = [text(reference) for reference in texts.references[i]]
        more = f"<br>and {len(references) - _MAX_REFERENCES} more" if len(references) > _MAX_REFERENCES else ""
        shown = "<br>".join(references[:_MAX_REFERENCES]) + more
        rows.append([f"{int(evaluation.rows[i])}", shown, text(texts.outputs[i])])
    if not rows:
        return ""
    body = table(["row", "reference", "written"], rows, classes=["n", "", ""])
    note = (
        f"{len(rows)} of {evaluation.num_counted(target.name):,} rows, chosen by chance and not by how good they are."
    )
    return f'<section><h2>{text(target.name)}: what is written?</h2><p class="mute small">{note}</p>{body}</section>'
