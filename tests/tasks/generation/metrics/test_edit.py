from __future__ import annotations

import json

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.metrics.edit import cer_statistics, edit_distance, error_rate, wer_statistics

TEXTS = st.text(alphabet="ab é猫", max_size=30)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5)


def wer(references, hypotheses):
    return error_rate(wer_statistics(references, hypotheses).sum(axis=0, keepdims=True)).item()


def cer(references, hypotheses):
    return error_rate(cer_statistics(references, hypotheses).sum(axis=0, keepdims=True)).item()


def distance_by_table(first, second):
    row = list(range(len(second) + 1))
    for i, one in enumerate(first):
        above, row[0] = row[0], i + 1
        for j, other in enumerate(second):
            above, row[j + 1] = row[j + 1], min(above + (one != other), row[j] + 1, row[j + 1] + 1)
    return row[-1]


@given(st.text(alphabet="abc", max_size=90), st.text(alphabet="abcd", max_size=90))
def test_the_distance_is_the_tables(first, second):
    assert edit_distance(first, second) == distance_by_table(first, second) == edit_distance(second, first)


@given(PAIRS)
def test_equals_jiwer(pairs):
    references, hypotheses = [[text] for text, _ in pairs], [text for _, text in pairs]
    plain = [text for text, _ in pairs]
    assert wer(references, hypotheses) == pytest.approx(jiwer.wer(plain, hypotheses), abs=1e-12)
    assert cer(references, hypotheses) == pytest.approx(jiwer.cer(plain, hypotheses), abs=1e-12)


def test_by_hand():
    assert wer([["hello world"]], ["hello duck"]) == 0.5
    assert wer([["a b c d"]], ["a c d e f"]) == 0.75
    assert cer([["abcd"]], ["abd"]) == 0.25
    # Rows are weighted by their length: 1 edit in 1 + 3 words.
    assert wer([["a"], ["a b c"]], ["b", "a b c"]) == 0.25


def test_empty_references():
    assert wer([[""]], [""]) == 0
    assert wer([[""]], ["two words"]) == 2
    assert wer([["one"], [""]], ["one", "more"]) == 1
    assert cer([["ab"]], [""]) == 1


def test_the_best_reference_counts():
    assert wer_statistics([["a b", "a b c d", "x y"]], ["a b c"]).tolist() == [[1, 4]]
    np.testing.assert_array_equal(
        wer_statistics([["a b", "a b c d"]], ["a b c"]), wer_statistics([["a b c d", "a b"]], ["a b c"])
    )


def test_without_spaces_the_word_rate_is_all_or_nothing_and_the_character_rate_is_not():
    assert wer([["今日は晴れです"]], ["今日は雨です"]) == 1
    assert cer([["今日は晴れです"]], ["今日は雨です"]) == pytest.approx(2 / 7)


def test_the_fixtures_rates(real_data):
    folder = real_data("fixtures")
    known = json.loads((folder / "expected.json").read_text())["text/pairs200"]["computed_here"]
    pairs = json.loads((folder / "text" / "pairs200.json").read_text())
    references = [[text] for text in pairs["refs_norm"]]
    assert wer(references, pairs["hyps_norm"]) == pytest.approx(known["WER"], abs=1e-6)
    assert cer(references, pairs["hyps_norm"]) == pytest.approx(known["CER"], abs=1e-6)
    for case in json.loads((folder / "text" / "wer_cases.json").read_text()):
        assert wer([[case["ref"]]], [case["hyp"]]) == case.get("WER", 0)
