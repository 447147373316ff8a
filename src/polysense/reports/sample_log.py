"""Log a few validation rows through a training: samples.html, samples.jsonl, train.log and TensorBoard.

A metric says that a model has got better, a row says at what. Rows are drawn once, when the first validation is done;
each epoch adds a line for each row and target and writes both files anew, a few hundred kilobytes, so that whoever
reads them never sees half of one. On the page predictions that stay the same are one line.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polysense.core.files import write_text
from polysense.core.json import write_json_lines
from polysense.core.logs import get_logger
from polysense.core.preview import CellPreview
from polysense.core.random import permutation
from polysense.core.registry import named, task
from polysense.core.report_section import ReportSection
from polysense.core.sample_output import SampleOutput
from polysense.core.schema import Target
from polysense.core.unsupported import Unsupported
from polysense.data.batches.dataset import TableDataset
from polysense.data.processor import Processor
from polysense.evaluation.evaluator import Evaluation
from polysense.reports.environment import render, render_section
from polysense.reports.neighbors import Tile, neighbor_tiles
from polysense.reports.numerals import percent
from polysense.reports.previews import preview_cell, preview_input
from polysense.training.callbacks.tensorboard import Samples

__all__ = ["Output", "SampleLog", "SampleRow", "is_marked", "outputs_of", "render_samples"]

_log = get_logger("polysense.reports")

_PAGE = "samples.html"
_MARK = 'name="delivered-epoch"'
_KEYS = {"epoch", "target", "row", "predicted", "correct", "references"}
_MAX_LINES = 40
_FIRST_LINES = 5
_MAX_REFERENCES = 5
_SHORT = 60  # characters of a cell in a line
_SHARE = 0.05  # of the time that drawing the page may take while epochs are short; the last page is always drawn


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


class SampleLog:
    """Shows the same rows after each epoch.

    Args:
        dataset: The rows to choose from.
        num_samples: How many are shown; 0 shows nothing.
        folder: The run's; gets samples.html and samples.jsonl.
        seed: Of the choice.
        resume: Whether to go on with what is in the folder's samples.jsonl.
        judged: The part of the delivered model whose predictions these are, as in `training.run.Run`.
    """

    def __init__(
        self,
        dataset: TableDataset,
        *,
        num_samples: int,
        folder: Path,
        seed: int,
        resume: bool = False,
        judged: str = "",
    ) -> None:
        assert isinstance(dataset.processor, Processor)
        self._dataset, self._processor, self._num_samples = dataset, dataset.processor, num_samples
        self._folder, self._seed, self._resume, self._judged = folder, seed, resume, judged
        self._positions: list[int] | None = None
        self._rows: list[SampleRow] = []
        self._images: dict[str, np.ndarray] = {}
        self._epoch = 0
        self._shown: dict[int, list[SampleRow]] = {}
        self._lines: list[dict[str, Any]] = []
        self._texts: dict[str, str] = {}
        self._written_at, self._cost = time.monotonic(), 0.0

    def add(self, evaluation: Evaluation, epoch: int) -> None:
        """Shows the predictions.

        Args:
            evaluation: Of all rows of the data set.
            epoch: From 1.
        """
        if not self._num_samples:
            return
        if self._positions is None:
            self._positions = self._choose(evaluation)
            self._rows = [self._drawn(position) for position in self._positions]
            self._lines = self._earlier(epoch) if self._resume else []
            if self._lines:
                self._images = {}  # TensorBoard has them
        self._texts = {}
        for number, position in enumerate(self._positions):
            self._rows[number] = self._preview(self._rows[number], evaluation, position, epoch)
        write_json_lines(self._folder / "samples.jsonl", self._lines)
        self._epoch, self._shown[epoch] = epoch, list(self._rows)
        started = time.monotonic()
        if started - self._written_at >= self._cost / _SHARE:
            self._write(None)
            self._written_at = time.monotonic()
            self._cost = self._written_at - started

    def finish(self, best_epoch: int | None) -> None:
        """Draws the page once more, with the epoch marked whose model is delivered, and its predictions shown.

        Args:
            best_epoch: From 1; None where the last one is.
        """
        if not self._num_samples:
            return
        if self._positions is None:  # nothing was validated here: the run was finished when it was resumed
            lines = self._earlier(sys.maxsize)
            if not lines or is_marked(self._folder / _PAGE):
                return
            self._epoch = max(line["epoch"] for line in lines)
            self._rows = self._drawn_again(lines)
        self._write(self._epoch if best_epoch is None else best_epoch)

    def _write(self, delivered: int | None) -> None:
        rows = self._rows
        if delivered is not None:
            # How a task draws the prediction is known of the epochs that were validated here.
            earlier = {row.row: row for row in self._shown.get(delivered, ())}
            rows = [
                replace(
                    row,
                    sections=earlier[row.row].sections if row.row in earlier else {},
                    neighbors=earlier[row.row].neighbors if row.row in earlier else {},
                )
                for row in rows
            ]
        filled_rows = [row for row in rows if row.outputs]
        if filled_rows:
            page = render_samples(self._title(), filled_rows, self._epoch, delivered, self._judged)
            write_text(self._folder / _PAGE, page)

    def _title(self) -> str:
        targets = ", ".join(target.name for target in self._processor.schema.targets)
        return f"{self._dataset.table.name}: predictions of {targets}"

    def _drawn_again(self, lines: Sequence[dict[str, Any]]) -> list[SampleRow]:
        """The rows of the lines, with their inputs, as far as they are in the table."""
        positions = {int(row): position for position, row in enumerate(self._dataset.table.rows)}
        rows = []
        for number in dict.fromkeys(line["row"] for line in lines):
            if number not in positions:
                continue
            own = [line for line in lines if line["row"] == number]
            names = dict.fromkeys(_name(line)[1] for line in own)
            rows.append(
                replace(
                    self._drawn(positions[number]),
                    references={_name(line)[1]: line["references"] for line in own},
                    outputs={name: [_output(line) for line in own if _name(line)[1] == name] for name in names},
                )
            )
        return rows

    def latest(self) -> Samples:
        """For TensorBoard; the images only once, since they stay the same."""
        images, self._images = self._images, {}
        return Samples(texts=self._texts, images=images)

    def _choose(self, evaluation: Evaluation) -> list[int]:
        """Positions in the evaluation: rows that have a target, in an order of chance."""
        present = np.any([statistics["present"] for statistics in evaluation.statistics.values()], axis=0)
        order = permutation(len(present), self._seed, "samples")
        return [int(i) for i in order[present[order]][: self._num_samples]]

    def _preview(self, row: SampleRow, evaluation: Evaluation, position: int, epoch: int) -> SampleRow:
        references, outputs = dict(row.references), {name: list(earlier) for name, earlier in row.outputs.items()}
        sections, neighbors = dict(row.sections), dict(row.neighbors)
        for target in evaluation.targets:
            for one in outputs_of(target, evaluation, position, self._dataset):
                name = f"{target.name}: {one.direction}" if one.direction else target.name
                if name not in outputs:
                    outputs[name] = [_output(line) for line in self._lines if _name(line) == (row.row, name)]
                line = _line(target.name, row.row, epoch, one)
                self._lines.append(line)
                outputs[name].append(_output(line))
                references[name] = one.references
                if one.section is not None:
                    sections[name] = one.section
                if one.nearest is not None:
                    neighbors[name] = neighbor_tiles(self._dataset, one.nearest)
                self._texts[f"row {row.row}/{name}"] = _markdown(one)
                if task(target.task).generates:
                    _log.info(
                        "epoch %d, %s, row %d: reference %r, generated %r",
                        epoch, target.name, row.row, one.references[0], one.value,
                    )  # fmt: skip
        return replace(row, references=references, outputs=outputs, sections=sections, neighbors=neighbors)

    def _earlier(self, epoch: int) -> list[dict[str, Any]]:
        """Lines of the epochs before this one; what a killed run wrote half is left out."""
        results = []
        try:
            text = (self._folder / "samples.jsonl").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return []
        for text_line in text.splitlines():
            try:
                line = json.loads(text_line)
            except ValueError:
                continue
            if isinstance(line, dict) and line.keys() >= _KEYS and line["epoch"] < epoch:
                results.append(line)
        return results

    def _drawn(self, position: int) -> SampleRow:
        """A row with its inputs."""
        table, sample = self._dataset.table, self._dataset[position]
        number = int(table.rows[position])
        inputs = []
        for column in self._processor.schema:
            cell = table.cell(position, column.table_column) if table.has(column.table_column) else None
            preview, image = preview_input(column, cell, sample)
            inputs.append(preview)
            if image is not None:
                self._images[f"row {number}/{column.name}"] = image
        return SampleRow(row=number, inputs=inputs)


def outputs_of(target: Target, evaluation: Evaluation, position: int, dataset: TableDataset) -> list[SampleOutput]:
    """Each prediction of a row's target; none where the row lacks it or there are no words for it."""
    where = task(target.task).sample_outputs
    if isinstance(where, Unsupported) or not evaluation.statistics[target.name]["present"][position]:
        return []
    outputs = named(where)(target, evaluation, position, dataset)
    assert isinstance(outputs, list), f"{where}: gives a {type(outputs).__name__}, not outputs"
    return [_in_words(output, dataset) for output in outputs]


