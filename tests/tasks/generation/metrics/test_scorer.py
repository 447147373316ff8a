from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.evaluation.bootstrap import Interval, interval, multiplicities
from polysense.tasks.generation.metrics.scorer import TextScorer, generation_metrics

LIKELIHOOD = ("token_accuracy", "log_loss", "perplexity")
METRICS = [info for info in generation_metrics() if info.name not in LIKELIHOOD]
NAMES = [info.name for info in METRICS]
WORDS = ["a", "cat", "dog's", "sat", "3.5", "élan", "猫", "Don't", "the", "mat"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join) | st.text(max_size=12)
ROWS = st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=3), TEXTS), min_size=1, max_size=6)
# What perfect texts of four and more different words score.
PERFECT = {
    "cider": 10, "bleu": 100, "chrf": 100, "rouge_l": 1, "exact_match": 1, "vqa_accuracy": 1, "token_f1": 1, "wer": 0,
    "cer": 0, "length_ratio": 1,
}  # fmt: skip


def text_metrics(references, hypotheses, *, bootstrap=1000, seed=0) -> dict[str, Interval]:
    """Every metric with its interval, as an evaluation has them."""
    score = TextScorer(references, hypotheses)
    num_rows = len(hypotheses)
    all_rows = score(np.ones((1, num_rows)))
    parts = [score(weights) for weights in multiplicities(num_rows, bootstrap, seed)]
    return {
        name: interval(all_rows[name].item(), np.concatenate([np.zeros(0), *(part[name] for part in parts)]), 0.95)
        for name in NAMES
    }


def values(references, hypotheses):
    return {name: one.value for name, one in text_metrics(references, hypotheses, bootstrap=0).items()}


def captions(num_rows, seed=0):
    draws = np.random.default_rng(seed)
    words = np.array([f"word{i}" for i in range(300)])
    rows = [[" ".join(draws.choice(words, draws.integers(8, 13))) for _ in range(5)] for _ in range(num_rows)]
    retained = draws.integers(3, 9, num_rows)
    return rows, [
        " ".join([*row[0].split()[:num], *row[1].split()[:4]]) for row, num in zip(rows, retained, strict=True)
    ]


@settings(max_examples=30)
@given(ROWS)
def test_any_texts_have_values_within_their_bounds(rows):
    found = values([texts for texts, _ in rows], [text for _, text in rows])
    assert list(found) == NAMES
    for info in METRICS:
        value = found[info.name]
        if np.isnan(value):
            assert info.undefined_when != "no text was generated"
        else:
            assert info.bounds[0] <= value <= info.bounds[1] + 1e-9, info.name


@settings(max_examples=30)
@given(st.lists(st.permutations(["red", "cat", "sat", "dog", "mat", "hat"]).map(" ".join), min_size=2, unique=True))
def test_identical_texts_are_perfect(texts):
    # A word of its own in each row keeps CIDEr's weights off 0.
    texts = [f"{text} on{i} at{i} by{i} to{i}" for i, text in enumerate(texts)]
    found = values([["something else here now", text] for text in texts], texts)
    expected = PERFECT | {"cider": pytest.approx(found["cider"])}  # its other reference is a miss
    assert {name: found[name] for name in PERFECT} == pytest.approx(expected)
    assert values([[text] for text in texts], texts)["cider"] == pytest.approx(10)


@settings(max_examples=30)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_references_changes_nothing(rows, random):
    first = values([texts for texts, _ in rows], [text for _, text in rows])
    shuffled = random.sample(rows, len(rows))
    assert values([texts for texts, _ in shuffled], [text for _, text in shuffled]) == pytest.approx(first, nan_ok=True)
    second = values([random.sample(texts, len(texts)) for texts, _ in rows], [text for _, text in rows])
    # Of references with the same chrF the first one's n-grams are counted, as in sacreBLEU.
    first.pop("chrf"), second.pop("chrf")
    assert second == pytest.approx(first, nan_ok=True)


