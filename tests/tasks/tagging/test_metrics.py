"""Metrics of segments, against seqeval and by hand."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_statistics import statistics_of

from polysense.core.schema import Target
from polysense.tasks.tagging.metrics import match_events, tagging_metrics, tagging_primary
from polysense.tasks.tagging.record import TaggingTarget
from polysense.tasks.tagging.segments import segments_of_tags
from polysense.tasks.tagging.spec import SPEC

CLASSES = ("LOC", "ORG", "PER")
TEXT = TaggingTarget(
    name="tags", columns=("tags",), classes=CLASSES, over="text", boundaries=True,
    class_lengths=(0.1, 0.1, 0.1),
)  # fmt: skip
AUDIO = TaggingTarget(
    name="events", columns=("events",), classes=("a", "b"), over="clip", units_per_second=100.0,
    class_lengths=(0.1, 0.1),
)  # fmt: skip


def records(rows: list[list[tuple[float, float, int]]], lengths: list[float], width: int) -> np.ndarray:
    most = max([0, *map(len, rows)])
    values = np.zeros((len(rows), 1 + most, width))
    values[:, :, 2] = -1
    for i, row in enumerate(rows):
        values[i, 0, 1] = lengths[i]
        for j, segment in enumerate(row):
            values[i, 1 + j, :3] = segment
    return values


def scores(
    target: Target,
    true: list[list[tuple[float, float, int]]],
    found: list[list[tuple[float, float, int]]],
    lengths: list[float],
    weights: np.ndarray | None = None,
) -> dict[str, float]:
    prediction = {"values": torch.from_numpy(records(found, lengths, 4)).float()}
    statistics = statistics_of(target, prediction, records(true, lengths, 3).astype(np.float32))
    values = SPEC.scorer(target, statistics)(np.ones((1, len(true))) if weights is None else weights)
    assert list(values) == [info.name for info in tagging_metrics(target)]
    return {name: float(value[0]) for name, value in values.items()}


def parsed(tags: list[str]) -> list[tuple[float, float, int]]:
    return [(start, end, CLASSES.index(name)) for start, end, name in segments_of_tags(tags, strict=True)]


TAGS = ["O", *(f"{prefix}-{name}" for prefix in "BI" for name in CLASSES)]


def _tags(length: int) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(TAGS), min_size=length, max_size=length)


PAIRS = st.integers(1, 9).flatmap(lambda length: st.tuples(_tags(length), _tags(length)))


@settings(max_examples=80, deadline=None)
@given(st.lists(PAIRS, min_size=1, max_size=5))
def test_entities_are_counted_as_seqeval_does(pairs: list[tuple[list[str], list[str]]]) -> None:
    seqeval: Any = importlib.import_module("seqeval.metrics")
    scheme: Any = importlib.import_module("seqeval.scheme").IOB2
    true, found = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ours = scores(TEXT, [parsed(t) for t in true], [parsed(t) for t in found], [float(len(t)) for t in true])
    if not any(map(parsed, true)):
        return  # seqeval warns, and calls it 0
    report = seqeval.classification_report(true, found, mode="strict", scheme=scheme, output_dict=True, zero_division=0)
    micro = report["micro avg"]
    assert ours["entity_f1"] == pytest.approx(micro["f1-score"])
    assert ours["entity_precision"] == pytest.approx(micro["precision"])
    assert ours["entity_recall"] == pytest.approx(micro["recall"])
    for name in CLASSES:
        if name in report and report[name]["support"]:
            assert ours[f"entity_f1/{name}"] == pytest.approx(report[name]["f1-score"])


def test_tokens_and_what_is_outside() -> None:
    found = scores(TEXT, [[(0, 2, 0), (4, 5, 2)]], [[(1, 3, 0), (4, 5, 1)]], [6.0])
    # Token by token: missed, right, wrong, right, wrong, right.
    assert found["token_accuracy"] == pytest.approx(3 / 6)
    assert found["token_f1"] == pytest.approx(2 * 1 / (3 + 3))
    assert found["entity_f1"] == 0


def test_a_beginning_may_be_off_by_200_ms_and_an_end_by_a_fifth() -> None:
    true: list[list[tuple[float, float, int]]] = [[(100, 400, 0)]]  # 1 s to 4 s

    def right(start: float, end: float, kind: int = 0) -> tuple[float, float]:
        found = scores(AUDIO, true, [[(start, end, kind)]], [1000.0])
        return found["segment_f1"], found["onset_f1"]

    assert right(120, 460) == (1, 1)
    assert right(80, 340) == (1, 1)
    assert right(121, 400) == (0, 0)
    assert right(120, 461) == (0, 1)
    assert right(100, 400, 1) == (0, 0)
    # A short one's end has 200 ms too.
    assert scores(AUDIO, [[(0, 10, 0)]], [[(0, 30, 0)]], [100.0])["segment_f1"] == 1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 4), st.integers(0, 4), st.data())
def test_as_many_are_matched_as_can_be(num_true: int, num_found: int, data: st.DataObject) -> None:
    allowed = np.array(
        [[data.draw(st.booleans()) for _ in range(num_found)] for _ in range(num_true)], dtype=bool
    ).reshape(num_true, num_found)
    small, large = sorted((num_true, num_found))
    table = allowed if num_true <= num_found else allowed.T
    best = max(
        (sum(table[i, j] for i, j in enumerate(chosen)) for chosen in itertools.permutations(range(large), small)),
        default=0,
    )
    assert len(match_events(allowed)) == best


def test_one_prediction_is_right_once() -> None:
    # Both true ones may be the first predicted one; only one may be the second.
    found = scores(AUDIO, [[(0, 100, 0), (10, 110, 0)]], [[(5, 105, 0), (30, 130, 0)]], [200.0])
    assert found["segment_f1"] == 1


def test_frames_are_weighed_by_time() -> None:
    found = scores(AUDIO, [[(0, 100, 0)], []], [[(50, 150, 0)], [(0, 10, 1)]], [200.0, 100.0])
    assert found["frame_f1"] == pytest.approx(2 * 50 / (100 + 110))
    assert found["frame_accuracy"] == pytest.approx((200 - 100 + 90) / 300)


def test_nothing_and_a_class_everywhere() -> None:
    nothing = scores(TEXT, [[], []], [[], []], [3.0, 4.0])
    assert np.isnan(nothing["entity_f1"])
    assert nothing["token_accuracy"] == 1
    silent = scores(TEXT, [[(0, 1, 0)]], [[]], [3.0])
    assert (silent["entity_f1"], silent["entity_precision"], silent["entity_recall"]) == (0, 0, 0)
    endless = scores(TEXT, [[(0, 2, 1)]], [[(0, 1e30, 1)]], [4.0])
    assert endless["token_accuracy"] == 0.5
    assert endless["token_f1"] == pytest.approx(2 * 2 / (2 + 4))


def test_a_resample_is_the_rows_themselves() -> None:
    true: list[list[tuple[float, float, int]]] = [[(0, 2, 0)], [(1, 3, 2)], []]
    found: list[list[tuple[float, float, int]]] = [[(0, 2, 0)], [(1, 2, 2)], [(0, 1, 1)]]
    drawn = [0, 0, 2, 1, 2]
    weights = np.bincount(drawn, minlength=3)[None].astype(float)
    ours = scores(TEXT, true, found, [4.0, 5.0, 2.0], weights)
    theirs = scores(TEXT, [true[i] for i in drawn], [found[i] for i in drawn], [[4.0, 5.0, 2.0][i] for i in drawn])
    assert ours == pytest.approx(theirs, nan_ok=True)


def test_the_headline() -> None:
    import dataclasses

    assert tagging_primary(TEXT) == "entity_f1"
    assert tagging_primary(AUDIO) == "segment_f1"
    assert tagging_primary(dataclasses.replace(TEXT, class_lengths=(0.5, 0.3, 0.2))) == "token_accuracy"
