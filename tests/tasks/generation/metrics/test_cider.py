from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.tasks.generation.metrics.cider import cider_statistics
from polysense.tasks.generation.metrics.words import mean_score

TEXTS = st.lists(st.sampled_from("abcde"), max_size=8).map(" ".join)
ROWS = st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=3), TEXTS), min_size=1, max_size=5)


def grams(text, n):
    words = text.split()
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def cider_by_definition(references, hypotheses):
    """The sums as the paper's section 5 has them, one n-gram after another."""
    scores = []
    for texts, hypothesis in zip(references, hypotheses, strict=True):
        score = 0.0
        for text in texts:
            gap = grams(hypothesis, 2).total() - grams(text, 2).total()
            for n in range(1, 5):
                holders = {
                    gram: sum(any(gram in grams(one, n) for one in row) for row in references)
                    for gram in grams(hypothesis, n) | grams(text, n)
                }
                rarity = {
                    gram: math.log(len(references)) - math.log(max(1, frozen)) for gram, frozen in holders.items()
                }
                own = {gram: count * rarity[gram] for gram, count in grams(hypothesis, n).items()}
                other = {gram: count * rarity[gram] for gram, count in grams(text, n).items()}
                norms = math.hypot(*own.values()) * math.hypot(*other.values())
                product = sum(min(own.get(gram, 0), weight) * weight for gram, weight in other.items())
                score += math.exp(-(gap**2) / 72) * product / norms if norms else 0
        scores.append(10 * score / 4 / len(texts))
    return scores


@given(ROWS)
def test_is_what_the_paper_says(rows):
    references, hypotheses = [texts for texts, _ in rows], [text for _, text in rows]
    found = cider_statistics(references, hypotheses, str.split)
    assert found[:, 0].tolist() == pytest.approx(cider_by_definition(references, hypotheses), abs=1e-9)
    assert found[:, 1].tolist() == [1] * len(rows)


def test_identical_captions_of_four_words_score_10_and_shuffled_ones_little():
    captions = [f"word{i} word{i + 1} thing{i} thing{i + 5} end" for i in range(20)]
    references = [[caption] for caption in captions]
    assert mean_score(cider_statistics(references, captions).sum(axis=0, keepdims=True)).item() == pytest.approx(10)
    assert mean_score(cider_statistics(references, captions[1:] + captions[:1]).sum(axis=0, keepdims=True)).item() < 1


def test_what_everybody_says_is_worth_nothing():
    references = [[f"there is a photo of {animal}"] for animal in ("cats", "dogs", "cows")]
    found = cider_statistics(references, ["there is a photo"] * 3)
    assert found[:, 0].tolist() == [0, 0, 0]


def test_one_row_is_zero():
    assert cider_statistics([["a cat sat here"]], ["a cat sat here"]).tolist() == [[0, 1]]


def test_no_rows():
    assert cider_statistics([], []).shape == (0, 2)


def test_the_fixtures_scores(real_data):
    folder = real_data("fixtures")
    known = json.loads((folder / "expected.json").read_text())
    by_row = json.loads((folder / "captions" / "coco_fakecap1000_per_image.json").read_text())
    references = json.loads((folder / "captions" / "coco_fakecap1000_refs.json").read_text())
    hypotheses = json.loads((folder / "captions" / "coco_fakecap1000_hyps.json").read_text())
    rows = list(references)
    texts, generated = [references[row] for row in rows], [hypotheses[row][0] for row in rows]
    found = cider_statistics(texts, generated, str.split)
    expected = known["captions/coco_fakecap1000"]["published"]["CIDEr"]
    assert mean_score(found.sum(axis=0, keepdims=True)).item() == pytest.approx(expected, abs=1e-6)
    assert found[:, 0].tolist() == pytest.approx([by_row[row]["CIDEr"] for row in rows], abs=1e-6)
    # The tokenizer leaves words that the original has made nearly as they are: 2 of 6,000 captions differ.
    own = cider_statistics(texts, generated)
    assert mean_score(own.sum(axis=0, keepdims=True)).item() == pytest.approx(expected, abs=2e-4)
    assert np.count_nonzero(np.abs(own - found) > 1e-2) <= 3
    cases = json.loads((folder / "captions" / "nlgeval_cases.json").read_text())["corpus"]
    expected = known["captions/nlgeval_cases"]["recomputed_here"]["corpus"]["CIDEr"]
    found = cider_statistics(cases["refs"], cases["hyps"], str.split)
    assert mean_score(found.sum(axis=0, keepdims=True)).item() == pytest.approx(expected, abs=1e-6)
