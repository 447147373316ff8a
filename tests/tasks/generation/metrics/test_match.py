from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.metrics.match import (
    exact_match_statistics,
    token_f1_statistics,
    vqa_accuracy_statistics,
)

ANSWERS = st.lists(st.sampled_from(["yes", "no", "2", "red"]), min_size=1, max_size=14)


def only(statistics):
    ((score, count),) = statistics.tolist()
    assert count == 1
    return score


@given(ANSWERS, st.sampled_from(["yes", "no", "2", "red", "blue"]))
def test_vqa_accuracy_leaves_each_person_out_in_turn(answers, answer):
    if len(answers) < 10:
        expected = float(answer in answers)
    else:
        others = [[*answers[:i], *answers[i + 1 :]] for i in range(len(answers))]
        expected = sum(min(1, one.count(answer) / 3) for one in others) / len(answers)
    assert only(vqa_accuracy_statistics([answers], [answer])) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("same", "accuracy"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_vqa_accuracy_of_ten_answers(same, accuracy):
    found = vqa_accuracy_statistics([["yes"] * same + ["no"] * (10 - same)], ["Yes."])
    assert only(found) == pytest.approx(accuracy)


def test_vqa_accuracy_reads_number_words():
    assert only(vqa_accuracy_statistics([["2"]], ["two"])) == 1
    assert only(vqa_accuracy_statistics([["none"]], ["0"])) == 1
    assert only(exact_match_statistics([["2"]], ["two"])) == 0


def test_exact_match():
    found = exact_match_statistics(
        [["A cat.", "dog"], ["cat"], ["3.5"], [""], ["cat"]], ["the CAT!", "cats", "35", "", ""]
    )
    assert found.tolist() == [[1, 1], [0, 1], [0, 1], [1, 1], [0, 1]]


def test_token_f1_by_hand():
    # "big cat sat" and "cat sat down": 2 shared of 3 and 3; the second reference is worse.
    assert only(token_f1_statistics([["a cat sat down", "big dogs"]], ["The big cat sat."])) == pytest.approx(2 / 3)
    # A word written twice is right once: 2 * 1 / (2 + 1).
    assert only(token_f1_statistics([["cat"]], ["cat cat"])) == pytest.approx(2 / 3)
    assert only(token_f1_statistics([["今日は晴れ"]], ["今日は雨"])) == pytest.approx(6 / 9)
    assert [only(token_f1_statistics([[a]], [b])) for a, b in (("", ""), ("cat", ""), ("", "cat"))] == [1, 0, 0]


@given(st.text(max_size=30), st.text(max_size=30))
def test_the_three_agree_on_what_is_right_and_what_shares_nothing(first, second):
    exact = only(exact_match_statistics([[first]], [second]))
    f1 = only(token_f1_statistics([[first]], [second]))
    assert exact <= f1 <= 1
    assert exact <= only(vqa_accuracy_statistics([[first]], [second]))
    assert only(exact_match_statistics([[first, second]], [second])) == 1
