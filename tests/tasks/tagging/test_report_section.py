"""Segments in the report."""

from __future__ import annotations

import numpy as np

from polysense.core.sample import Sample
from polysense.core.schema import Schema
from polysense.data.batches.dataset import TableDataset
from polysense.data.tables.sources import Table, read_table
from polysense.evaluation.evaluator import score
from polysense.tasks.tagging.record import TaggingTarget
from polysense.tasks.tagging.report_section import report_sections

TARGET = TaggingTarget(name="tags", columns=("tags",), classes=("PER",), over="text", class_lengths=(0.1,))


class Untouched:
    """Preprocessing that is not needed."""

    schema = Schema(columns=(), targets=(TARGET,))

    def prepared(self, table: Table) -> Table:
        return table

    def transform(self, table: Table, i: int, *, with_targets: bool, stored: object = None) -> Sample:
        raise AssertionError

    def add_features(self, sample: Sample, table: Table, i: int) -> None:
        raise AssertionError


def test_rows_of_a_part_have_the_tables_numbers() -> None:
    segments = np.empty(3, dtype=object)
    segments[:] = [np.zeros((0, 4))] * 3
    statistics = {
        "present": np.ones(3, dtype=bool), "length": np.full(3, 4.0), "truth": segments, "predicted": segments,
    }  # fmt: skip
    evaluation = score([TARGET], np.arange(3), {"tags": statistics}, bootstrap=0)
    part = read_table({"text": list("abcdefgh")}).select([2, 5, 7])
    (section,) = report_sections(TARGET, evaluation, None, TableDataset(part, Untouched()))
    timelines = section.values["timelines"]
    assert isinstance(timelines, list)
    assert sorted(line.row for line in timelines) == [2, 5, 7]
