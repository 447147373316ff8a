"""RowSpec: a task whose target is read from columns of its own, such as a class, a number or a text.

Most questions of `TaskSpec` are about targets that lie in an input column, or that are the input columns themselves.
With this base a task answers what is left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polysense.core.sample import Sample
from polysense.core.task_spec import Arrays, T, TaskSpec
from polysense.core.unsupported import Unsupported

__all__ = ["RowSpec"]


class RowSpec(TaskSpec[T], is_base=True):
    """Answers what is the same for all of them; override what should be otherwise."""

    truth = "polysense.core.batch:ValueTruth"
    generates = False
    has_column = True
    has_classes = False
    searches = Unsupported("no column is embedded for others to find")
    reconstructions = Unsupported("no column is decoded from a code")

    def nothing(self, target: T, num_rows: int) -> np.ndarray:
        """What a batch holds of rows that lack the target, [rows, ...]; a task that pads values overrides `collate`."""
        raise AssertionError(f"{type(self).__name__} says neither what a missing value is nor how values are collated")

    def collate(
        self, target: T, samples: Sequence[Sample], num_rows: int, *, all_references: bool, prompt_length: int
    ) -> Arrays:
        values, present = self.nothing(target, num_rows), np.zeros(num_rows, dtype=bool)
        for row, sample in enumerate(samples):
            if (value := sample.targets.get(target.name)) is not None:
                values[row], present[row] = value, True
        return {"values": values, "present": present}

    def absence(self, target: T) -> str:
        return f"no {target.name}"

    def lies_in(self, target: T) -> str | None:
        return None

    def masked_groups(self, target: T) -> Sequence[tuple[str, ...]]:
        return ()
