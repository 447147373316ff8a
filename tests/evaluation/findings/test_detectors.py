"""Every detector finds its planted fault in the right rows, and tables without a fault stay silent."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from checked_tables import PARTS, checked_table, clean_table, with_signatures

from polysense.core.finding import Finding, Severity
from polysense.core.likeness import agreement
from polysense.core.sample import SourceInfo, Unreadable
from polysense.evaluation.findings.checked import CheckedTable, ColumnRead, Probabilities
from polysense.evaluation.findings.detectors import DETECTORS, detect_all
from polysense.evaluation.findings.row_groups import connected, groups_of_keys
from polysense.evaluation.findings.two_samples import bins_of, separation, separation_by_bins

NUM = 120


def found(checked: CheckedTable, kind: str) -> list[Finding]:
    return [finding for finding in detect_all(checked) if finding.kind == kind]


def numbers(seed: int = 0, num: int = NUM) -> list[float]:
    return np.random.default_rng(seed).normal(size=num).tolist()


def halves(num: int = NUM) -> list[str]:
    return ["train" if i % 3 else "test" for i in range(num)]


def test_equal_rows_within_and_across_parts() -> None:
    a, b = numbers(0), numbers(1)
    for i, j in ((4, 7), (5, 9), (1, 30)):  # both train; train and test twice
        a[j], b[j] = a[i], b[i]
    checked = checked_table({"a": ("number", a), "b": ("number", b)}, parts=halves())
    (across,) = found(checked, "duplicates_across_splits")
    assert across.rows == (9, 30)
    assert across.severity is Severity.WARNING
    (within,) = found(checked, "duplicates")
    assert within.rows == (7,)
    assert within.severity is Severity.INFO


def test_rows_of_a_few_categories_are_equal_by_chance() -> None:
    draw = np.random.default_rng(0)
    cells = {f"x{j}": ("category", draw.choice(list("abc"), NUM).tolist()) for j in range(3)}
    assert not found(checked_table(cells, parts=halves()), "duplicates_across_splits")


def test_long_texts_are_no_copies_by_chance_and_short_ones_are() -> None:
    texts = [f"this is sentence {i} about something that is {i * i} times as long" for i in range(NUM)]
    texts[30], texts[33] = texts[1], "yes"
    texts[2] = "yes"
    (finding,) = found(checked_table({"text": ("text", texts)}, parts=halves()), "duplicates_across_splits")
    assert finding.rows == (30,)


def signatures(num: int = NUM, size: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), (num, size))


def test_near_copies_and_their_labels() -> None:
    signs = signatures()
    for i, j in ((4, 7), (1, 30)):
        signs[j] = signs[i]
        signs[j, :12] *= -1
    files = [f"{i}.png".encode() * (i + 1) for i in range(NUM)]
    labels = ["a" if i % 2 else "b" for i in range(NUM)]
    checked = with_signatures(checked_table({"photo": ("image", files)}, labels, halves()), "photo", signs)
    assert found(checked, "near_duplicates_across_splits")[0].rows == (30,)
    assert found(checked, "near_duplicates")[0].rows == (7,)
    assert found(checked, "conflicting_labels")[0].rows == (1, 4, 7, 30)
    assert not found(checked, "shared_cells")  # the whole rows are copies
    more = checked_table({"photo": ("image", files), "x": ("number", numbers())}, labels, halves())
    more = with_signatures(more, "photo", signs)
    assert not found(more, "near_duplicates")
    assert not found(more, "conflicting_labels")
    (shared,) = found(more, "shared_cells")
    assert (shared.columns, shared.rows) == (("photo",), (30,))


def test_alike_cells_are_no_copies_where_all_are() -> None:
    base = signatures(1)[0]
    signs = np.tile(base, (NUM, 1))
    flips = np.random.default_rng(1).random(signs.shape) < 0.05  # any two agree in nine of ten signs
    signs[flips] *= -1
    files = [f"{i}.png".encode() * (i + 1) for i in range(NUM)]
    checked = with_signatures(checked_table({"photo": ("image", files)}, parts=halves()), "photo", signs)
    assert not found(checked, "near_duplicates")


def test_conflicting_labels_of_equal_rows() -> None:
    a, b = numbers(0), numbers(1)
    a[7], b[7] = a[4], b[4]
    labels = ["x" if i % 2 else "y" for i in range(NUM)]
    (finding,) = found(checked_table({"a": ("number", a), "b": ("number", b)}, labels), "conflicting_labels")
    assert finding.rows == (4, 7)
    labels[7] = labels[4]
    assert not found(checked_table({"a": ("number", a), "b": ("number", b)}, labels), "conflicting_labels")


def test_groups_in_several_parts() -> None:
    groups = np.array([i % 3 + 3 * (i // 12) for i in range(NUM)])  # i % 3 says the part, too
    checked = checked_table({"a": ("number", numbers())}, parts=halves(), groups={"session": groups})
    assert not found(checked, "shared_groups")
    groups = groups.copy()
    groups[3] = groups[1]
    (finding,) = found(dataclasses.replace(checked, groups={"session": groups}), "shared_groups")
    assert finding.columns == ("session",)
    assert 3 in finding.rows
    assert "data.split.column=session" in finding.action


def test_rare_classes_and_those_that_are_never_trained() -> None:
    labels = ["a", "b"] * (NUM // 2)
    labels[4], labels[0] = "rare", "new"
    checked = checked_table({"a": ("number", numbers())}, labels, halves())
    assert found(checked, "rare_class")[0].rows == (0, 4)
    assert found(checked, "class_not_trained")[0].rows == (0,)


@pytest.mark.parametrize("kind", ["number", "category", "missing", "vectors"])
def test_a_test_that_differs_from_training(kind: str) -> None:
    draw = np.random.default_rng(3)
    num = 600
    parts = halves(num)
    other = np.array(parts) == "test"
    cells: dict[str, tuple[str, list[object]]] = {"same": ("number", numbers(5, num)), "x": ("number", numbers(6, num))}
    if kind == "number":
        cells["x"] = ("number", (draw.normal(size=num) + 2.0 * other).tolist())
    elif kind == "category":
        cells["x"] = ("category", np.where(draw.random(num) < 0.2 + 0.6 * other, "a", "b").tolist())
    elif kind == "missing":
        gone = draw.random(num) < 0.05 + 0.6 * other
        cells["x"] = ("number", [None if g else v for g, v in zip(gone, numbers(6, num), strict=True)])
    else:
        cells["x"] = ("image", [bytes([i % 256]) * (i + 1) for i in range(num)])
    checked = checked_table(cells, parts=parts)
    if kind == "vectors":
        vectors = draw.normal(size=(num, 30)).astype(np.float32)
        vectors[:, 3] += 2.0 * other
        columns = []
        for column in checked.columns:
            if column.name == "x":
                column = dataclasses.replace(column, read=ColumnRead(positions=np.arange(num), features=vectors))
            columns.append(column)
        checked = dataclasses.replace(checked, columns=columns)
    assert [finding.columns for finding in found(checked, "drift")] == [("x",)]
    assert not found(dataclasses.replace(checked, is_drawn=True), "drift")


def test_a_few_groups_are_no_evidence_of_drift() -> None:
    groups = np.array([i % 6 for i in range(600)])
    parts = ["test" if group > 2 else "train" for group in groups]
    levels = np.random.default_rng(0).normal(size=6)[groups]
    cells = {"x": ("number", (levels + 0.1 * np.array(numbers(1, 600))).tolist())}
    assert not found(checked_table(cells, parts=parts, clusters=groups), "drift")


def test_properties_that_predict_the_class() -> None:
    draw = np.random.default_rng(0)
    labels = np.array(["a", "b"])[draw.integers(0, 2, NUM)]
    checked = checked_table({"photo": ("image", [bytes([i]) * (i + 1) for i in range(NUM)])}, labels.tolist())
    bright = draw.normal(size=NUM) + 3.0 * (labels == "a")
    (column,) = checked.columns
    numbers_of = {"brightness": bright, "contrast": draw.normal(size=NUM)}
    formats = ((labels == "a").astype(np.int64), ("jpg", "png"))
    told = dataclasses.replace(column, numbers=numbers_of, properties={"the file's format": formats})
    (finding,) = found(dataclasses.replace(checked, columns=[told]), "spurious_property")
    assert finding.message.startswith("photo: the file's format predicts label: ")
    assert finding.message.endswith("; so does brightness")
    assert "of 'png' 100% are 'a'" in finding.message or "of 'jpg' 100% are 'b'" in finding.message
    assert "contrast" not in finding.message
    gone = [None if label == "a" and i % 5 else 1.0 * i for i, label in enumerate(labels)]
    (missing,) = found(checked_table({"x": ("number", gone)}, labels.tolist()), "spurious_property")
    assert "whether it is missing" in missing.message


def test_wrong_labels_are_found_and_overlapping_classes_are_not_accused() -> None:
    num, accused = 400, 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        logits = draw.normal(size=(num, 3)) * 2.0
        exponents = np.exp(logits)
        values = exponents / exponents.sum(axis=1, keepdims=True)
        drawn = np.array([draw.choice(3, p=row) for row in values])  # labels as uncertain as the model says
        names = ["abc"[i] for i in drawn]
        known = Probabilities(positions=np.arange(num), values=values, words="a test")
        checked = checked_table({"x": ("number", numbers(seed, num))}, names, probabilities={"label": known})
        accused += bool(found(checked, "label_error"))
    assert accused <= 1
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 3, num)
    logits = draw.normal(size=(num, 3)) + 6.0 * np.eye(3)[truth]
    exponents = np.exp(logits)
    values = exponents / exponents.sum(axis=1, keepdims=True)
    wrong = np.arange(0, num, 25)
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    known = Probabilities(positions=np.arange(num), values=values, words="a test")
    checked = checked_table(
        {"x": ("number", numbers(0, num))}, ["abc"[i] for i in labels], probabilities={"label": known}
    )
    (finding,) = found(checked, "label_error")
    assert set(wrong) - set(finding.rows) == set()
    assert len(finding.rows) <= len(wrong) + 3


def test_missing_and_unreadable_cells() -> None:
    cells = {"x": ("number", [1.5 * i if i % 4 == 0 else None for i in range(NUM)])}
    broken = [
        Unreadable(source=SourceInfo(table="table", row=i, column="photo"), reason="is cut short") for i in (3, 5)
    ]
    checked = checked_table(cells, unreadable=broken, num_tried=NUM)
    assert found(checked, "mostly_missing")[0].columns == ("x",)
    (finding,) = found(checked, "unreadable")
    assert finding.rows == (3, 5)
    assert "is cut short (2)" in finding.message


def test_tables_without_a_fault_stay_silent() -> None:
    num = 150
    loud = [
        (seed, finding)
        for seed in range(num)
        for finding in detect_all(clean_table(seed))
        if finding.kind != "mostly_missing"
    ]
    assert len({seed for seed, _ in loud}) <= 0.05 * num, loud


def test_an_empty_and_a_tiny_table() -> None:
    for num in (0, 1, 2):
        cells = {"a": ("number", [0.5] * num), "t": ("text", ["a long text that says something of its own"] * num)}
        parts = list(PARTS[:num])
        for finding in detect_all(checked_table(cells, ["x"] * num, parts)):
            assert finding.kind in ("rare_class", "duplicates_across_splits", "class_not_trained")


def test_separation_is_calibrated() -> None:
    draw = np.random.default_rng(0)
    p_values = []
    for seed in range(200):
        second = draw.random(200) < 0.3
        p_values.append(separation_by_bins(bins_of(draw.normal(size=200)), second, seed, (140, 60)).p_value)
    assert np.mean(np.array(p_values) < 0.05) <= 0.09
    second = draw.random(400) < 0.5
    apart = separation(draw.normal(size=(400, 5)) + 1.5 * second[:, None], second, 0, (200, 200))
    assert apart.area > 0.9
    assert apart.p_value < 1e-6


def test_groups() -> None:
    assert [group.tolist() for group in groups_of_keys(np.array([3, -1, 3, 1, -1, 1, 3]))] == [[0, 2, 6], [3, 5]]
    assert [group.tolist() for group in connected(np.array([[0, 4], [4, 2], [1, 3]]))] == [[0, 2, 4], [1, 3]]
    signs = np.array([[1, -1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]], dtype=np.int8)
    assert agreement(signs, signs)[0].tolist() == [1.0, pytest.approx(1 / 3), 0.0]


def test_every_kind_is_named_once() -> None:
    kinds = [kind for detector in DETECTORS for kind in detector.kinds]
    assert len(kinds) == len(set(kinds))
