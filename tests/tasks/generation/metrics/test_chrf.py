from __future__ import annotations

import json
from itertools import zip_longest

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.metrics.chrf import chrf_score, chrf_statistics

TEXTS = st.text(alphabet="abc é猫\n", max_size=25)
ROWS = st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=3), TEXTS), min_size=1, max_size=5)


def chrf(references, hypotheses):
    return chrf_score(chrf_statistics(references, hypotheses).sum(axis=0, keepdims=True)).item()


@given(ROWS)
def test_equals_sacrebleu(rows):
    references, hypotheses = [texts for texts, _ in rows], [text for _, text in rows]
    expected = sacrebleu.CHRF().corpus_score(hypotheses, list(zip_longest(*references)))
    assert chrf(references, hypotheses) == pytest.approx(expected.score, abs=1e-9)


@given(ROWS, st.data())
def test_a_resample_equals_sacrebleu_on_repeated_rows(rows, data):
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)).filter(any))
    references, hypotheses = [texts for texts, _ in rows], [text for _, text in rows]
    repeated = [row for row, count in zip(rows, counts, strict=True) for _ in range(count)]
    expected = sacrebleu.CHRF().corpus_score(
        [text for _, text in repeated], list(zip_longest(*(texts for texts, _ in repeated)))
    )
    sums = np.array([counts], dtype=np.float64) @ chrf_statistics(references, hypotheses)
    assert chrf_score(sums).item() == pytest.approx(expected.score, abs=1e-9)


def test_by_hand():
    # Orders 1 to 3 are there on both sides: precision (2/3 + 1/2 + 0) / 3, recall (2/4 + 1/3 + 0/2) / 3.
    precision, recall = 7 / 18, 5 / 18
    assert chrf([["a bcd"]], ["a bx"]) == pytest.approx(
        100 * 5 * precision * recall / (4 * precision + recall), abs=1e-12
    )


@given(st.text(min_size=1, max_size=30).filter(str.strip))
def test_identical_texts_score_100_in_any_script(text):
    assert chrf([[text]], [text]) == pytest.approx(100)


def test_each_row_takes_its_best_reference():
    both = chrf_statistics([["xyz", "abcd"], ["abcd", "xyz"]], ["abcd", "abcd"])
    np.testing.assert_array_equal(both, chrf_statistics([["abcd"], ["abcd"]], ["abcd", "abcd"]))


def test_nothing_written_or_nothing_to_write_is_zero():
    assert chrf([["abc"]], [" "]) == 0
    assert chrf([[""]], ["abc"]) == 0
    assert chrf([[""]], [""]) == 0


def test_no_rows():
    assert chrf_statistics([], []).shape == (0, 18)
    assert chrf_score(np.zeros((3, 18))).tolist() == [0, 0, 0]


def test_the_fixtures_score(real_data):
    folder = real_data("fixtures")
    known = json.loads((folder / "expected.json").read_text())["text/pairs200"]["computed_here"]
    pairs = json.loads((folder / "text" / "pairs200.json").read_text())
    score = chrf([[text] for text in pairs["refs_raw"]], pairs["hyps_raw"])
    assert score == pytest.approx(known["sacrebleu_chrF"], abs=1e-6)