@settings(max_examples=30)
@given(ROWS, st.data())
def test_a_resample_is_the_rows_as_often_as_they_are_drawn(rows, data):
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    references, hypotheses = [texts for texts, _ in rows], [text for _, text in rows]
    found = {
        name: float(value[0])
        for name, value in TextScorer(references, hypotheses)(np.array([counts], dtype=np.float64)).items()
    }
    repeated = [row for row, count in zip(rows, counts, strict=True) for _ in range(count)]
    expected = values([texts for texts, _ in repeated], [text for _, text in repeated])
    # CIDEr's document frequencies stay those of the whole set, and repeats are no lack of variety.
    skipped = {"cider", "distinct_1", "distinct_2"}
    assert {name: found[name] for name in NAMES if name not in skipped} == pytest.approx(
        {name: expected[name] for name in NAMES if name not in skipped}, nan_ok=True
    )
    if max(counts) > 1:
        assert np.isnan(found["distinct_1"])


@settings(max_examples=30)
@given(ROWS)
def test_all_rows_once_give_the_value(rows):
    references, hypotheses = [texts for texts, _ in rows], [text for _, text in rows]
    score = TextScorer(references, hypotheses)
    found = score(np.ones((2, len(rows))))
    expected = values(references, hypotheses)
    for name in NAMES:
        assert found[name].tolist() == pytest.approx([expected[name]] * 2, nan_ok=True)


def test_a_text_typed_in_another_form_of_unicode_is_the_same():
    assert values([["cafe\u0301 au lait ici"]], ["caf\u00e9 au lait ici"])["cer"] == 0


def test_no_rows_have_no_values():
    found = text_metrics([], [])
    assert list(found) == NAMES
    assert all(np.isnan(one.value) and not one.has_bounds for one in found.values())


def test_intervals_hold_the_value_are_repeatable_and_shrink_with_rows():
    widths = []
    for num_rows in (30, 480):
        references, hypotheses = captions(num_rows)
        found = text_metrics(references, hypotheses, bootstrap=300, seed=1)
        assert found == text_metrics(references, hypotheses, bootstrap=300, seed=1)
        for name, one in found.items():
            if not name.startswith("distinct"):
                assert one.low <= one.value <= one.high
        assert not found["distinct_1"].has_bounds
        widths.append({name: one.high - one.low for name, one in found.items()})
    for name in ("cider", "bleu", "chrf", "rouge_l", "wer", "cer", "token_f1"):
        # A sixteenth of the rows, four times the width.
        assert widths[1][name] == pytest.approx(widths[0][name] / 4, rel=0.5), name


def test_shuffled_texts_score_less():
    references, hypotheses = captions(60)
    own, shuffled = values(references, hypotheses), values(references, hypotheses[1:] + hypotheses[:1])
    for info in METRICS:
        if info.name in PERFECT and info.name not in ("length_ratio", "exact_match", "vqa_accuracy"):
            assert (own[info.name] > shuffled[info.name]) is info.higher_is_better, info.name


def test_a_thousand_captions_and_a_thousand_resamples_take_seconds():
    references, hypotheses = captions(1000)
    start = time.process_time()
    text_metrics(references, hypotheses, bootstrap=1000)
    assert time.process_time() - start < 6  # 1.7 s on one slow core


def test_nothing_is_loaded_before_it_counts_and_nothing_asks_the_network(tmp_path):
    program = """
        import socket, sys

        def refuse(*args, **kwargs):
            raise AssertionError(f"asked the network: {args}")

        socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
        from polysense.tasks.generation.metrics.scorer import TextScorer, generation_metrics

        generation_metrics()
        assert not {"sacrebleu", "jiwer", "rapidfuzz", "nltk"} & set(sys.modules), "loaded too early"
        import numpy as np

        texts = ["A dog, running. It barks!", "犬がいる。", "我有3只猫", "กินข้าว", "Привет, мир", ""]
        scores = TextScorer([[text, "another one"] for text in texts], texts)(np.ones((1, len(texts))))
        assert scores["wer"] == 0 and scores["chrf"] == 100, scores
    """
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(program)], check=True, env=environment)
    assert not list(tmp_path.iterdir())  # nor is anything stored at home
