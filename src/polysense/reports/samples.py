"""Render samples.html: a few validation rows, their inputs, targets, and predictions after each epoch.

A metric says that a model has got better, a row says at what. The rows are the same throughout; predictions that stay
the same are one line. The page holds its images and audio itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polysense.core.preview import CellPreview
from polysense.core.report_section import ReportSection
from polysense.reports.environment import render, render_section
from polysense.reports.neighbors import Tile
from polysense.reports.numerals import percent

__all__ = ["Output", "SampleRow", "render_samples"]

_MAX_LINES = 40
_FIRST_LINES = 5
_MAX_REFERENCES = 5


@dataclass(frozen=True, kw_only=True)
class Output:
    """A model's prediction of a row's target after an epoch.

    Attributes:
        epoch: From 1.
        value: In words.
        probability: Of a class.
        is_correct: Whether it is; None where there is no right or wrong (numbers).
    """

    epoch: int
    value: str
    probability: float | None = None
    is_correct: bool | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class SampleRow:
    """A row of the page.

    Attributes:
        row: Its number in the table.
        inputs: What goes in.
        references: Per target what is correct; several texts may be.
        outputs: Per target the predictions, by epoch. A joint embedding space has one for each direction, "space: photo
            to text".
        sections: Per target how its task shows target and latest prediction, instead of `references`.
        neighbors: Per direction of a joint embedding space the nearest cells after the latest epoch.
    """

    row: int
    inputs: Sequence[CellPreview]
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    outputs: Mapping[str, Sequence[Output]] = field(default_factory=dict)
    sections: Mapping[str, ReportSection] = field(default_factory=dict)
    neighbors: Mapping[str, Sequence[Tile]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Line:
    """Consecutive epochs with one prediction.

    Attributes:
        epochs: "3", "1–5".
        last: The newest of them.
        probability: In percent; empty where there is none.
    """

    epochs: str
    last: Output
    probability: str

    @staticmethod
    def of(run: Sequence[Output]) -> _Line:
        first, last = run[0], run[-1]
        epochs = f"{first.epoch}" if first.epoch == last.epoch else f"{first.epoch}–{last.epoch}"
        share = "" if last.probability is None else percent(last.probability, 0)
        return _Line(epochs=epochs, last=last, probability="" if share == "–" else share)


def render_samples(title: str, rows: Sequence[SampleRow], epoch: int) -> str:
    """The whole page as HTML.

    Args:
        title: Of the run.
        rows: In the order in which they are shown.
        epoch: The last one.
    """
    return render(
        "samples.html.j2",
        title=title,
        rows=rows,
        epoch=epoch,
        sections=[{name: render_section(one) for name, one in row.sections.items()} for row in rows],
        history=_history,
        max_references=_MAX_REFERENCES,
    )


def _history(outputs: Sequence[Output]) -> tuple[list[_Line], int, list[_Line]]:
    """The predictions, the newest first: latest lines, how many are left out, first lines."""
    groups = itertools.groupby(outputs, key=lambda one: (one.value, one.is_correct))
    lines = [_Line.of(list(group)) for _, group in groups][::-1]
    if len(lines) <= _MAX_LINES:
        return lines, 0, []
    return lines[: _MAX_LINES - _FIRST_LINES], len(lines) - _MAX_LINES, lines[-_FIRST_LINES:]