def _in_words(output: SampleOutput, dataset: TableDataset) -> SampleOutput:
    """A search with the cells in words, as far as they have any."""
    if output.nearest is None:
        return output
    nearest = output.nearest
    cells = "; ".join(_words(dataset, nearest.column, row) for row in nearest.rows)
    reference = _words(dataset, nearest.column, nearest.position)
    return replace(output, references=[reference], value=f"{output.value}: {cells}")


def _words(dataset: TableDataset, name: str, position: int) -> str:
    """A cell's text, or the number of its row."""
    preview = preview_cell(dataset.schema.column(name), dataset.table, position, dataset[position])
    if not preview.texts:
        return f"row {dataset.table.rows[position]}"
    text = " ".join(preview.texts[0].split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


def _line(target: str, row: int, epoch: int, one: SampleOutput) -> dict[str, Any]:
    """A line of samples.jsonl."""
    return {
        "epoch": epoch,
        "target": target,
        "row": row,
        **({"direction": one.direction} if one.direction else {}),
        "references": list(one.references),
        "predicted": one.value,
        **({} if one.probability is None else {"probability": round(one.probability, 4)}),
        "correct": one.is_correct,
    }


def _name(line: dict[str, Any]) -> tuple[int, str]:
    """The row and the output that a line is of."""
    direction = line.get("direction")
    return line["row"], f"{line['target']}: {direction}" if direction else line["target"]


def _output(line: dict[str, Any]) -> Output:
    """The other way round."""
    return Output(
        epoch=line["epoch"],
        value=str(line["predicted"]),
        probability=line.get("probability"),
        is_correct=line["correct"],
    )


def _markdown(one: SampleOutput) -> str:
    """For TensorBoard, literally: indented lines are code."""
    parts = []
    for title, texts in (("target", one.references), ("prediction", [one.value])):
        lines = [line for text in texts for line in (text.splitlines() or [""])]
        parts.append(f"{title}\n\n" + "\n".join(f"    {line}" for line in lines))
    return "\n\n".join(parts)


class _Line(NamedTuple):
    """Consecutive epochs ("3", "1–5") with one prediction, the newest of them, its probability in percent, and the one
    among them whose model is delivered."""

    epochs: str
    last: Output
    probability: str
    delivered: int | None

    @staticmethod
    def of(run: Sequence[Output], delivered: int | None) -> _Line:
        first, last = run[0], run[-1]
        epochs = f"{first.epoch}" if first.epoch == last.epoch else f"{first.epoch}–{last.epoch}"
        share = "" if last.probability is None else percent(last.probability, 0)
        mark = delivered if delivered is not None and first.epoch <= delivered <= last.epoch else None
        return _Line(epochs, last, "" if share == "–" else share, mark)


def is_marked(page: Path) -> bool:
    """Whether a page of samples has its delivered epoch marked."""
    try:
        return _MARK in page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def render_samples(
    title: str, rows: Sequence[SampleRow], epoch: int, delivered: int | None = None, judged: str = ""
) -> str:
    """The whole page of a run as HTML.

    Args:
        title: Of the page.
        rows: With their predictions.
        epoch: The last one.
        delivered: The epoch whose model is delivered; None while it is not known.
        judged: The part of it whose predictions these are; "" for all of it.
    """
    return render(
        "samples.html.j2",
        title=title,
        rows=rows,
        epoch=epoch,
        delivered=delivered,
        judged=judged,
        sections=[{name: render_section(one) for name, one in row.sections.items()} for row in rows],
        history=lambda outputs: _history(outputs, delivered),
        max_references=_MAX_REFERENCES,
    )


def _history(outputs: Sequence[Output], delivered: int | None) -> tuple[list[_Line], int, list[_Line]]:
    """The predictions, the newest first: latest lines, how many are left out, first lines; the delivered one always."""
    groups = itertools.groupby(outputs, key=lambda one: (one.value, one.is_correct))
    lines = [_Line.of(list(group), delivered) for _, group in groups][::-1]
    if len(lines) <= _MAX_LINES:
        return lines, 0, []
    between = lines[_MAX_LINES - _FIRST_LINES : -_FIRST_LINES]
    if marked := [line for line in between if line.delivered is not None]:
        return lines[: _MAX_LINES - _FIRST_LINES - 1], len(between), [*marked, *lines[-_FIRST_LINES:]]
    return lines[: _MAX_LINES - _FIRST_LINES], len(lines) - _MAX_LINES, lines[-_FIRST_LINES:]
