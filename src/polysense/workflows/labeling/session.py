"""A labeling session: rows out, decisions in, without a server, so that all of it can be tested and used from Python.

All methods may be called from several threads. A decision returns once it is on the disk.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from polysense.core.editor import Editor
from polysense.core.json import JsonValue
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError, UserError
from polysense.workflows.labeling.agreement import Agreement, agreement
from polysense.workflows.labeling.assistant import Assistant
from polysense.workflows.labeling.decisions import Decision, DecisionKind, Outcome
from polysense.workflows.labeling.displays import RowDisplays
from polysense.workflows.labeling.queue import Queue
from polysense.workflows.labeling.store import JournalHeader, LabelStore

__all__ = ["LabelingSession", "SessionSettings"]

_LONGEST_NAME = 100  # characters
_HISTORY = 50
_SKIPPED = 1_000
_FUTURE_SECONDS = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """How rows are handed out.

    Attributes:
        annotator: The name that a page begins with.
        guideline: What annotators are told, as plain text.
        shared: The share of rows that every annotator gets.
        annotations: How many annotators a row gets otherwise.
        relabel: Whether rows that have a label in the table are handed out, too.
    """

    annotator: str = ""
    guideline: str = ""
    shared: float = 0.1
    annotations: int = 1
    relabel: bool = False


@dataclass(eq=False, kw_only=True)
class _Known:
    """What the table's own cells say."""

    values: dict[int, JsonValue] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _RowStanding:
    state: str
    label: str | None
    differs: bool
    is_held_out: bool


