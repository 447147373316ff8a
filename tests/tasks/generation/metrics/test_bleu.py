from __future__ import annotations

import json
import math
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.metrics.bleu import bleu_score, bleu_statistics

WORDS = st.sampled_from(["a", "the", "cat", "dog", "sat", "on", "mat.", "3.5", "x-y", "Don't", "猫", "&amp;"])
TEXTS = st.lists(WORDS, max_size=9).map(" ".join)
ROWS = st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=3), TEXTS), min_size=1, max_size=5)


def bleu(references, hypotheses):
    return bleu_score(bleu_statistics(references, hypotheses).sum(axis=0, keepdims=True)).item()


@given(ROWS)
def test_equals_sacrebleu(rows):
    references, hypotheses = [texts for texts, _ in rows], [text for _, text in rows]
    expected = sacrebleu.BLEU().corpus_score(hypotheses, list(zip_longest(*references)))
    assert bleu(references, hypotheses) == pytest.approx(expected.score, abs=1e-9)
    sums = bleu_statistics(references, hypotheses).sum(axis=0)
    assert sums.tolist() == [expected.sys_len, expected.ref_len, *expected.counts, *expected.totals]


@given(ROWS, st.data())
def test_a_resample_equals_sacrebleu_on_repeated_rows(rows, data):
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)).filter(any))
    references, hypotheses = [texts for texts, _ in rows], [text for _, text in rows]
    repeated = [row for row, count in zip(rows, counts, strict=True) for _ in range(count)]
    expected = sacrebleu.BLEU().corpus_score(
        [text for _, text in repeated], list(zip_longest(*(texts for texts, _ in repeated)))
    )
    sums = np.array([counts], dtype=np.float64) @ bleu_statistics(references, hypotheses)
    assert bleu_score(sums).item() == pytest.approx(expected.score, abs=1e-9)


def test_by_hand():
    # Unigrams: "the" twice in one reference, so 2 of 7 count (Papineni et al., section 2.1, example 2).
    statistics = bleu_statistics(
        [["the cat is on the mat", "there is a cat on the mat"]], ["the the the the the the the"]
    )
    assert statistics[0].tolist() == [7, 7, 2, 0, 0, 0, 7, 6, 5, 4]
    # 3 of 4, 2 of 3, 1 of 2, none of 1 counted as a half; one word too short.
    expected = 100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25 * math.exp(1 - 5 / 4)
    assert bleu([["a b c d e"]], ["a b c x"]) == pytest.approx(expected, abs=1e-12)


def test_each_order_by_itself():
    # Unigrams 2 of 3, bigrams 1 of 2, no trigram, which counts half of the one that there is.
    sums = bleu_statistics([["a b x"]], ["a b c"])
    assert bleu_score(sums, 1).item() == pytest.approx(100 * 2 / 3)
    assert bleu_score(sums, 2).item() == pytest.approx(100 * (2 / 3 * 1 / 2) ** 0.5)
    assert bleu_score(sums, 3).item() == pytest.approx(100 * (2 / 3 * 1 / 2 * 1 / 2) ** (1 / 3))


def test_no_rows():
    assert bleu_statistics([], []).shape == (0, 10)


def test_nothing_written_or_nothing_to_write_is_zero():
    assert bleu([["a b c d"]], [""]) == 0
    assert bleu([[""]], ["a b c d"]) == 0
    assert bleu([[""]], [""]) == 0
    assert bleu_score(np.zeros((3, 10))).tolist() == [0, 0, 0]


def test_the_fixtures_scores(real_data):
    folder = real_data("fixtures")
    known = json.loads((folder / "expected.json").read_text())
    captions = [
        json.loads(Path(folder, "captions", f"coco_fakecap1000_{part}.json").read_text()) for part in ("refs", "hyps")
    ]
    references, hypotheses = captions[0].values(), [captions[1][row][0] for row in captions[0]]
    sums = bleu_statistics(list(references), hypotheses, "none").sum(axis=0, keepdims=True)
    for order in range(1, 5):
        expected = known["captions/coco_fakecap1000"]["published"][f"Bleu_{order}"]
        assert bleu_score(sums, order).item() / 100 == pytest.approx(expected, abs=1e-6)
    pairs = json.loads((folder / "text" / "pairs200.json").read_text())
    score = bleu([[text] for text in pairs["refs_raw"]], pairs["hyps_raw"])
    assert score == pytest.approx(known["text/pairs200"]["computed_here"]["sacrebleu_BLEU"], abs=1e-6)
