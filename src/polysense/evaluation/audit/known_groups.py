"""KnownGroups: rows of persons that training has seen beside rows of others, for persons that lie in both parts.

Where a split takes a person's rows apart, part of a score is recognition: of the speaker, of the patient's other
picture. The difference between the rows of known and of new persons is what that may be worth. It comes from resampling
persons, and is no proof, for new persons may be harder in other ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polysense.core.json import JsonValue
from polysense.core.registry import task
from polysense.core.unsupported import Unsupported
from polysense.evaluation.audit.part import AuditInput, AuditPart
from polysense.evaluation.bootstrap import Interval, at_least_as_wide, interval, mean_over_rows, multiplicities
from polysense.evaluation.contribution_result import FEWEST_ROWS

__all__ = ["KnownColumn", "KnownGroups", "measure_known_groups"]


@dataclass(frozen=True, kw_only=True)
class KnownColumn:
    """A column that names persons.

    Attributes:
        column: Its name.
        num_persons: Of the scored rows.
        num_known: Those of them that training has seen.
        num_rows: Rows of persons that training has seen.
        num_new: Rows of others.
        known: The score of the former.
        new: The score of the latter; NaN where there are none.
        difference: The former less the latter; NaN likewise.
    """

    column: str
    num_persons: int
    num_known: int
    num_rows: int
    num_new: int
    known: Interval
    new: Interval
    difference: Interval

    def as_json(self) -> dict[str, JsonValue]:
        """For audit.json."""
        return {
            "column": self.column,
            "num_persons": self.num_persons,
            "num_known_persons": self.num_known,
            "num_known_rows": self.num_rows,
            "num_new_rows": self.num_new,
            "known": dict(self.known.as_json()),
            "new": dict(self.new.as_json()),
            "difference": dict(self.difference.as_json()),
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownGroups(AuditPart):
    """Persons on both sides of the split.

    Attributes:
        score: What rows are compared by, in words.
        higher_is_better: Its direction.
        split: The scored rows' name in words.
        columns: Those of which some person is on both sides.
    """

    name: ClassVar[str] = "known_groups"
    title: ClassVar[str] = "Persons that training has seen"
    template: ClassVar[str] = "audit_known_groups.html.j2"

    score: str
    higher_is_better: bool
    split: str
    columns: tuple[KnownColumn, ...]

    def record(self) -> Mapping[str, JsonValue]:
        return {
            "score": self.score,
            "higher_is_better": self.higher_is_better,
            "columns": [each.as_json() for each in self.columns],
        }

    def findings(self) -> Sequence[str]:
        results = []
        for each in self.columns:
            shared = (
                f"{each.column}: {each.num_rows:,} of {each.num_rows + each.num_new:,} {self.split} rows are of "
                f"{_persons(each.num_known)} that training has seen"
            )
            if min(each.num_rows, each.num_new) < FEWEST_ROWS or not each.difference.has_bounds:
                results.append(f"{shared}, so the score says little of new ones.")
                continue
            low, high = each.difference.low, each.difference.high
            scores = f"{self.score} {each.known.value:.3f}, on the others {each.new.value:.3f}"
            gap = f"{each.difference.value:+.3f}, {low:+.3f} to {high:+.3f}".replace("-", "−")
            is_better = low > 0 if self.higher_is_better else high < 0
            says = "better on them" if is_better else "not measurably better on them"
            results.append(f"{shared}; the model is {says}: {scores} ({gap}).")
        return results


def measure_known_groups(asked: AuditInput, columns: Mapping[str, tuple[Sequence[str | None], frozenset[str]]]) -> (
    KnownGroups | None
):  # fmt: skip
    """The part of one target; None where its task does not score single rows, or nobody is on both sides.

    Args:
        asked: What is audited.
        columns: By column the person of each evaluated row, None where it is missing, and those of training.
    """
    answer = task(asked.target.task).row_score
    if isinstance(answer, Unsupported):
        return None
    score = answer(asked.target, asked.statistics)
    measured = [
        each
        for name, (persons, trained) in columns.items()
        if (each := _column(asked, score.values, name, persons, trained)) is not None
    ]
    if not measured:
        return None
    return KnownGroups(
        target=asked.target.name,
        score=score.name,
        higher_is_better=score.higher_is_better,
        split=asked.split,
        columns=tuple(measured),
    )


def _column(
    asked: AuditInput, values: np.ndarray, name: str, persons: Sequence[str | None], trained: frozenset[str]
) -> KnownColumn | None:
    rows = np.flatnonzero(np.isfinite(values) & np.array([each is not None for each in persons], dtype=bool))
    own = [str(persons[int(row)]) for row in rows]
    known = np.array([each in trained for each in own], dtype=bool)
    if not known.any():
        return None
    scores = values[rows].astype(np.float64)
    nothing = Interval(float("nan"))
    results = {True: nothing, False: nothing}
    for side in results:
        if (known == side).any():
            results[side] = mean_over_rows(scores[known == side], asked.bootstrap, asked.seed, asked.confidence)
    difference = nothing
    if not known.all():
        _, codes = np.unique(own, return_inverse=True)
        drawn = [np.zeros(0)]
        for weights in multiplicities(len(own), asked.bootstrap, asked.seed, clusters=codes):
            with np.errstate(invalid="ignore"):  # a resample may lack one side
                sides = [(weights * each) @ scores / (weights * each).sum(axis=1) for each in (known, ~known)]
            drawn.append(sides[0] - sides[1])
        value = float(scores[known].mean() - scores[~known].mean())
        difference = interval(value, np.concatenate(drawn), asked.confidence)
        if difference.has_bounds and difference.low == difference.high:  # as where all are right on both sides
            fewest = min(len(set(own) & trained), len(set(own) - trained))
            difference = at_least_as_wide(difference, fewest, asked.confidence)
    return KnownColumn(
        column=name,
        num_persons=len(set(own)),
        num_known=len(set(own) & trained),
        num_rows=int(known.sum()),
        num_new=int((~known).sum()),
        known=results[True],
        new=results[False],
        difference=difference,
    )


def _persons(number: int) -> str:
    return f"{number:,} {'person' if number == 1 else 'persons'}"
