"""Persons on both sides of a split are counted, and what knowing them may be worth is told with its interval."""

from __future__ import annotations

import numpy as np
from audited import audit_input

from polysense.core.binomial import binomial_interval
from polysense.core.json import to_json
from polysense.evaluation.audit.known_groups import measure_known_groups
from polysense.reports.environment import render_section
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.reconstruction.record import ReconstructionTarget

LABEL = ClassificationTarget(name="y", columns=("y",), classes=("a", "b"), class_counts=(5, 5))
PERSONS = [f"p{i % 40}" for i in range(400)]
TRAINED = frozenset(f"p{i}" for i in range(20)) | {"p99"}


def judged(correct: np.ndarray) -> dict[str, np.ndarray]:
    truth = np.zeros(len(correct), dtype=np.int64)
    return {"present": np.ones(len(correct), dtype=bool), "truth": truth, "predicted": 1 - correct.astype(np.int64)}


def test_known_persons_are_counted_and_compared() -> None:
    draws = np.random.default_rng(0)
    known = np.array([person in TRAINED for person in PERSONS])
    for gap, says in ((0.35, "is better on them"), (0.0, "is not measurably better on them")):
        own = judged(draws.random(400) < np.where(known, 0.6 + gap, 0.6))
        part = measure_known_groups(audit_input(LABEL, own), {"speaker": (PERSONS, TRAINED)})
        assert part is not None
        (column,) = part.columns
        assert (column.num_persons, column.num_known, column.num_rows, column.num_new) == (40, 20, 200, 200)
        assert column.difference.low < column.difference.value < column.difference.high
        (sentence,) = part.findings()
        assert sentence.startswith(
            "speaker: 200 of 400 test rows are of 20 persons that training has seen; the model " + says
        )
        to_json(part.record())
        assert "Persons that training has seen" in str(render_section(part.section()))


def test_where_all_are_right_on_both_sides_twenty_persons_can_not_tell_that_there_is_no_gap() -> None:
    part = measure_known_groups(audit_input(LABEL, judged(np.ones(400, dtype=bool))), {"speaker": (PERSONS, TRAINED)})
    assert part is not None
    reach = binomial_interval(0, 20, 0.95)[1]
    difference = part.columns[0].difference
    assert (difference.low, difference.value, difference.high) == (-reach, 0.0, reach)


def test_where_all_are_known_the_score_says_little_and_where_none_is_there_is_no_part() -> None:
    own = judged(np.ones(400))
    part = measure_known_groups(audit_input(LABEL, own), {"speaker": (PERSONS, frozenset(PERSONS))})
    assert part is not None
    assert part.findings() == [
        "speaker: 400 of 400 test rows are of 40 persons that training has seen, so the score says little of new ones."
    ]
    assert "–" in str(render_section(part.section()))
    to_json(part.record())
    nobody: list[str | None] = [None] * 400
    for persons, trained in ((PERSONS, frozenset({"q"})), (nobody, TRAINED)):
        assert measure_known_groups(audit_input(LABEL, own), {"speaker": (persons, trained)}) is None
    space = ReconstructionTarget(name="y", columns=("a",))
    present = {"present": np.ones(400, dtype=bool)}
    assert measure_known_groups(audit_input(space, present), {"speaker": (PERSONS, TRAINED)}) is None
