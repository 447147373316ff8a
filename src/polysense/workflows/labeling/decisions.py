"""Decisions: what annotators said of rows, as a journal keeps them and as they stand after corrections.

A journal is only ever appended to. Undoing is a record, too, so that what anybody decided, and when, can be read from
it for good. Where things stand is a fold over the records, and so the same however often the server was killed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from polysense.core.editor import Editor, same_label
from polysense.core.json import JsonValue, json_text, parse_json
from polysense.errors import TableError

__all__ = ["Decision", "DecisionKind", "Decisions", "Outcome", "line_of", "record_of"]

DecisionKind: TypeAlias = Literal["label", "skip", "unsure", "undo", "adjudicate"]
"""A label; a row that is left for later or for others; one that can't be told; a decision taken back; what was settled
where annotators differ."""

_TEXT_LIMIT = 200  # characters of ids and names


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One record of the journal.

    Attributes:
        id: Given by whoever sends it; a second record of the same id is the same one, sent again.
        key: Of the row, see `row_keys`.
        row: Its number in the table as it was then.
        kind: See `DecisionKind`.
        value: The label; None of other kinds.
        annotator: Their name.
        time: UTC, ISO 8601.
        seconds: From seeing the row to deciding; None where nobody measured it.
        undoes: The id of the decision that is taken back.
        is_held_out: Whether the row was drawn at random, for the honest score.
    """

    id: str
    key: str
    row: int
    kind: DecisionKind
    annotator: str
    time: str
    value: JsonValue = None
    seconds: float | None = None
    undoes: str | None = None
    is_held_out: bool = False


def line_of(record: Mapping[str, object]) -> bytes:
    """A record as a line: JSON with a checksum, so that a damaged line is told from a whole one."""
    text = json_text(record)
    return json_text({**record, "crc": f"{zlib.crc32(text.encode()):08x}"}).encode()


def record_of(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None where it is damaged."""
    try:
        record = parse_json(line.decode(), dict)
    except (ValueError, UnicodeDecodeError):
        return None
    crc = record.pop("crc", None)
    return record if crc == f"{zlib.crc32(json_text(record).encode()):08x}" else None


def decision_of(record: Mapping[str, Any]) -> Decision:
    """A journal's record as a decision.

    Raises:
        TableError: It is none.
    """
    try:
        decision = Decision(**record)
    except TypeError as error:
        raise TableError(f"the record {str(record)[:80]} is no decision: {error}") from None
    if decision.kind not in get_args(DecisionKind) or not isinstance(decision.id, str) or not decision.id:
        raise TableError(f"the record {str(record)[:80]} is no decision: found the kind {str(decision.kind)[:40]!r}")
    return decision


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where a row stands.

    Attributes:
        state: "open", "labeled", "unsure" (nobody can tell), "skipped", or "differ": annotators do, and nobody settled
            it.
        value: The label, where it is labeled.
        by: Per annotator their standing decision.
        is_adjudicated: Whether somebody settled it.
    """

    state: Literal["open", "labeled", "unsure", "skipped", "differ"]
    value: JsonValue
    by: Mapping[str, Decision]
    is_adjudicated: bool = False


class Decisions:
    """The records so far, and where each row stands.

    Args:
        editor: Compares labels.
    """

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self._ids: dict[str, Decision] = {}
        self._stacks: dict[tuple[str, str], list[Decision]] = {}  # (row's key, annotator) -> standing, the last counts
        self._settled: dict[str, list[Decision]] = {}  # row's key -> adjudications, the last counts
        self._history: dict[str, list[Decision]] = {}  # annotator -> standing decisions, in order
        self._by_key: dict[str, set[str]] = {}  # row's key -> annotators

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def annotators(self) -> list[str]:
        """Everybody who decided anything, in the order of their first decision."""
        return list(self._history)

    @property
    def records(self) -> Iterable[Decision]:
        """All of them, in order."""
        return self._ids.values()

    @property
    def keys(self) -> Iterable[str]:
        """Of all rows that somebody decided on and did not take it back."""
        return [key for key, annotators in self._by_key.items() if annotators or self._settled.get(key)]

    def get(self, id: str) -> Decision | None:
        """The decision of an id."""
        return self._ids.get(id)

    def add(self, decision: Decision) -> bool:
        """Takes a decision in; False, and nothing changes, where its id is known."""
        if decision.id in self._ids:
            return False
        self._ids[decision.id] = decision
        history = self._history.setdefault(decision.annotator, [])
        if decision.kind == "undo":
            self._undo(decision, history)
            return True
        history.append(decision)
        self._stack(decision).append(decision)
        if decision.kind != "adjudicate":
            self._by_key.setdefault(decision.key, set()).add(decision.annotator)
        else:
            self._by_key.setdefault(decision.key, set())
        return True

    def _stack(self, decision: Decision) -> list[Decision]:
        if decision.kind == "adjudicate":
            return self._settled.setdefault(decision.key, [])
        return self._stacks.setdefault((decision.key, decision.annotator), [])

    def _undo(self, decision: Decision, history: list[Decision]) -> None:
        undone = self._ids.get(decision.undoes or "")
        if undone is None or undone not in history:  # taken back already, in another tab
            return
        history.remove(undone)
        stack = self._stack(undone)
        stack.remove(undone)
        if not stack and undone.kind != "adjudicate":
            self._by_key[undone.key].discard(undone.annotator)

    def last(self, annotator: str) -> Decision | None:
        """An annotator's last decision that stands."""
        history = self._history.get(annotator)
        return history[-1] if history else None

    def history(self, annotator: str, most: int) -> list[Decision]:
        """An annotator's last decisions that stand, the newest first."""
        return self._history.get(annotator, [])[: -most - 1 : -1]

    def standing(self, key: str, annotator: str) -> Decision | None:
        """What an annotator's word on a row is."""
        stack = self._stacks.get((key, annotator))
        return stack[-1] if stack else None

    def by(self, key: str) -> dict[str, Decision]:
        """Every annotator's word on a row, by name."""
        return {
            name: decision
            for name in sorted(self._by_key.get(key, ()))
            if (decision := self.standing(key, name)) is not None
        }

    def outcome(self, key: str) -> Outcome:
        """Where a row stands."""
        by = self.by(key)
        settled = self._settled.get(key)
        if settled:
            return Outcome(state="labeled", value=settled[-1].value, by=by, is_adjudicated=True)
        values = [decision.value for decision in by.values() if decision.kind == "label"]
        if values:
            value = self._editor.resolved(values)
            return Outcome(state="differ" if value is None else "labeled", value=value, by=by)
        kinds = {decision.kind for decision in by.values()}
        return Outcome(state="unsure" if "unsure" in kinds else "skipped" if kinds else "open", value=None, by=by)

    def differs(self, key: str) -> bool:
        """Whether annotators differ on a row, and nobody settled it."""
        if self._settled.get(key) or len(self._by_key.get(key, ())) < 2:
            return False
        values = [decision.value for decision in self.by(key).values() if decision.kind == "label"]
        return any(not same_label(values[0], value) for value in values[1:])
