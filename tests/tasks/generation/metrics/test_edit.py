from __future__ import annotations

import json

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.metrics.edit import cer_statistics, error_rate, wer_statistics

TEXTS = st.text(alphabet="ab é猫", max_size=30)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5)


def wer(references, hypotheses):
    return error_rate(wer_statistics(references, hypotheses).sum(axis=0, keepdims=True)).item()


def cer(references, hypotheses):
    return error_rate(cer_statistics(references, hypotheses).sum(axis=0, keepdims=True)).item()


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


@given(PAIRS)
def test_a_words_row_is_what_jiwer_says_of_it(pairs):
    rows = wer_statistics([[text] for text, _ in pairs], [text for _, text in pairs])
    for (edits, length), (expected, generated) in zip(rows, pairs, strict=True):
        aligned = jiwer.process_words(expected, generated)
        assert edits == aligned.substitutions + aligned.deletions + aligned.insertions
        assert length == aligned.hits + aligned.substitutions + aligned.deletions


def test_any_white_space_parts_words():
    assert wer([["a\tb\nc\u3000d"]], ["a b c d"]) == 0


def test_no_rows():
    assert wer_statistics([], []).shape == cer_statistics([], []).shape == (0, 2)


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
