"""Sets of labels hold every label of a row as often as they promise, on rows that did not fit them."""

from __future__ import annotations

import numpy as np
from audited import audit_input

from polysense.core.metric import Statistics
from polysense.evaluation.audit.conformal import measure_conformal
from polysense.tasks.multilabel.conformal import outer_sets
from polysense.tasks.multilabel.record import MultilabelTarget

LABELS = MultilabelTarget(name="y", columns=("y",), classes=tuple("abcd"), class_counts=(5, 5, 5, 5))


def rows(number: int, seed: int) -> Statistics:
    """Rows whose labels come with the stated probabilities; some have no label."""
    probabilities = np.random.default_rng(seed).beta(0.6, 1.2, size=(number, 4)).astype(np.float32)
    truth = np.random.default_rng(seed + 1000).random((number, 4)) < probabilities
    return {
        "present": np.ones(number, dtype=bool),
        "truth": truth,
        "predicted": probabilities > 0.5,
        "probabilities": probabilities,
    }


def test_the_promise_holds_over_splits() -> None:
    shares = [float(np.mean(outer_sets(rows(200, seed), rows(200, seed + 500), 0.9).covered)) for seed in range(40)]
    assert 0.88 < np.mean(shares) < 0.92


def test_a_set_holds_a_row_if_it_holds_all_of_its_labels() -> None:
    fitted, judged = rows(400, 1), rows(50, 2)
    judged["truth"][0], judged["present"][1] = False, False
    sets = outer_sets(fitted, judged, 0.9)
    least = np.sort(
        [p[t].min() if t.any() else np.inf for p, t in zip(fitted["probabilities"], fitted["truth"], strict=True)]
    )
    threshold = least[len(least) - int(np.ceil(401 * 0.9))]
    assert sets.covered[0] == 1.0
    assert np.isnan(sets.covered[1])
    assert np.isnan(sets.sizes[1])
    for i in range(2, 50):
        inside = judged["probabilities"][i] >= threshold
        assert sets.sizes[i] == inside.sum()
        assert sets.covered[i] == float(inside[judged["truth"][i]].all())


def test_of_too_few_rows_every_label_is_in_the_set_and_the_audit_judges_them() -> None:
    assert (outer_sets(rows(5, 3), rows(20, 4), 0.9).sizes == 4).all()
    part = measure_conformal(audit_input(LABELS, rows(300, 5), calibration=rows(300, 6)))
    assert part is not None
    (sentence,) = part.findings()
    assert sentence.startswith("Sets that are to hold the truth in 90% hold it in ")
    assert sentence.endswith(" on average.")
    assert "labels in a set" in sentence
