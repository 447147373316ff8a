"""List the runs of a folder: name, date, rows, headline metric with its interval, time. Reads JSON files alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from polysense.core.duration import spell_duration
from polysense.core.files import shown_path
from polysense.core.json import json_object, parse_json, read_json
from polysense.core.wrapping import shortened
from polysense.errors import ConfigError
from polysense.escaping import joined
from polysense.reports.numerals import number
from polysense.reports.terminal_tables import escape, plain_text

__all__ = ["VERDICT", "RunSummary", "runs_text", "summaries"]

VERDICT = "verdict.json"
"""The file of a run's folder that holds what was said of the model; a finished run has it."""

_RECORD, _LOG = "run.json", "log.jsonl"
_NAME_WIDTH = 26


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run in a line.

    Attributes:
        folder: Its folder.
        date: When it was trained, as ISO 8601; "" where nothing was.
        num_rows: Rows of its table; None where they are not known.
        headlines: Per target its metric, value, low, high, rows and their split.
        seconds: Of training; None where it has not finished.
        state: "finished", or how far it has come.
    """

    folder: Path
    date: str
    num_rows: int | None
    headlines: Sequence[dict[str, Any]]
    seconds: float | None
    state: str

    def as_json(self) -> dict[str, object]:
        """For a script."""
        return json_object(self)


def summaries(folder: Path) -> list[RunSummary]:
    """The runs in a folder, the newest first; of a run's own folder that one.

    Raises:
        ConfigError: There is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is no folder; name one that holds runs")
    places = [folder] if (folder / _RECORD).is_file() else sorted(path.parent for path in folder.glob(f"*/{_RECORD}"))
    runs = [_summary(place) for place in places]
    return sorted(runs, key=lambda one: one.date, reverse=True)


def runs_text(folder: Path, runs: Sequence[RunSummary]) -> str:
    """A table of 80 characters."""
    if not runs:
        return joined([f"{shown_path(folder)} holds no runs; `polysense train` makes one"])
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", no_wrap=True)
    table.add_column("date", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("headline (95% CI)")
    table.add_column("time", justify="right", no_wrap=True)
    for one in runs:
        table.add_row(
            escape(shortened(one.folder.name or str(one.folder.absolute().name), _NAME_WIDTH)),
            one.date[:10],
            "" if one.num_rows is None else f"{one.num_rows:,}",
            "\n".join(escape(_headline(each)) for each in one.headlines) or escape(one.state),
            "" if one.seconds is None else spell_duration(float(one.seconds)),
        )
    return plain_text(table)


def _headline(one: dict[str, Any]) -> str:
    value, low, high = (math.nan if one[name] is None else one[name] for name in ("value", "low", "high"))
    between = f" ({number(low)} to {number(high)})" if math.isfinite(low) and math.isfinite(high) else ""
    return f"{shortened(one['target'], 16)}: {one['metric'].replace('_', ' ')} {number(value)}{between}"


def _summary(folder: Path) -> RunSummary:
    record, verdict = _json(folder / _RECORD), _json(folder / VERDICT)
    events = _events(folder / _LOG)
    epochs = [event for event in events if event.get("event") == "epoch"]
    times = [str(event["time"]) for event in events if "time" in event]
    return RunSummary(
        folder=folder,
        date=_local(times[-1]) if times else "",
        num_rows=_rows(record),
        headlines=verdict.get("targets", []),
        seconds=verdict.get("seconds"),
        state="finished" if verdict else f"{len(epochs)} epochs, not finished" if epochs else "not trained",
    )


def _rows(record: dict[str, Any]) -> int | None:
    """Of all tables of the run."""
    tables = record.get("tables")
    counts = [table.get("rows") for table in tables.values()] if isinstance(tables, dict) else []
    known = [count for count in counts if isinstance(count, int)]
    return sum(known) if known else None


def _local(time: str) -> str:
    try:
        return datetime.fromisoformat(time).astimezone().isoformat(timespec="seconds")
    except ValueError:
        return time


def _json(path: Path) -> dict[str, Any]:
    """A file's content; nothing where it can't be read, since one broken run must not hide the others."""
    try:
        return dict(read_json(path, dict))
    except (OSError, ValueError, KeyError):
        return {}


def _events(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    events = []
    for line in lines:
        try:
            events.append(dict(parse_json(line, dict)))
        except ValueError:
            continue
    return events
