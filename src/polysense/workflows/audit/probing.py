"""Probe a model: what it predicts while cells are missing, do not match, or are damaged, in one pass over some rows.

Every row is decoded and encoded once, whatever is asked; a damaged column alone is encoded again. Before each batch a
probe looks at the time: what took so long before will again, and where that is not left it stops with the rows that it
has. Damage costs most, so it comes last, and is planned by the first batch: the dearest columns are left out until two
batches fit.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from polysense.core.corruption import SEVERITIES, Corruption
from polysense.core.duration import spell_duration
from polysense.core.random import uniforms
from polysense.core.registry import modality, task
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.evaluation.audit.corruptions import CLEAN, NOTHING, DamageKey, corruptions
from polysense.evaluation.audit.mismatches import AS_IT_IS, WITHOUT, mismatches
from polysense.evaluation.audit.missing_rates import BEST_COLUMN, MODEL, NO_COLUMN, RATES, missing_rates
from polysense.evaluation.audit.part import AuditPart
from polysense.evaluation.variant_scores import VariantScores
from polysense.workflows.audit.changes import Encoded, damaged, exchanged, masked
from polysense.workflows.audit.row_values import Chunk, RowValues, chunks
from polysense.workflows.audit.subject import AuditSubject

__all__ = ["probes"]

_MOST_ROWS, _MOST_ROWS_IN_FULL = 2000, 10_000
_MOST_DAMAGED, _MOST_DAMAGED_IN_FULL = 256, 2000
_MOST_COLUMNS, _MOST_COLUMNS_IN_FULL = 8, 32
_QUICK_SEVERITIES = (1, 3, 5)
_FEWEST_BATCHES = 2


class _Probe(ABC):
    """One question, asked of batch after batch.

    Args:
        subject: What is measured.

    Attributes:
        what: Is measured, for what is left out.
        most_rows: That it is asked of.
    """

    what: ClassVar[str]

    def __init__(self, subject: AuditSubject, most_rows: int) -> None:
        self.subject, self.most_rows = subject, most_rows
        self.columns = subject.leading_columns(_MOST_COLUMNS_IN_FULL if subject.is_full else _MOST_COLUMNS)
        self._num_rows = 0
        self._seconds = 0.0
        self._is_over = False
        if len(self.columns) < len(subject.bundle.schema.names):
            others = len(subject.bundle.schema.names) - len(self.columns)
            subject.deadline.note(f"{self.what}: columns", f"{self.what} of {others:,} more columns")

    @property
    def is_over(self) -> bool:
        """Whether it has its rows, or no time."""
        return self._is_over or self._num_rows >= self.most_rows

    def ask(self, chunk: Chunk, encoded: Encoded) -> None:
        """Takes a batch, if there is time for it."""
        if self.is_over:
            return
        deadline, rows = self.subject.deadline, chunk.rows(encoded[0])
        if deadline.left < self._seconds:
            self._is_over = True
            most = min(self.most_rows, len(self.subject.table))
            if self._num_rows < most:
                deadline.note(self.what, f"{self.what} on more than {self._num_rows:,} of {most:,} rows")
            return
        started = time.monotonic()
        self.add(chunk, encoded, rows)
        self._seconds = time.monotonic() - started
        self._num_rows += int((rows >= 0).sum())

    @abstractmethod
    def add(self, chunk: Chunk, encoded: Encoded, rows: np.ndarray) -> None:
        """Measures a batch; `rows` are its rows' numbers in the subject's table."""

    @abstractmethod
    def part(self, target: Target) -> AuditPart | None:
        """What it found of one target; None where nothing was measured."""


class _MissingRates(_Probe):
    """Cells missing at random at each rate, and each column alone."""

    what = "missing cells"

    def __init__(self, subject: AuditSubject) -> None:
        super().__init__(subject, _MOST_ROWS_IN_FULL if subject.is_full else _MOST_ROWS)
        self._alone = self.columns if len(self.columns) > 1 else []
        self.values = RowValues(subject.bundle, len(RATES) + len(self._alone) + 1)
        # Per target which columns each row that counts has, and the draws below which they stay.
        self._draws: dict[int, np.ndarray] = {}

    def add(self, chunk: Chunk, encoded: Encoded, rows: np.ndarray) -> None:
        """See `_Probe`."""
        batch, _ = encoded
        names = self.subject.bundle.schema.names
        draws = {name: uniforms(1, self.subject.seed, "missing", name, rows)[:, 0] for name in names}
        none = np.zeros(len(rows), dtype=bool)
        kept = [{name: draw >= rate for name, draw in draws.items()} for rate in RATES]
        kept += [{name: none for name in names if name != alone} for alone in self._alone]
        kept += [dict.fromkeys(names, none)]
        self.values.add((masked(encoded, each) for each in kept), rows)
        present = batch.presence(self._alone).cpu().numpy()
        for i, row in enumerate(rows):
            if row >= 0:
                # A cell that is not there is missing at every rate.
                own = [draws[name][i] if there else -1.0 for name, there in zip(self._alone, present[i], strict=True)]
                self._draws[int(row)] = np.array(own)

    def part(self, target: Target) -> AuditPart | None:
        """See `_Probe`."""
        subject = self.subject
        measured, rows = self.values.measured(target)
        if not len(rows):
            return None
        num_rates, keys = len(RATES), [(MODEL, rate) for rate in RATES]
        curves = [measured[:, :, :num_rates]]
        order: list[int] = []
        if self._alone:
            alone = measured[:, :, num_rates:]
            # The first measure of each column alone; the last entry is that of none.
            order = np.argsort(-alone[0, :, :-1].mean(axis=0), kind="stable").tolist()
            draws = np.stack([self._draws[int(row)] for row in rows])[:, order]
            for rate in RATES:
                left = draws >= rate
                best = np.where(left.any(axis=1), np.array(order)[left.argmax(axis=1)], len(order))
                curves.append(alone[:, np.arange(len(rows)), best][:, :, None])
                keys.append((BEST_COLUMN, rate))
        curves.append(measured[:, :, -1:])
        keys.append((NO_COLUMN, RATES[0]))
        scores = VariantScores.of_rows(
            self.values.measures(target),
            keys,
            np.concatenate(curves, axis=2),
            subject.bootstrap,
            subject.seed,
            subject.clusters(rows),
        )
        columns = [self._alone[i] for i in order]
        return missing_rates(target.name, scores, len(rows), columns=columns, confidence=subject.confidence)


class _Mismatches(_Probe):
    """Each column taken from other rows."""

    what = "columns from other rows"

    def __init__(self, subject: AuditSubject) -> None:
        super().__init__(subject, _MOST_ROWS_IN_FULL if subject.is_full else _MOST_ROWS)
        self.columns = [name for name in self.columns if not _holds_a_target(subject, name)]
        self.values = RowValues(subject.bundle, len(self.columns) + 2)
        self._exchanged = dict.fromkeys(self.columns, 0)

    def add(self, chunk: Chunk, encoded: Encoded, rows: np.ndarray) -> None:
        """See `_Probe`."""
        self.values.add(self._variants(encoded, rows), rows)

    def _variants(self, encoded: Encoded, rows: np.ndarray) -> Iterator[Encoded]:
        yield encoded
        yield _without_columns(encoded)
        for name in self.columns:
            variant, num_exchanged = exchanged(encoded, name, rows, self.subject.seed)
            self._exchanged[name] += num_exchanged
            yield variant

    def part(self, target: Target) -> AuditPart | None:
        """See `_Probe`."""
        subject = self.subject
        measured, rows = self.values.measured(target)
        if not len(rows) or not self.columns:
            return None
        variants: list[str | int] = [AS_IT_IS, WITHOUT, *self.columns]
        scores = VariantScores.of_rows(
            self.values.measures(target),
            variants,
            measured,
            subject.bootstrap,
            subject.seed,
            subject.clusters(rows),
        )
        return mismatches(target.name, scores, len(rows), self._exchanged, confidence=subject.confidence)


class _Corruptions(_Probe):
    """Each column damaged."""

    what = "damaged cells"

    def __init__(self, subject: AuditSubject) -> None:
        super().__init__(subject, _MOST_DAMAGED_IN_FULL if subject.is_full else _MOST_DAMAGED)
        self._severities = SEVERITIES if subject.is_full else _QUICK_SEVERITIES
        self._refused: dict[str, str] = {}
        self._offered: dict[str, Sequence[Corruption]] = {}
        for name in self.columns:
            known = modality(subject.bundle.schema.column(name).modality).corruptions
            if isinstance(known, Unsupported):
                self._refused[name] = known.reason
            elif _holds_a_target(subject, name):
                self._refused[name] = "a target lies in it, whose place would change"
            else:
                self._offered[name] = known if subject.is_full else known[:1]
        self.values: RowValues | None = None

    def add(self, chunk: Chunk, encoded: Encoded, rows: np.ndarray) -> None:
        """See `_Probe`."""
        if self.values is None:
            self._plan(chunk, encoded, rows)
            self.values = RowValues(self.subject.bundle, len(self._keys()))
        if not self._offered:
            self._is_over = True
            return
        self.values.add((self._variant(key, chunk, encoded, rows) for key in self._keys()), rows)

    def _keys(self) -> list[DamageKey]:
        keys = [
            DamageKey(name, corruption.name, severity)
            for name, corruptions_ in self._offered.items()
            for corruption in corruptions_
            for severity in self._severities
        ]
        return [CLEAN, NOTHING, *keys]

    def _variant(self, key: DamageKey, chunk: Chunk, encoded: Encoded, rows: np.ndarray) -> Encoded:
        if key == CLEAN:
            return encoded
        if key == NOTHING:
            return _without_columns(encoded)
        corruption = next(each for each in self._offered[key.column] if each.name == key.corruption)
        return damaged(
            encoded,
            key.column,
            corruption,
            key.severity,
            model=self.subject.bundle.model,
            dataset=chunk.dataset,
            rows=rows,
            seed=self.subject.seed,
        )

    def _plan(self, chunk: Chunk, encoded: Encoded, rows: np.ndarray) -> None:
        """Leaves columns out until there is time for two batches of the others."""
        deadline = self.subject.deadline
        costs: dict[str, float] = {}
        for name, offered in self._offered.items():
            started = time.monotonic()
            self._variant(DamageKey(name, offered[0].name, self._severities[-1]), chunk, encoded, rows)
            costs[name] = (time.monotonic() - started) * len(offered) * len(self._severities)
        while costs and _FEWEST_BATCHES * sum(costs.values()) > deadline.left:
            name = max(costs, key=lambda name: costs[name])
            seconds = spell_duration(_FEWEST_BATCHES * costs[name])
            deadline.note(
                f"{self.what}: {name}",
                f"{self.what} of {name} (about {seconds} at least, {spell_duration(deadline.left)} were left)",
            )
            del self._offered[name], costs[name]

    def part(self, target: Target) -> AuditPart | None:
        """See `_Probe`."""
        subject = self.subject
        if self.values is None or (not self._offered and not self._refused):
            return None
        measured, rows = self.values.measured(target)
        if not len(rows):
            return None
        scores = VariantScores.of_rows(
            self.values.measures(target),
            self._keys(),
            measured,
            subject.bootstrap,
            subject.seed,
            subject.clusters(rows),
        )
        return corruptions(target.name, scores, len(rows), refused=self._refused, confidence=subject.confidence)


def probes(subject: AuditSubject) -> list[AuditPart]:
    """The parts that predict changed rows."""
    if subject.is_seen:
        subject.deadline.note(
            "probes", "missing, mismatched and damaged cells: the delivered model was trained on these rows"
        )
        return []
    asked: list[_Probe] = [_MissingRates(subject), _Mismatches(subject), _Corruptions(subject)]
    subject.bundle.model.eval()
    targets = RowValues(subject.bundle, 0).targets
    if not targets:
        return []
    if subject.deadline.left <= 0:  # what has had its time already, as of a wide table
        for probe in asked:
            subject.deadline.note(probe.what, f"{probe.what}: no time was left")
        return []
    for chunk in chunks(subject, max(probe.most_rows for probe in asked), "probed rows"):
        for encoded in chunk.encoded(subject):
            for probe in asked:
                probe.ask(chunk, encoded)
            if all(probe.is_over for probe in asked):
                break
        if all(probe.is_over for probe in asked):
            break
    parts = [probe.part(target) for probe in asked for target in targets]
    return [part for part in parts if part is not None]


def _without_columns(encoded: Encoded) -> Encoded:
    none = np.zeros(len(encoded[0]), dtype=bool)
    return masked(encoded, dict.fromkeys(encoded[1], none))


def _holds_a_target(subject: AuditSubject, name: str) -> bool:
    """Whether a target is about parts of a column, so that another cell would leave it void."""
    return any(task(target.task).lies_in(target) == name for target in subject.bundle.schema.targets)