class _Standing:
    """Counts of where rows stand, kept up to date row by row: a click must not take longer the more is labeled."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.num_held_out = self.num_differing = 0
        self._rows: dict[int, _RowStanding] = {}

    def note(self, row: int, state: str, label: str | None, *, differs: bool, is_held_out: bool) -> None:
        """Takes in where a row stands."""
        if (before := self._rows.get(row)) is not None:
            self._count(before, -1)
        now = _RowStanding(state=state, label=label, differs=differs, is_held_out=is_held_out)
        self._rows[row] = now
        self._count(now, 1)

    def _count(self, row: _RowStanding, by: int) -> None:
        self.states[row.state] += by
        self.num_differing += by * row.differs
        self.num_held_out += by * (row.is_held_out and row.state == "labeled")
        if row.label is not None:
            self.labels[row.label] += by
            if not self.labels[row.label]:
                del self.labels[row.label]


class LabelingSession:
    """One labeling, while its store is open.

    Args:
        table: The rows; never changed.
        keys: Of its rows.
        store: Open.
        editor: Of the target.
        displays: Of its rows.
        settings: How rows are handed out.
        assistant: Learns while labels come in; None: rows come at random, and nothing is guessed.
        clock: Seconds, rising.

    Attributes:
        num_orphans: Rows that have a decision and are no longer in the table.
    """

    def __init__(
        self,
        table: Table,
        keys: Sequence[str],
        store: LabelStore,
        editor: Editor,
        displays: RowDisplays,
        settings: SessionSettings | None = None,
        *,
        assistant: Assistant | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table, self.editor, self.displays = table, editor, displays
        self._counts_labels = editor.is_nominal
        self.settings = settings or SessionSettings()
        self.assistant = assistant
        self._store = store
        self._keys = keys
        self._rows = {key: row for row, key in enumerate(keys)}
        self._lock = threading.RLock()
        self._known = self._read_known()
        is_open = np.ones(len(table), dtype=bool)
        if not self.settings.relabel:
            is_open[list(self._known.values)] = False
        header = store.header
        self.queue = Queue(
            keys,
            is_open,
            clock,
            seed=header.seed,
            held_out=header.held_out,
            shared=self.settings.shared,
            annotations=self.settings.annotations,
        )
        self._agreement: tuple[int, Agreement] | None = None
        self._standing = _Standing()
        self.num_orphans = sum(key not in self._rows for key in store.decisions.keys)
        for key in store.decisions.keys:
            if key in self._rows:
                self._note(self._rows[key])
        if assistant is not None:
            assistant.begin(self.queue.is_held_out, self._learned())

    def _read_known(self) -> _Known:
        known = _Known()
        target = self._store.header.target
        if not self.table.has(target):
            return known
        for row, cell in enumerate(self.table.cells(target, literal=True)):
            try:
                value = self.editor.read(cell)
            except UserError as error:
                known.unreadable[row] = str(error)
                continue
            if value is not None:
                known.values[row] = value
        return known

    # --- rows ------------------------------------------------------------------------------------------------------

    @property
    def header(self) -> JournalHeader:
        """What the labels are of."""
        return self._store.header

    @property
    def folder(self) -> Path:
        """Of the labels."""
        return self._store.folder

    def row_of(self, key: str) -> int | None:
        """The number of the row of a key; None where it is no longer in the table."""
        return self._rows.get(key)

    def next(self, annotator: str, tab: str) -> dict[str, Any] | None:
        """The next row for an annotator, as a page shows it; None where all are done.

        Raises:
            ConfigError: There is no name.
        """
        annotator = _name(annotator)
        with self._lock:
            if self.assistant is not None and (suggested := self.assistant.suggestions()) is not None:
                self.queue.suggest(suggested)
            row = self.queue.next(annotator, tab, lambda: self._skipped(annotator))
            return None if row is None else self._row(row, annotator)

    def _skipped(self, annotator: str) -> list[int]:
        """The rows whose last decision of an annotator is to leave them for later, the oldest first."""
        decisions = self._store.decisions
        keys = [
            each.key
            for each in decisions.history(annotator, _SKIPPED)[::-1]
            if each.kind == "skip" and decisions.standing(each.key, annotator) is each
        ]
        return [self._rows[key] for key in keys if key in self._rows]

    def row(self, row: int, annotator: str, tab: str) -> dict[str, Any]:
        """A row that an annotator asks for, to look at or to decide anew.

        Raises:
            ConfigError: There is no such row.
        """
        annotator = _name(annotator)
        if not 0 <= row < len(self.table):
            raise ConfigError(f"found row {row}, expected 0 to {len(self.table) - 1}")
        with self._lock:
            self.queue.release(tab)
            self.queue.lease(row, tab)
            return self._row(row, annotator)

    def _row(self, row: int, annotator: str) -> dict[str, Any]:
        decision = self._store.decisions.standing(self._keys[row], annotator)
        is_held_out = bool(self.queue.is_held_out[row])
        # A guess beside a held-out row would be in the way of an honest answer.
        guess = None if self.assistant is None or is_held_out else self.assistant.guess(row)
        return {
            "row": row,
            "key": self._keys[row],
            "cells": self.displays.row(row),
            "guess": None if guess is None else guess.as_json(),
            "is_held_out": is_held_out,
            "own": None if decision is None else {"kind": decision.kind, "value": decision.value, "id": decision.id},
            "given": self._known.values.get(row),
        }

    def preload(self, annotator: str) -> list[str]:
        """Images of the row that will probably come next, so that a browser has them by then."""
        with self._lock:
            row = self.queue.upcoming(_name(annotator))
        if row is None:
            return []
        return [media["url"] for cell in self.displays.row(row) for media in cell["media"] if media["element"] == "img"]

    # --- decisions ---------------------------------------------------------------------------------------------------

    def decide(
        self,
        row: int,
        key: str,
        kind: DecisionKind,
        *,
        id: str,
        annotator: str,
        value: object = None,
        seconds: float | None = None,
    ) -> Decision:
        """Takes a decision on a row, which is on the disk when this returns.

        Args:
            row: Its number.
            key: Its key, so that a page of another table's server changes nothing here.
            kind: "label", "skip", "unsure" or "adjudicate".
            id: The sender's; of a decision that is sent again, the same one, and it counts once.
            annotator: Their name.
            value: The label.
            seconds: From seeing the row to deciding.

        Raises:
            ConfigError: The label is none, or the row is another one.
            OSError: It can't be written.
        """
        annotator = _name(annotator)
        if kind not in ("label", "skip", "unsure", "adjudicate"):
            raise ConfigError(f"found the kind {str(kind)[:40]!r}, expected label, skip, unsure or adjudicate")
        if not 0 <= row < len(self.table) or self._keys[row] != key:
            raise ConfigError(
                f"found row {row} with the key {key[:40]!r}, which is no row of this table; reload the page"
            )
        has_value = kind in ("label", "adjudicate")
        parsed = self.editor.parse(value) if has_value else None
        decision = Decision(
            id=_id(id),
            key=key,
            row=row,
            kind=kind,
            value=parsed,
            annotator=annotator,
            time=_now(),
            seconds=None if seconds is None or not 0 <= seconds < _FUTURE_SECONDS else round(float(seconds), 2),
            is_held_out=bool(self.queue.is_held_out[row]),
        )
        return self._append(decision)

    def undo(self, *, id: str, annotator: str) -> Decision | None:
        """Takes an annotator's last decision back, and returns it; None where there is none.

        Args:
            id: The sender's, as of `decide`.
            annotator: Their name.
        """
        annotator = _name(annotator)
        with self._lock:
            known = self._store.decisions.get(_id(id))
            if known is not None:  # sent again
                return self._store.decisions.get(known.undoes or "")
            last = self._store.decisions.last(annotator)
            if last is None:
                return None
            self._append(
                Decision(
                    id=id, key=last.key, row=last.row, kind="undo", annotator=annotator, time=_now(), undoes=last.id
                )
            )
            return last

    def take(self, decisions: Sequence[Decision]) -> int:
        """Takes in decisions that were made elsewhere; how many of them are new."""
        with self._lock:
            return sum(self._append_new(decision) for decision in decisions)

    def _append_new(self, decision: Decision) -> bool:
        is_new = self._store.decisions.get(decision.id) is None
        self._append(decision)
        return is_new

    def _append(self, decision: Decision) -> Decision:
        with self._lock:
            known = self._store.decisions.get(decision.id)
            if known is not None:
                return known
            self._store.append(decision)
            row = self._rows.get(decision.key)
            if row is not None:
                self._note(row)
                if self.assistant is not None:
                    self.assistant.learn({row: self._label(row)})
            return decision

    def _note(self, row: int) -> None:
        decisions, key = self._store.decisions, self._keys[row]
        outcome = decisions.outcome(key)
        by = [(name, decision.kind == "skip") for name, decision in outcome.by.items()]
        self.queue.note(row, by, is_settled=outcome.is_adjudicated)
        label = self.editor.spelled(outcome.value) if outcome.state == "labeled" and self._counts_labels else None
        self._standing.note(
            row, outcome.state, label, differs=decisions.differs(key), is_held_out=bool(self.queue.is_held_out[row])
        )

    # --- where things stand ------------------------------------------------------------------------------------------

    def outcome(self, row: int) -> Outcome:
        """Where a row stands."""
        with self._lock:
            return self._store.decisions.outcome(self._keys[row])

    def _label(self, row: int) -> JsonValue:
        """A row's label; None where it has none."""
        outcome = self._store.decisions.outcome(self._keys[row])
        if outcome.state == "open":
            return self._known.values.get(row)
        return outcome.value

    def _learned(self) -> dict[int, JsonValue]:
        labels = dict(self._known.values)
        for key in self._store.decisions.keys:
            if key in self._rows:
                row = self._rows[key]
                labels[row] = self._label(row)
        return {row: value for row, value in labels.items() if value is not None}

    def progress(self, annotator: str) -> dict[str, Any]:
        """How far the labeling is."""
        annotator = _name(annotator)
        with self._lock:
            decisions, standing = self._store.decisions, self._standing
            seconds = [each.seconds for each in decisions.history(annotator, 100) if each.seconds is not None]
            return {
                "num_rows": len(self.table),
                "given": len(self._known.values),
                "num_held_out": standing.num_held_out,
                "waiting": int(self.queue.waiting(annotator).sum()),
                **{state: standing.states[state] for state in ("labeled", "unsure", "skipped")},
                "differ": standing.num_differing,
                "by_label": dict(standing.labels),
                "median_seconds": float(np.median(seconds)) if seconds else None,
                "annotators": decisions.annotators,
                "orphans": self.num_orphans,
                "damaged": self._store.num_damaged,
                "unreadable": len(self._known.unreadable),
                "assistant": None if self.assistant is None else self.assistant.state(),
            }

    def agreement(self) -> Agreement:
        """How far annotators agree; computed anew only where somebody decided something."""
        with self._lock:
            decisions = self._store.decisions
            num = len(decisions)
            if self._agreement is not None and self._agreement[0] == num:
                return self._agreement[1]
            rows = [
                {name: each.value for name, each in decisions.by(key).items() if each.kind == "label"}
                for key in decisions.keys
                if key in self._rows
            ]
        result = agreement(rows, self.editor)
        with self._lock:
            self._agreement = (num, result)
        return result

    def differing(self) -> list[dict[str, Any]]:
        """Rows on which annotators differ and that nobody settled."""
        with self._lock:
            decisions = self._store.decisions
            rows = sorted(self._rows[key] for key in decisions.keys if key in self._rows and decisions.differs(key))
            return [
                {
                    "row": row,
                    "excerpt": self.displays.excerpt(row),
                    "by": {
                        name: {"value": each.value, "spelled": self.editor.spelled(each.value)}
                        for name, each in decisions.by(self._keys[row]).items()
                        if each.kind == "label"
                    },
                }
                for row in rows
            ]

    def history(self, annotator: str) -> list[dict[str, Any]]:
        """An annotator's last decisions, the newest first."""
        with self._lock:
            entries = self._store.decisions.history(_name(annotator), _HISTORY)
            return [self._listed(self._rows[each.key], each) for each in entries if each.key in self._rows]

    def search(self, text: str, annotator: str) -> list[dict[str, Any]]:
        """The first rows that hold a text."""
        rows = self.displays.search(text)
        with self._lock:
            return [
                self._listed(row, self._store.decisions.standing(self._keys[row], _name(annotator))) for row in rows
            ]

    def _listed(self, row: int, decision: Decision | None) -> dict[str, Any]:
        label = None
        if decision is not None:
            label = self.editor.spelled(decision.value) if decision.value is not None else decision.kind
        return {"row": row, "excerpt": self.displays.excerpt(row), "label": label}

    def labels(self) -> dict[int, JsonValue]:
        """Every row that has a label of the annotators, by its number."""
        with self._lock:
            outcomes = {
                self._rows[key]: self._store.decisions.outcome(key)
                for key in self._store.decisions.keys
                if key in self._rows
            }
        return {row: outcome.value for row, outcome in sorted(outcomes.items()) if outcome.state == "labeled"}


def _name(annotator: str) -> str:
    name = " ".join(str(annotator).split())
    if not name or len(name) > _LONGEST_NAME:
        raise ConfigError(f"found the annotator's name {name[:20]!r}, expected 1 to {_LONGEST_NAME} characters")
    return name


def _id(id: str) -> str:
    if not isinstance(id, str) or not 8 <= len(id) <= _LONGEST_NAME or not id.isprintable():
        raise ConfigError(f"found the id {str(id)[:20]!r}, expected 8 to {_LONGEST_NAME} characters")
    return id


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
