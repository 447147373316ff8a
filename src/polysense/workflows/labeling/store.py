"""The store of one labeling: a folder with a journal, which one process at a time writes to.

A decision is on the disk before `append` returns, and whoever sent it is told only then; so a killed process loses
nothing that it confirmed. What it did not confirm is sent again under the same id, and counts once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polysense.core.editor import Editor
from polysense.core.json import to_json
from polysense.core.lock import locked
from polysense.core.log_file import DurableLog
from polysense.core.logs import get_logger
from polysense.errors import ConfigError, TableError
from polysense.workflows.labeling.decisions import Decision, Decisions, decision_of, line_of, record_of

__all__ = ["JOURNAL", "JournalHeader", "LabelStore", "read_header"]

JOURNAL = "journal.jsonl"
_VERSION = 1

_log = get_logger("polysense.labeling")


@dataclass(frozen=True, kw_only=True)
class JournalHeader:
    """What a journal's labels are of; a later header of the same journal takes an earlier one's place.

    Attributes:
        target: The column.
        task: Its task.
        classes: In order; empty where labels are of none.
        over: The column that labels lie in; None where they are of the whole row.
        key: The column that names rows; None: by their cells.
        seed: Of the order of rows and of those that are held out.
        held_out: The share of rows that are.
    """

    target: str
    task: str
    classes: tuple[str, ...] = ()
    over: str | None = None
    key: str | None = None
    seed: int = 0
    held_out: float = 0.2


def read_header(folder: Path) -> JournalHeader | None:
    """The header of the journal in a folder; None where there is none.

    Raises:
        TableError: The journal is of another version, or begins with something else.
    """
    records = [record_of(line) for line in DurableLog.lines(folder / JOURNAL) if b'"journal"' in line]
    headers = [record for record in records if record is not None and "journal" in record]
    return _header(headers[-1], folder) if headers else None


def _header(record: Mapping[str, Any], folder: Path) -> JournalHeader:
    plain = dict(record)
    version = plain.pop("journal", None)
    if version != _VERSION:
        raise TableError(
            f"{folder / JOURNAL}: found version {version!r} of a journal, expected {_VERSION}; another version "
            "of polysense wrote it"
        )
    try:
        return JournalHeader(**{**plain, "classes": tuple(plain.get("classes", ()))})
    except TypeError as error:
        raise TableError(f"{folder / JOURNAL}: its header can't be read: {error}") from None


class LabelStore:
    """Decisions, and the journal that they are kept in.

    Attributes:
        folder: Of the journal.
        header: What the labels are of.
        decisions: Where things stand.
        num_damaged: Lines that could not be read, and were left where they are.
    """

    def __init__(self, folder: Path, header: JournalHeader, editor: Editor) -> None:
        self.folder, self.header = folder, header
        self.decisions = Decisions(editor)
        self.num_damaged = 0
        self._log = DurableLog(folder / JOURNAL)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, header: JournalHeader, editor: Editor) -> Iterator[LabelStore]:
        """The store, for as long as nobody else may write to it.

        Raises:
            LockedError: Somebody else has it open.
            TableError: The journal is of another version.
            ConfigError: It is of another target or task.
            OSError: It can't be read or written.
        """
        with locked(folder):
            store = cls(folder, header, editor)
            try:
                store._open()
                yield store
            finally:
                store._log.close()

    @classmethod
    def read(cls, folder: Path, header: JournalHeader, editor: Editor) -> LabelStore:
        """The store as it stands, to look at while others may write to it."""
        store = cls(folder, header, editor)
        store._take(DurableLog.lines(folder / JOURNAL))
        return store

    def _open(self) -> None:
        before = self._take(self._log.recover())
        if before != self.header:
            self._log.append(line_of({"journal": _VERSION, **_plain(self.header)}))

    def _take(self, lines: list[bytes]) -> JournalHeader | None:
        header = None
        for number, line in enumerate(lines, 1):
            record = record_of(line) if line.strip() else None
            if record is None:
                self.num_damaged += 1
                _log.warning("%s, line %d: is damaged, and is left out and left alone", self.folder / JOURNAL, number)
            elif "journal" in record:
                header = _header(record, self.folder)
                self._require_same(header)
            else:
                self.decisions.add(decision_of(record))
        return header

    def _require_same(self, header: JournalHeader) -> None:
        for name in ("target", "task", "over", "key"):
            theirs, ours = getattr(header, name), getattr(self.header, name)
            if theirs != ours:
                raise ConfigError(
                    f"{self.folder}: its labels have the {name} {theirs!r}, found {ours!r}; name another folder with -o"
                )

    def append(self, decision: Decision) -> bool:
        """Brings a decision to the disk and takes it in; False where it was there already, by its id.

        Raises:
            OSError: It can't be written, and is not taken in.
        """
        if self.decisions.get(decision.id) is not None:
            return False
        self._log.append(line_of(_plain(decision)))
        return self.decisions.add(decision)


def _plain(record: Any) -> dict[str, object]:
    """Its fields in JSON's types, without those that say nothing."""
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    said = {name: value for name, value in fields.items() if not (value is None or (name[:3] == "is_" and not value))}
    return {name: to_json(value, name) for name, value in said.items()}
