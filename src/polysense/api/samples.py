"""A few validation rows through a training: samples.html, samples.jsonl, train.log and TensorBoard.

The inputs are drawn once, when the first validation is done; each epoch adds a line for each row and target and writes
both files anew, a few hundred kilobytes, so that whoever reads them never sees half of one.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polysense.core.modality import Modality, Task
from polysense.core.random import permutation
from polysense.core.sample import Sample
from polysense.core.schema import Column
from polysense.data.dataset import TableDataset
from polysense.data.decode.video import even_positions
from polysense.data.preview import as_jpeg, as_playable, spectrogram_picture, strip, thumbnail
from polysense.data.processor import Processor
from polysense.evaluation.evaluator import Evaluation
from polysense.evaluation.samples import Input, Output, SampleRow, output_of, render_samples
from polysense.training.callbacks.tensorboard import Samples

__all__ = ["SampleLog"]

_log = logging.getLogger("polysense.api")

_MAX_PICTURES = 8
_MAX_SOUNDS = 3
_MAX_TEXTS = 20


class SampleLog:
    """Shows the same rows after each epoch.

    Args:
        dataset: The rows to choose from.
        num_samples: How many are shown; 0 shows nothing.
        folder: The run's; gets samples.html and samples.jsonl.
        seed: Of the choice.
        resume: Whether to go on with what is in the folder's samples.jsonl.
    """

    def __init__(
        self, dataset: TableDataset, *, num_samples: int, folder: Path, seed: int, resume: bool = False
    ) -> None:
        assert isinstance(dataset.processor, Processor)
        self._dataset, self._processor, self._num_samples = dataset, dataset.processor, num_samples
        self._folder, self._seed, self._resume = folder, seed, resume
        self._positions: list[int] | None = None
        self._rows: list[SampleRow] = []
        self._pictures: dict[str, np.ndarray] = {}
        self._lines: list[dict[str, Any]] = []
        self._texts: dict[str, str] = {}

    def add(self, evaluation: Evaluation, epoch: int) -> None:
        """Shows what came out.

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
        self._texts = {}
        for number, position in enumerate(self._positions):
            self._rows[number] = self._shown(self._rows[number], evaluation, position, epoch)
        _write(
            self._folder / "samples.jsonl",
            "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self._lines),
        )
        shown = [row for row in self._rows if row.outputs]
        if shown:
            _write(self._folder / "samples.html", render_samples(self._folder.name, shown, epoch))

    def latest(self) -> Samples:
        """For TensorBoard; the pictures only once, since they stay the same."""
        pictures, self._pictures = self._pictures, {}
        return Samples(texts=self._texts, pictures=pictures)

    def _choose(self, evaluation: Evaluation) -> list[int]:
        """Positions in the evaluation: rows that have a target, in an order of chance."""
        present = np.any([truth.present for truth in evaluation.truths.values()], axis=0)
        order = permutation(len(present), self._seed, "samples")
        return [int(i) for i in order[present[order]][: self._num_samples]]

    def _shown(self, row: SampleRow, evaluation: Evaluation, position: int, epoch: int) -> SampleRow:
        references, outputs = dict(row.references), {name: list(found) for name, found in row.outputs.items()}
        for target in evaluation.targets:
            found = output_of(target, evaluation, position, epoch, self._processor.targets[target.name].render)
            if found is None:
                continue
            wanted, output = found
            if target.name not in outputs:
                outputs[target.name] = [
                    _output(line) for line in self._lines if line["row"] == row.row and line["target"] == target.name
                ]
            references[target.name] = wanted
            outputs[target.name].append(output)
            self._lines.append(_line(target.name, target.task, row.row, wanted, output))
            self._texts[f"row {row.row}/{target.name}"] = _markdown(wanted, output)
            if target.task is Task.GENERATION:
                _log.info(
                    "epoch %d, %s, row %d: reference %r, written %r",
                    epoch, target.name, row.row, wanted[0], output.value,
                )  # fmt: skip
        return dataclasses.replace(row, references=references, outputs=outputs)

    def _earlier(self, epoch: int) -> list[dict[str, Any]]:
        """Lines of the epochs before this one; what a killed run wrote half is left out."""
        found = []
        try:
            text = (self._folder / "samples.jsonl").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return []
        for written in text.splitlines():
            try:
                line = json.loads(written)
            except ValueError:
                continue
            if isinstance(line, dict) and {"epoch", "target", "row"} <= line.keys() and line["epoch"] < epoch:
                found.append(line)
        return found

    def _drawn(self, position: int) -> SampleRow:
        """A row with its inputs."""
        table, sample = self._dataset.table, self._dataset[position]
        number = int(table.rows[position])
        inputs = []
        for column in self._processor.schema:
            cell = table.cell(position, column.table_column) if table.has(column.table_column) else None
            shown, picture = _input(column, cell, sample)
            inputs.append(shown)
            if picture is not None:
                self._pictures[f"row {number}/{column.name}"] = picture
        return SampleRow(row=number, inputs=inputs)


