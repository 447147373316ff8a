"""The worst generated texts, and those that are generated for many rows."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from polysense.core.audit_answers import Mistake, MistakeGroup
from polysense.evaluation.evaluator import Evaluation
from polysense.tasks.generation.metrics.match import token_f1_statistics
from polysense.tasks.generation.record import GenerationTarget

__all__ = ["mistakes"]

_MAX_WORST = 8
_MAX_REPEATED = 4
_MAX_ROWS = 3
_FEWEST_REPEATS = 3
_LONGEST = 80  # characters of a text in a title


def mistakes(target: GenerationTarget, evaluation: Evaluation) -> list[MistakeGroup]:
    """Those that share the fewest words with a reference, and repeated ones whose references differ; see `TaskSpec`."""
    statistics = evaluation.statistics[target.name]
    rows = np.flatnonzero(statistics["present"])
    if "predicted" not in statistics or not len(rows):
        return []
    references, texts = [list(statistics["references"][i]) for i in rows], [statistics["predicted"][i] for i in rows]
    f1 = token_f1_statistics(references, texts)[:, 0]
    scores = statistics["score"][rows] if "score" in statistics else np.zeros(len(rows))
    wrong = np.flatnonzero(f1 < 1)
    # Of those that are equally wrong the ones that the model finds likeliest.
    worst = wrong[np.lexsort((-scores[wrong], f1[wrong]))[:_MAX_WORST]]
    groups = []
    if len(worst):
        listed = [Mistake(position=int(rows[i]), words=f"token F1 {f1[i]:.2f}") for i in worst]
        groups.append(MistakeGroup(title="the least like their references", total=len(wrong), mistakes=listed))
    positions: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        positions[" ".join(str(text).split())].append(i)
    repeated = sorted(positions.items(), key=lambda entry: -len(entry[1]))
    for text, where in repeated:
        references_of = {tuple(references[i]) for i in where}
        if len(groups) > _MAX_REPEATED or len(where) < _FEWEST_REPEATS or len(references_of) < 2:
            continue
        short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
        least = sorted(where, key=lambda i: f1[i])[:_MAX_ROWS]
        groups.append(
            MistakeGroup(
                title=f"the same text for several rows: {short or '(empty)'}",
                total=len(where),
                mistakes=[Mistake(position=int(rows[i]), words=f"token F1 {f1[i]:.2f}") for i in least],
                note=f"Their references are {len(references_of):,} different ones.",
            )
        )
    return groups
