"""Agreement, checked against published figures."""

from __future__ import annotations

import numpy as np
import pytest

from polysense.core.editor import Editor, EditorRequest
from polysense.data.editors import ChoiceEditor, ChoicesEditor, NumberEditor
from polysense.workflows.labeling.agreement import agreement, cohens_kappa, krippendorffs_alpha

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: 4 observers, 12 units.
MATRIX = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
UNITS = [[value for value in unit if value is not None] for unit in zip(*MATRIX, strict=True)]
CLASSES = ChoiceEditor(EditorRequest(target="y", classes=["1", "2", "3", "4", "5"]))


def test_alpha_of_the_published_example() -> None:
    nominal, (low, high) = krippendorffs_alpha([[str(value) for value in unit] for unit in UNITS], CLASSES)
    assert nominal == pytest.approx(0.743, abs=5e-4)
    assert low < nominal < high
    interval, _ = krippendorffs_alpha(
        [[float(v) for v in unit] for unit in UNITS], NumberEditor(EditorRequest(target="y"))
    )
    assert interval == pytest.approx(0.849, abs=5e-4)


def test_kappa_of_the_textbook_example() -> None:
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)
    assert cohens_kappa([("yes", "yes")] * 3) is None
    assert cohens_kappa([]) is None


def test_alpha_of_chance_of_one_label_and_of_nothing() -> None:
    draws = np.random.default_rng(0).choice(["1", "2"], (400, 2)).tolist()
    alpha, (low, high) = krippendorffs_alpha(draws, CLASSES)
    assert low < 0 < high
    assert abs(alpha) < 0.12
    assert krippendorffs_alpha([["1", "1"], ["1", "1"]], CLASSES) == (None, None)
    assert krippendorffs_alpha([["1"], []], CLASSES) == (None, None)


@pytest.mark.parametrize("editor", [CLASSES, NumberEditor(EditorRequest(target="y"))])
def test_annotators_who_agree_have_an_alpha_of_one(editor: Editor) -> None:
    labels = [editor.parse(str(1 + i % 3)) for i in range(12)]
    result = agreement([{"ann": label, "bob": label, "zoe": label} for label in labels], editor)
    assert result.alpha == 1
    assert result.interval == (1, 1)
    assert [(pair.first, pair.second, pair.num_rows, pair.share) for pair in result.pairs] == [
        ("ann", "bob", 12, 1), ("ann", "zoe", 12, 1), ("bob", "zoe", 12, 1),
    ]  # fmt: skip
    assert {pair.kappa for pair in result.pairs} == ({1.0} if editor.is_nominal else {None})


def test_sets_that_overlap_agree_in_part() -> None:
    editor = ChoicesEditor(EditorRequest(target="y", classes=["a", "b", "c"]))
    near = [[["a", "b"], ["a"]], [["c"], ["c"]], [["b"], ["b", "c"]], [["a"], ["a"]]]
    far = [[["a"], ["c"]], [["c"], ["a"]], [["b"], ["c"]], [["a"], ["a"]]]
    assert 0.4 < krippendorffs_alpha(near, editor)[0] < 1
    assert krippendorffs_alpha(far, editor)[0] < 0.2
