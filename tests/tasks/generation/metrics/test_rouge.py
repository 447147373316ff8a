from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.metrics.rouge import rouge_l_statistics
from polysense.tasks.generation.metrics.words import mean_score


def rouge_l(references, hypotheses):
    return mean_score(rouge_l_statistics(references, hypotheses).sum(axis=0, keepdims=True)).item()


def common_by_table(first, second):
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


TEXTS = st.lists(st.sampled_from(["cat", "dog", "猫", "é", "runs", "running"]), min_size=1, max_size=9).map(" ".join)


@given(st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
def test_is_what_the_caption_evaluation_says(references, hypothesis):
    own = hypothesis.split()
    others = [text.split() for text in references]
    common = [common_by_table(own, words) for words in others]
    precision, recall = max(common) / len(own), max(one / len(words) for one, words in zip(common, others, strict=True))
    expected = 2.44 * precision * recall / (recall + 1.44 * precision) if max(common) else 0
    assert rouge_l([references], [hypothesis]) == pytest.approx(expected, abs=1e-12)


def test_by_hand():
    # Against the first 2 of 3 and 2 of 4 words, against the second 1 of 3 and 1 of 1: the best of each.
    precision, recall, beta = 2 / 3, 1.0, 1.44
    expected = (1 + beta) * precision * recall / (recall + beta * precision)
    references = [["police killed a gunman", "The"]]
    assert rouge_l(references, ["police the gunman"]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("references", "hypothesis", "score"),
    [
        (["a cat"], "", 0),
        ([""], "a cat", 0),
        ([""], "", 1),
        (["", "a cat"], "a cat", 1),
        (["", "a"], "", 1),
        (["a cat"], "A cat.", 1),
    ],
)
def test_texts_without_words(references, hypothesis, score):
    assert rouge_l([references], [hypothesis]) == pytest.approx(score)


def test_the_fixtures_scores(real_data):
    folder = real_data("fixtures")
    known = json.loads((folder / "expected.json").read_text())
    by_row = json.loads((folder / "captions" / "coco_fakecap1000_per_image.json").read_text())
    references = json.loads((folder / "captions" / "coco_fakecap1000_refs.json").read_text())
    hypotheses = json.loads((folder / "captions" / "coco_fakecap1000_hyps.json").read_text())
    rows = list(references)
    scores = rouge_l_statistics([references[row] for row in rows], [hypotheses[row][0] for row in rows], str.split)
    expected = known["captions/coco_fakecap1000"]["published"]["ROUGE_L"]
    assert mean_score(scores.sum(axis=0, keepdims=True)).item() == pytest.approx(expected, abs=1e-6)
    assert scores[:, 0].tolist() == pytest.approx([by_row[row]["ROUGE_L"] for row in rows], abs=1e-6)
    cases = json.loads((folder / "captions" / "nlgeval_cases.json").read_text())
    for name in ("corpus", "single"):
        if name == "corpus":
            texts, generated = cases[name]["refs"], cases[name]["hyps"]
        else:
            texts, generated = [cases[name][0]["refs"]], [cases[name][0]["hyp"]]
        expected = known["captions/nlgeval_cases"]["recomputed_here"][name]["ROUGE_L"]
        assert rouge_l(texts, generated) == pytest.approx(expected, abs=1e-6)
