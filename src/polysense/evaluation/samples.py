"""samples.html: a few validation rows, what goes in, what should come out, and what came out after each epoch.

A metric says that a model has got better, a row says at what. The rows are the same throughout; outputs that stay the
same are one line. The page holds its pictures and sounds itself, loads nothing and runs no script.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polysense.core.modality import Task
from polysense.core.schema import Target
from polysense.evaluation.cells import Input, shown_input_html, written_text
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.page import document, number, text
from polysense.evaluation.tiles import Tile, tiles_html
from polysense.tasks.tagging.tagged import Marked, marked_html

__all__ = ["Input", "Output", "SampleRow", "output_of", "render_samples", "written_text"]

_MAX_LINES = 40
_FIRST_LINES = 5
_MAX_REFERENCES = 5


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a model made of a row's target after an epoch.

    Attributes:
        epoch: From 1.
        value: In words.
        probability: What it gave it, where it is a class.
        is_right: Whether it is what was asked for; None where there is no right or wrong (numbers).
    """

    epoch: int
    value: str
    probability: float | None = None
    is_right: bool | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class SampleRow:
    """A row of the page.

    Attributes:
        row: Its number in the table.
        inputs: What goes in.
        references: Per target what should come out; several texts may do.
        outputs: Per target what came out, by epoch. A shared space has one for each direction, "space: photo to text".
        marked: Per target of segments, the true and the newest predicted ones in their text or over their time.
        found: Per direction of a shared space what lies nearest after the newest epoch.
    """

    row: int
    inputs: Sequence[Input]
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    outputs: Mapping[str, Sequence[Output]] = field(default_factory=dict)
    marked: Mapping[str, Marked] = field(default_factory=dict)
    found: Mapping[str, Sequence[Tile]] = field(default_factory=dict)


def output_of(
    target: Target, evaluation: Evaluation, i: int, epoch: int, render: Callable[[Any], Any]
) -> tuple[list[str], Output] | None:
    """A row's truth and what was predicted, in words; None where there is nothing to compare or no words for it.

    Args:
        target: Which.
        evaluation: Of the rows.
        i: The row's position in it.
        epoch: From 1.
        render: One predicted value in the table's own terms.
    """
    truth, prediction = evaluation.truths[target.name], evaluation.predictions[target.name]
    if not truth.present[i]:
        return None
    if target.task is Task.GENERATION:
        texts = evaluation.texts.get(target.name)
        if texts is None or texts.outputs is None:
            return None
        references, written = list(texts.references[i]), texts.outputs[i]
        return references, Output(epoch=epoch, value=written, is_right=written in references)
    value = prediction.values[i].numpy()
    if target.task is Task.CLASSIFICATION:
        right = target.classes[int(truth.values[i])]
        assert prediction.probabilities is not None
        probability = float(prediction.probabilities[i, int(value)])
        found = Output(
            epoch=epoch,
            value=target.classes[int(value)],
            probability=probability,
            is_right=bool(int(value) == truth.values[i]),
        )
        return [str(right)], found
    if target.task is Task.MULTILABEL:
        wanted = [name for name, there in zip(target.classes, truth.values[i], strict=True) if there]
        labels = ", ".join(map(str, render(value)))
        return [", ".join(wanted) or "none"], Output(
            epoch=epoch, value=labels or "none", is_right=bool((value == (truth.values[i] > 0)).all())
        )
    if target.task is Task.REGRESSION:
        return [_numbers(target, truth.values[i])], Output(epoch=epoch, value=_numbers(target, value))
    return None


def _numbers(target: Target, values: Any) -> str:
    if len(target.columns) == 1:
        return number(float(values[0]))
    return ", ".join(f"{name} {number(float(value))}" for name, value in zip(target.columns, values, strict=True))


def render_samples(title: str, rows: Sequence[SampleRow], epoch: int) -> str:
    """The whole page as HTML.

    Args:
        title: Of the run.
        rows: In the order in which they are shown.
        epoch: The last one.
    """
    head = (
        f'<header><h1>{text(title)}</h1><p class="lead">{len(rows)} validation rows after epoch {epoch}</p>'
        '<p class="mute small">Chosen by chance, and the same in every epoch. Inputs are shown as the model gets them. '
        "The newest output is on top; equal ones of consecutive epochs are one line.</p></header>"
    )
    return document(title + ": samples", "\n".join([head, *map(_row, rows)]), media=True)


def _row(row: SampleRow) -> str:
    inputs = "".join(f"<dt>{text(one.column)}</dt><dd>{shown_input_html(one)}</dd>" for one in row.inputs)
    targets = "".join(
        f"<h3>{text(name)}</h3>{_wanted(row, name)}{_history(outputs)}" for name, outputs in row.outputs.items()
    )
    return f'<section class="sample"><h2>Row {row.row}</h2><div><dl>{inputs}</dl><div>{targets}</div></div></section>'


def _wanted(row: SampleRow, name: str) -> str:
    """What should come out; of segments and searches what came out last too, as a picture."""
    if name in row.marked:
        return marked_html(row.marked[name])
    return _references(row.references[name]) + (tiles_html(row.found[name]) if name in row.found else "")


def _references(references: Sequence[str]) -> str:
    shown = [written_text(reference) for reference in references[:_MAX_REFERENCES]]
    more = len(references) - len(shown)
    if more:
        shown.append(f'<span class="mute small">and {more} more</span>')
    return f'<div class="reference"><span class="mute small">wanted</span><div>{"<br>".join(shown)}</div></div>'


def _history(outputs: Sequence[Output]) -> str:
    """What came out, the newest first; equal outputs of consecutive epochs together."""
    runs = [list(group) for _, group in itertools.groupby(outputs, key=lambda one: (one.value, one.is_right))]
    lines = [_line(run) for run in reversed(runs)]
    if len(lines) > _MAX_LINES:
        left_out = len(lines) - _MAX_LINES
        note = f'<tr><td></td><td class="mute small">{left_out} more are in samples.jsonl</td></tr>'
        lines = [*lines[: _MAX_LINES - _FIRST_LINES], note, *lines[-_FIRST_LINES:]]
    head = '<thead><tr><th scope="col">epoch</th><th scope="col">came out</th></tr></thead>'
    return f'<table class="history">{head}<tbody>{"".join(lines)}</tbody></table>'


def _line(run: Sequence[Output]) -> str:
    first, last = run[0], run[-1]
    epochs = f"{first.epoch}" if first.epoch == last.epoch else f"{first.epoch}–{last.epoch}"
    mark = {True: '<span class="good">✓</span> ', False: "", None: ""}[last.is_right]
    note = ""
    if last.probability is not None and math.isfinite(last.probability):
        note = f' <span class="mute small">{100 * last.probability:.0f}%</span>'
    return f'<tr><th scope="row">{epochs}</th><td>{mark}{written_text(last.value)}{note}</td></tr>'
