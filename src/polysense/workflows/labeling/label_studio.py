"""Label Studio's JSON: tasks with annotations, written and read.

A task holds a row's cells and its key; on the way back a row is told by the key, or, in tasks that were made elsewhere,
by its cells. Of a result only what its control says is read: choices, a number, a text, labeled stretches of a text.
Everything else is listed with the reason and left out.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polysense.core.json import JsonValue, parse_json, to_json
from polysense.core.spelling import shortened
from polysense.errors import TableError, UserError
from polysense.workflows.labeling.decisions import Decision, Decisions
from polysense.workflows.labeling.label import PreparedLabeling

__all__ = ["label_studio_tasks", "read_label_studio"]

_KEY = "polysense_row"
_TYPES: Mapping[str, tuple[str, str]] = {
    "choice": ("choices", "choices"),
    "choices": ("choices", "choices"),
    "number_field": ("number", "number"),  # not a kind
    "text_field": ("textarea", "text"),
    "spans": ("labels", "labels"),
}
"""By an editor's control the type of a result, and the key of its value."""


def label_studio_tasks(prepared: PreparedLabeling, decisions: Decisions) -> list[dict[str, Any]]:
    """Rows that somebody decided on, as tasks with every annotator's answer.

    Args:
        prepared: The table and its editor.
        decisions: Of its annotators.
    """
    rows = {key: row for row, key in enumerate(prepared.keys)}
    table, target = prepared.table, prepared.header.target
    names = [name for name in table.names if name != target]
    tasks = []
    for key in sorted((key for key in decisions.keys if key in rows), key=rows.__getitem__):
        row = rows[key]
        data = {name: _plain(table.cell(row, name)) for name in names}
        annotations = [
            {
                "completed_by": {"email": annotator},
                "created_at": decision.time,
                "was_cancelled": decision.kind == "skip",
                "lead_time": decision.seconds,
                "result": _results(prepared, decision, data),
            }
            for annotator, decision in decisions.by(key).items()
        ]
        tasks.append({"id": row, "data": {**data, _KEY: key}, "annotations": annotations})
    return tasks


def _plain(cell: object) -> JsonValue:
    try:
        return to_json(cell)
    except (TypeError, ValueError):
        return None  # a file in the cell itself


def _results(prepared: PreparedLabeling, decision: Decision, data: Mapping[str, object]) -> list[dict[str, Any]]:
    if decision.kind != "label":
        return []
    control, target = prepared.editor.control, prepared.header.target
    kind, name = _TYPES[control]
    over = prepared.header.over or next(iter(data), target)
    base = {"from_name": target, "to_name": over, "type": kind}
    value = decision.value
    if control == "spans":
        text = str(data.get(over) or "")
        spans = [span for span in value if isinstance(span, dict)] if isinstance(value, list) else []
        return [
            {
                **base,
                "value": {
                    "start": span["start"],
                    "end": span["end"],
                    "text": text[int(str(span["start"])) : int(str(span["end"]))],
                    name: [span["label"]],
                },
            }
            for span in spans
        ]
    if control == "number_field":
        return [{**base, "value": {name: value}}]
    return [{**base, "value": {name: value if isinstance(value, list) else [value]}}]


def read_label_studio(path: Path, prepared: PreparedLabeling) -> tuple[list[Decision], list[str]]:
    """The decisions of a file of tasks, and what could not be read of it, with the reason.

    Raises:
        TableError: The file is no list of tasks.
    """
    try:
        tasks = parse_json(path.read_text(encoding="utf-8"), list)
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: can't be read as Label Studio's JSON: {error}") from None
    by_key = {key: row for row, key in enumerate(prepared.keys)}
    by_cells = _by_cells(prepared)
    decisions: list[Decision] = []
    unmatched: list[str] = []
    for position, task in enumerate(tasks):
        where = f"{path.name}, task {position}"
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            unmatched.append(f"{where}: found no data in it")
            continue
        key = data.get(_KEY)
        row = by_key.get(key) if isinstance(key, str) else None
        if row is None:
            row = by_cells.get(_told(data, prepared))
        if row is None:
            unmatched.append(f"{where}: is no row of {prepared.table.name}")
            continue
        annotations = task.get("annotations")
        for index, annotation in enumerate(annotations if isinstance(annotations, list) else []):
            try:
                decisions.append(_decision(annotation, row, prepared, f"{position}.{index}"))
            except (UserError, KeyError, TypeError, AttributeError) as error:
                unmatched.append(f"{where}, annotation {index}: {shortened(str(error), 200)}")
    return decisions, unmatched


def _told(data: Mapping[str, object], prepared: PreparedLabeling) -> str:
    names = [name for name in prepared.table.names if name != prepared.header.target]
    return repr([None if data.get(name) is None else str(data[name]) for name in names])


def _by_cells(prepared: PreparedLabeling) -> dict[str, int]:
    """Rows by their cells' texts; a row that is there twice is told by its key alone."""
    rows: dict[str, int | None] = {}
    table, target = prepared.table, prepared.header.target
    columns = [table.cells(name) for name in table.names if name != target]
    for row, cells in enumerate(zip(*columns, strict=True)):
        told = repr([None if cell is None else str(_plain(cell)) for cell in cells])
        rows[told] = None if told in rows else row
    return {told: row for told, row in rows.items() if row is not None}


def _decision(annotation: Mapping[str, Any], row: int, prepared: PreparedLabeling, place: str) -> Decision:
    name = _annotator(annotation.get("completed_by"))
    time = str(annotation.get("created_at") or datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"))
    results = annotation.get("result") or []
    is_skipped = bool(annotation.get("was_cancelled"))
    value = None if is_skipped else _value(results, prepared)
    kind = "skip" if is_skipped else "unsure" if value is None else "label"
    told = repr((prepared.keys[row], name, annotation.get("id"), annotation.get("created_at"), kind, value, place))
    return Decision(
        id="label-studio-" + hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=12).hexdigest(),
        key=prepared.keys[row],
        row=row,
        kind="skip" if is_skipped else "unsure" if value is None else "label",
        value=value,
        annotator=name,
        time=time,
    )


def _annotator(completed_by: object) -> str:
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("username") or completed_by.get("id")
    name = " ".join(str(completed_by if completed_by is not None else "label studio").split())[:100]
    return name or "label studio"


def _value(results: Any, prepared: PreparedLabeling) -> JsonValue:
    kind, key = _TYPES[prepared.editor.control]
    own = [each for each in _entries(results, kind) if each.get("from_name") == prepared.header.target]
    values = [each["value"] for each in own or _entries(results, kind)]
    if not values:
        return None
    if prepared.editor.control == "spans":
        spans = [{"start": each["start"], "end": each["end"], "label": each[key][0]} for each in values]
        return prepared.editor.parse(spans)
    value = values[0][key]
    if prepared.editor.control != "choices" and isinstance(value, list):
        value = value[0]
    return prepared.editor.parse(value)


def _entries(results: Any, kind: str) -> Iterator[dict[str, Any]] | list[dict[str, Any]]:
    if not isinstance(results, list):
        return []
    return [each for each in results if isinstance(each, dict) and each.get("type") == kind]