def _input(column: Column, cell: object, sample: Sample) -> tuple[Input, np.ndarray | None]:
    """An input as it is shown, and its picture for TensorBoard."""
    name, items = column.name, sample.values.get(column.name, [])
    if not items:
        reason = next((cell.reason for cell in sample.unreadable if cell.source.column == name), None)
        note = "missing" if reason is None else f"can't be read: {reason}"
        return Input(column=name, note=note, is_absent=True), None
    if column.modality is Modality.IMAGE:
        pictures = [thumbnail(items[i]) for i in even_positions(len(items), _MAX_PICTURES)]
        note = f"{len(pictures)} of {len(items)} pictures" if len(items) > len(pictures) else ""
        return Input(column=name, pictures=list(map(as_jpeg, pictures)), note=note), strip(pictures)
    if column.modality is Modality.AUDIO:
        assert column.sample_rate is not None
        pictures = [spectrogram_picture(item) for item in items[:_MAX_SOUNDS]]
        sounds = [as_playable(item, column.sample_rate) for item in items[:_MAX_SOUNDS]]
        seconds = ", ".join(f"{len(item) / column.sample_rate:.1f} s" for item in items[:_MAX_SOUNDS])
        note = seconds + (f", and {len(items) - _MAX_SOUNDS} more" if len(items) > _MAX_SOUNDS else "")
        files = list(map(as_jpeg, pictures))
        return Input(column=name, pictures=files, sounds=[s for s in sounds if s], note=note), strip(pictures)
    cells = [part for part in cell if part is not None] if isinstance(cell, list) else [cell]
    note = f"and {len(cells) - _MAX_TEXTS} more" if len(cells) > _MAX_TEXTS else ""
    texts = [f"{part:.6g}" if isinstance(part, float) else str(part) for part in cells[:_MAX_TEXTS]]
    return Input(column=name, texts=texts, note=note), None


def _line(target: str, task: Task, row: int, wanted: Sequence[str], output: Output) -> dict[str, Any]:
    """A line of samples.jsonl."""
    line: dict[str, Any] = {"epoch": output.epoch, "target": target, "row": row}
    if task is Task.GENERATION:
        return {**line, "references": list(wanted), "written": output.value}
    line |= {"truth": wanted[0], "predicted": output.value}
    return line if output.probability is None else {**line, "probability": round(output.probability, 4)}


def _output(line: dict[str, Any]) -> Output:
    """The other way round."""
    if "written" in line:
        is_right = line["written"] in line.get("references", ())
        return Output(epoch=line["epoch"], value=str(line["written"]), is_right=is_right)
    probability, value = line.get("probability"), str(line.get("predicted", ""))
    # A number is neither right nor wrong.
    right = None if probability is None and value != line.get("truth") else value == line.get("truth")
    return Output(epoch=line["epoch"], value=value, probability=probability, is_right=right)


def _markdown(wanted: Sequence[str], output: Output) -> str:
    """For TensorBoard, literally: indented lines are code."""
    parts = []
    for title, texts in (("wanted", wanted), ("came out", [output.value])):
        lines = [line for one in texts for line in (one.splitlines() or [""])]
        parts.append(f"{title}\n\n" + "\n".join(f"    {line}" for line in lines))
    return "\n\n".join(parts)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(content, encoding="utf-8")
    os.replace(part, path)  # noqa: PTH105 - the atomic one
