"""Score rows by how unlike they are to those that the model knows, as they are and with one column changed.

It is part of a full audit: it encodes rows that were encoded before, the training rows among them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from polysense.core.metric import Statistics
from polysense.core.registry import modality, task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.data.batches.loader import PredictLoader
from polysense.evaluation.audit.novelty import Novelty, detections, mahalanobis_distance, neighbor_distance
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.contribution import contribution_rows
from polysense.evaluation.evaluator import batch_statistics
from polysense.workflows.audit.changes import Encoded, damaged, exchanged
from polysense.workflows.audit.row_values import chunks
from polysense.workflows.audit.subject import AuditSubject

__all__ = ["novelty_parts"]

_MOST_ROWS = 500
_MOST_KNOWN = 2000
_FEWEST = 20
_MOST_COLUMNS = 8
_WORST = 5  # severity
_NEIGHBORS, _MAHALANOBIS = "distance to the nearest known rows", "Mahalanobis distance"
_ENERGY, _UNSURE = "energy of the logits", "lack of certainty"
_DECIMALS = 5


@torch.no_grad()
def novelty_parts(subject: AuditSubject) -> list[AuditPart]:
    """One part for each target, which share the scores of the fused vector; none in a quick audit."""
    if not subject.is_full or subject.is_seen or subject.training is None:
        return []
    subject.bundle.model.eval()
    known = _known_vectors(subject)
    if len(known) < _FEWEST:
        return []
    names = [
        name
        for name in subject.leading_columns(_MOST_COLUMNS)
        if not any(task(target.task).lies_in(target) == name for target in subject.bundle.schema.targets)
    ]
    clean: dict[str, list[np.ndarray]] = {}
    changed: dict[str, dict[str, list[np.ndarray]]] = {}
    numbers: list[np.ndarray] = []
    for chunk in chunks(subject, _MOST_ROWS, "novel rows"):
        for encoded in chunk.encoded(subject):
            rows = chunk.rows(encoded[0])
            real = rows >= 0
            numbers.append(rows[real])
            _add(clean, _scores(subject, encoded, known, real))
            for name in names:
                there = encoded[0].columns[name].present.cpu().numpy()[real]
                variants: dict[str, Encoded] = {}
                variant, num = exchanged(encoded, name, rows, subject.seed)
                if num or f"{name} from another row" in changed:
                    variants[f"{name} from another row"] = variant
                offered = modality(subject.bundle.schema.column(name).modality).corruptions
                if not isinstance(offered, Unsupported) and offered:
                    variants[f"{name} damaged by {offered[0].name}"] = damaged(
                        encoded, name, offered[0], _WORST, model=subject.bundle.model, dataset=chunk.dataset,
                        rows=rows, seed=subject.seed,
                    )  # fmt: skip
                for words, each in variants.items():
                    scores = _scores(subject, each, known, real).items()
                    _add(changed.setdefault(words, {}), {key: np.where(there, own, np.nan) for key, own in scores})
    if not numbers or sum(map(len, numbers)) < _FEWEST:
        return []
    rows = np.concatenate(numbers)
    whole = {key: np.concatenate(parts) for key, parts in clean.items()}
    # A change that came up late, since nobody had a partner before, lacks the first rows.
    after = {
        words: {key: _filled(np.concatenate(parts), len(rows)) for key, parts in scores.items()}
        for words, scores in changed.items()
    }
    return [_part(subject, target, whole, after, rows, len(known)) for target in subject.evaluation.targets]


def _part(
    subject: AuditSubject,
    target: Target,
    clean: Mapping[str, np.ndarray],
    changed: Mapping[str, Mapping[str, np.ndarray]],
    rows: np.ndarray,
    num_known: int,
) -> Novelty:
    """The part of one target: the shared scores, and its own."""
    own = {_NEIGHBORS: _NEIGHBORS, _MAHALANOBIS: _MAHALANOBIS}
    own |= {_of(target, name): name for name in (_ENERGY, _UNSURE)}
    own = {key: name for key, name in own.items() if key in clean}
    return Novelty(
        target=target.name,
        reference=f"{num_known:,} training rows",
        scores=tuple(own.values()),
        changes=detections(
            {name: clean[key] for key, name in own.items()},
            {words: {name: scores[key] for key, name in own.items()} for words, scores in changed.items()},
            clusters=subject.clusters(rows),
            bootstrap=subject.bootstrap,
            confidence=subject.confidence,
            seed=subject.seed,
        ),
        confidence=subject.confidence,
    )


def _of(target: Target, score: str) -> str:
    return f"{target.name}: {score}"


def _known_vectors(subject: AuditSubject) -> np.ndarray:
    """The fused vectors of training rows; float64 [rows, size]."""
    bundle, table = subject.bundle, subject.training
    assert table is not None
    chosen = table.select(contribution_rows(len(table), max_rows=_MOST_KNOWN, seed=subject.seed))
    dataset = TableDataset(chosen, bundle.processor, with_targets=False, stored=subject.dataset.stored)
    parts = [np.zeros((0, 1))]
    for batch in PredictLoader(dataset, bundle.schema, prediction=bundle.prediction, fillers=False):
        moved = batch.to(bundle.device)
        real = batch.rows.numpy() >= 0
        parts.append(_pooled(subject, (moved, bundle.model.encode(moved)))[real])
    return np.concatenate(parts[1:] or parts)


def _pooled(subject: AuditSubject, encoded: Encoded) -> np.ndarray:
    batch, tokens = encoded
    pooled: np.ndarray = subject.bundle.model.fuse(tokens, batch).pooled.float().cpu().numpy().astype(np.float64)
    return pooled


def _scores(subject: AuditSubject, encoded: Encoded, known: np.ndarray, real: np.ndarray) -> dict[str, np.ndarray]:
    """Every score of a batch's rows; float64 [rows] each, higher is more novel."""
    vectors = _pooled(subject, encoded)[real]
    results = {_NEIGHBORS: neighbor_distance(known, vectors), _MAHALANOBIS: mahalanobis_distance(known, vectors)}
    batch, tokens = encoded
    heads = {name: head for name, head in subject.bundle.model.by_target().items() if head.has_energy}
    outputs = subject.bundle.model(batch, tuple(heads), tokens=tokens).outputs if heads else {}
    for target in subject.evaluation.targets:
        if target.name in outputs:
            energy = heads[target.name].energy(outputs[target.name]).cpu().numpy().astype(np.float64)[real]
            # Logits that are logs of probabilities have the energy 0, whose rounding errors tell nothing.
            results[_of(target, _ENERGY)] = energy.round(_DECIMALS)
    answers = {
        target.name: task(target.task).class_probabilities
        for target in subject.evaluation.targets
        if target.name in batch.truths
    }
    if all(isinstance(answer, Unsupported) for answer in answers.values()):
        return results
    predictions = subject.bundle.model.predict(batch, tokens=tokens, write=False)[0]
    for target in subject.evaluation.targets:
        answer = answers.get(target.name)
        if answer is not None and not isinstance(answer, Unsupported):
            statistics: Statistics = batch_statistics(target, batch, [predictions[target.name]])
            judged = answer(target, statistics)
            unsure = np.full(int(real.sum()), np.nan)
            if len(np.unique(judged.rows)) == len(judged.rows):
                unsure[judged.rows] = 1 - judged.probabilities.max(axis=1)
                results[_of(target, _UNSURE)] = unsure
    return results


def _add(parts: dict[str, list[np.ndarray]], scores: Mapping[str, np.ndarray]) -> None:
    for name, values in scores.items():
        parts.setdefault(name, []).append(values)


def _filled(values: np.ndarray, num_rows: int) -> np.ndarray:
    return np.concatenate([np.full(num_rows - len(values), np.nan), values])
