"""Every strategy of writing, over a language model that is a hash: all texts are scored by hand."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.core.random import fold
from polysense.core.schema import Target
from polysense.errors import ConfigError
from polysense.nn.decoding import DecodingConfig, Generated, IncrementalDecoder
from polysense.nn.decoding.answers import RankingConfig
from polysense.nn.decoding.beam import BeamSearchConfig
from polysense.nn.decoding.greedy import GreedyConfig
from polysense.nn.decoding.sample import SamplingConfig
from polysense.tasks.generation.record import GenerationTarget

PADDING, BEGIN, END, VOCABULARY = 0, 1, 2, 7
WORDS = range(3, VOCABULARY)


class HashModel(IncrementalDecoder):
    """The logits of the next token are a hash of the row's key and of all tokens before: no two pasts are alike."""

    def __init__(self, keys: Sequence[int]) -> None:
        self._keys = torch.tensor(keys)
        self._past = torch.zeros(len(keys), 0, dtype=torch.int64)

    def __call__(self, token: torch.Tensor) -> torch.Tensor:
        self._past = torch.cat([self._past, token[:, None]], dim=1)
        return torch.stack([self.next(int(k), tuple(p)) for k, p in zip(self._keys, self._past.tolist(), strict=True)])

    def reorder(self, rows: torch.Tensor) -> None:
        retained = self._keys[rows]
        assert len(rows) != len(self._keys) or torch.equal(retained, self._keys), "a row got another one's memory"
        self._keys, self._past = retained, self._past[rows]

    def next(self, key: int, past: tuple[int, ...]) -> torch.Tensor:
        return _next(key, past)

    def score(self, key: int, text: Sequence[int]) -> float:
        return sum(float(self.next(key, (BEGIN, *text[:i]))[token]) for i, token in enumerate(text))


@functools.lru_cache(maxsize=100_000)
def _next(key: int, past: tuple[int, ...]) -> torch.Tensor:
    state = fold(key, *past, np.arange(VOCABULARY))
    logits = torch.from_numpy(3.0 * (state >> np.uint64(11)).astype(np.float64) * 2.0**-53).float()
    logits[[PADDING, BEGIN]] = -math.inf
    return logits.log_softmax(dim=0)


def target(max_length: int = 4, answers: Sequence[Sequence[int]] = ()) -> Target:
    return GenerationTarget(
        name="caption",
        columns=("caption",),
        vocabulary_size=VOCABULARY,
        padding_id=PADDING,
        begin_id=BEGIN,
        end_id=END,
        max_length=max_length,
        answers=tuple((*answer, END) for answer in answers),
    )


def write(config: DecodingConfig, keys: Sequence[int], of: Target | None = None) -> Generated:
    return config.build(of or target()).write(HashModel(keys), torch.tensor(keys))


def text(ids: torch.Tensor) -> tuple[int, ...]:
    return tuple(token for token in ids.tolist() if token != PADDING)


def every_text(max_length: int) -> list[tuple[int, ...]]:
    ended = [(*words, END) for n in range(max_length) for words in itertools.product(WORDS, repeat=n)]
    return ended + list(itertools.product(WORDS, repeat=max_length))


KEYS = list(range(20))


def test_greedy_takes_the_likeliest_token_each_time() -> None:
    model, generated = HashModel(KEYS), write(GreedyConfig(), KEYS)
    for key in KEYS:
        expected: list[int] = []
        while len(expected) < 4 and END not in expected:
            expected.append(int(model.next(key, (BEGIN, *expected)).argmax()))
        assert text(generated.ids[key, 0]) == tuple(expected)
        assert float(generated.scores[key, 0]) == pytest.approx(model.score(key, expected), abs=1e-5)
    assert len({len(text(ids)) for ids in generated.ids[:, 0]}) > 1


@pytest.mark.parametrize(
    "config",
    [
        BeamSearchConfig(beam_size=1),
        BeamSearchConfig(beam_size=1, length_penalty=-3.0),
        SamplingConfig(temperature=0.0),
        SamplingConfig(temperature=1e-6),
        SamplingConfig(temperature=1e-30),
        SamplingConfig(top_k=1, temperature=50.0),
        SamplingConfig(top_p=1e-9),
    ],
    ids=str,
)
def test_what_leaves_no_choice_is_greedy(config: DecodingConfig) -> None:
    expected, found = write(GreedyConfig(), KEYS), write(config, KEYS)
    assert torch.equal(found.ids, expected.ids)
    torch.testing.assert_close(found.scores, expected.scores)


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 2.0])
def test_a_beam_that_holds_every_text_finds_the_best(length_penalty: float) -> None:
    length, model = 3, HashModel(KEYS)
    config = BeamSearchConfig(beam_size=(VOCABULARY - 2) ** length, length_penalty=length_penalty, num_texts=10)
    generated = write(config, KEYS, target(length))
    for key in KEYS[:5]:
        scored = {text: model.score(key, text) for text in every_text(length)}
        compared = {t: s / ((5 + len(t)) / 6) ** length_penalty for t, s in scored.items()}
        best = sorted(compared, key=lambda t: -compared[t])[:10]
        assert [text(ids) for ids in generated.ids[key]] == best
        assert generated.scores[key].tolist() == pytest.approx([scored[t] for t in best], abs=1e-5)


def test_a_wider_beam_finds_likelier_texts() -> None:
    scores = [
        float(write(BeamSearchConfig(beam_size=size, length_penalty=0.0), KEYS).scores.mean()) for size in (1, 3, 30)
    ]
    assert scores[0] < scores[1] <= scores[2]


def chi_square(counts: Counter[Any], expected: dict[Any, float]) -> float:
    total = sum(counts.values())
    assert set(counts) <= set(expected), "something was drawn that can't be"
    return sum((counts[each] - total * p) ** 2 / (total * p) for each, p in expected.items())


@pytest.mark.parametrize(
    ("settings", "retained"),
    [
        ({}, 5),
        ({"temperature": 0.5}, 5),
        ({"temperature": 2.0}, 5),
        ({"top_k": 3}, 3),
        ({"top_p": 0.8}, None),
        ({"top_k": 4, "top_p": 0.7, "temperature": 1.5}, None),
    ],
    ids=str,
)
def test_drawn_tokens_follow_the_softmax(settings: dict[str, Any], retained: int | None) -> None:
    """One token, 4000 rows with one distribution, against it by chi-square at p = 0.001."""
    num, key = 4000, 3
    config = SamplingConfig(max_new_tokens=1, **settings)
    rows = torch.arange(num)
    generated = config.build(target()).write(HashModel([key] * num), rows)
    logits = HashModel([key]).next(key, (BEGIN,)).double() / settings.get("temperature", 1.0)
    p = logits.softmax(dim=0)
    ranked = p.argsort(descending=True).tolist()[: settings.get("top_k", VOCABULARY)]
    p = p / p[ranked].sum()
    nucleus, mass = [], 0.0
    for token in ranked:
        if mass < settings.get("top_p", 1.0) and p[token] > 0:
            nucleus.append(token)
        mass += float(p[token])
    if retained is not None:
        assert len(nucleus) == retained
    expected = {token: float(p[token] / p[nucleus].sum()) for token in nucleus}
    critical = {2: 13.8, 3: 16.3, 4: 18.5, 5: 20.5}[len(expected) if len(expected) < 5 else 5]
    assert chi_square(Counter(generated.ids[:, 0, 0].tolist()), expected) < critical


def test_drawn_texts_are_as_likely_as_the_model_says() -> None:
    num, key, length = 4000, 5, 2
    generated = SamplingConfig().build(target(length)).write(HashModel([key] * num), torch.arange(num))
    model = HashModel([key])
    expected = {each: math.exp(model.score(key, each)) for each in every_text(length)}
    assert sum(expected.values()) == pytest.approx(1.0, abs=1e-5)
    found = Counter(text(ids) for ids in generated.ids[:, 0])
    assert chi_square(found, expected) < 45.3, "20 degrees of freedom, p = 0.001"
    for ids, score in zip(generated.ids[:50, 0], generated.scores[:50, 0].tolist(), strict=True):
        assert score == pytest.approx(math.log(expected[text(ids)]), abs=1e-5)


def test_a_row_draws_the_same_in_every_batch_and_order() -> None:
    config = SamplingConfig(temperature=2.0, num_texts=3, seed=7)
    whole = write(config, KEYS)
    order = [13, 2, 7, 0, 19]
    part = write(config, order)
    assert [text(ids) for row in order for ids in whole.ids[row]] == [text(ids) for row in part.ids for ids in row]
    assert torch.equal(whole.scores[order], part.scores)
    again = write(config, KEYS)
    assert torch.equal(again.ids, whole.ids)
    other = write(SamplingConfig(temperature=2.0, num_texts=3, seed=8), KEYS)
    assert not torch.equal(other.scores, whole.scores)
    # One distribution, other rows: other texts; and a text more changes none of those before it.
    one = SamplingConfig(temperature=2.0).build(target()).write(HashModel([4] * 20), torch.arange(20))
    assert len({text(ids) for ids in one.ids[:, 0]}) > 5
    more = SamplingConfig(temperature=2.0, num_texts=4).build(target()).write(HashModel([4] * 20), torch.arange(20))
    assert all(text(ids[0]) in {text(each) for each in texts} for ids, texts in zip(one.ids, more.ids, strict=True))


@pytest.mark.parametrize(
    "config", [BeamSearchConfig(beam_size=6, num_texts=5, length_penalty=0.0), SamplingConfig(num_texts=8)], ids=str
)
def test_several_texts_are_distinct_and_the_best_comes_first(config: DecodingConfig) -> None:
    generated = write(config, KEYS)
    fewer = 0
    for ids, scores in zip(generated.ids, generated.scores, strict=True):
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
        there = [text(each) for each, score in zip(ids, scores.tolist(), strict=True) if score > -math.inf]
        assert len(there) == len(set(there)) >= 1
        fewer += len(there) < len(ids)
    assert bool(fewer) == isinstance(config, SamplingConfig), "what is drawn twice is one text"


STRATEGIES = [
    GreedyConfig(),
    BeamSearchConfig(beam_size=3, num_texts=3),
    SamplingConfig(temperature=3.0, num_texts=2),
    SamplingConfig(top_k=2),
    SamplingConfig(top_p=0.3),
    RankingConfig(num_texts=3),
]
_answers = st.lists(st.lists(st.sampled_from(WORDS), max_size=6), min_size=1, max_size=8)


@pytest.mark.parametrize("config", STRATEGIES, ids=str)
@settings(max_examples=25, deadline=None)
@given(answers=_answers, seed=st.integers(0, 100))
def test_only_listed_answers_are_written(config: DecodingConfig, answers: list[list[int]], seed: int) -> None:
    keys = list(range(seed, seed + 4))
    # The longest answer is longer than the longest training text: it is not cut.
    generated = write(config, keys, target(2, answers))
    listed = {(*answer, END) for answer in answers}
    model = HashModel(keys)
    for key, texts, scores in zip(keys, generated.ids, generated.scores, strict=True):
        there = scores > -math.inf
        assert there[0]
        for ids, score in zip(texts[there], scores[there].tolist(), strict=True):
            assert text(ids) in listed
            assert score == pytest.approx(model.score(key, text(ids)), abs=1e-4), "the model's own probability"


@settings(max_examples=20, deadline=None)
@given(answers=_answers, seed=st.integers(0, 100))
def test_ranking_scores_every_answer(answers: list[list[int]], seed: int) -> None:
    keys, listed = [seed, seed + 1, seed + 2], {(*answer, END) for answer in answers}
    model, of = HashModel(keys), target(2, answers)
    plain = write(RankingConfig(num_texts=len(listed) + 2), keys, of)
    relative = write(RankingConfig(num_texts=len(listed), normalize=True), keys, of)
    wide = write(BeamSearchConfig(beam_size=40, length_penalty=0.0), keys, of)
    for row, key in enumerate(keys):
        scored = {each: model.score(key, each) for each in listed}
        best = sorted(scored, key=lambda each: -scored[each])
        assert [text(ids) for ids in plain.ids[row]] == best
        assert plain.scores[row].tolist() == pytest.approx([scored[each] for each in best], abs=1e-4)
        assert [text(ids) for ids in relative.ids[row]] == best
        assert float(relative.scores[row].exp().sum()) == pytest.approx(1.0, abs=1e-5)
        assert text(wide.ids[row, 0]) == best[0], "a beam that holds all answers is exact too"


def test_drawn_answers_follow_the_model_among_what_the_list_allows() -> None:
    num, key = 3000, 11
    answers = [[3], [3, 4], [5]]
    generated = SamplingConfig().build(target(3, answers)).write(HashModel([key] * num), torch.arange(num))
    model = HashModel([key])
    first = model.next(key, (BEGIN,))[[3, 5]].softmax(dim=0)
    second = model.next(key, (BEGIN, 3))[[END, 4]].softmax(dim=0)
    expected = {
        (3, END): float(first[0] * second[0]),
        (3, 4, END): float(first[0] * second[1]),
        (5, END): float(first[1]),
    }
    assert chi_square(Counter(text(ids) for ids in generated.ids[:, 0]), expected) < 13.8


@pytest.mark.parametrize("config", STRATEGIES[:-1], ids=str)
def test_fillers_are_not_waited_for(config: DecodingConfig) -> None:
    rows = torch.tensor([0, -1, 2, -1])
    generated = config.build(target()).write(HashModel([0, 1, 2, 3]), rows)
    alone = config.build(target()).write(HashModel([0, 2]), rows[[0, 2]])
    assert torch.equal(generated.ids[[0, 2]], alone.ids)
    assert not generated.ids[[1, 3], 0].any()


@pytest.mark.parametrize("config", STRATEGIES, ids=str)
def test_what_has_been_common_to_all_texts_stays(config: DecodingConfig) -> None:
    of = target(4, [[3, 4, 5], [3, 4, 6], [3, 5]] if isinstance(config, RankingConfig) else ())
    steps = list(config.build(of).steps(HashModel(KEYS), torch.tensor(KEYS)))
    for key in KEYS:
        final = [
            ids.tolist() for ids, s in zip(steps[-1].ids[key], steps[-1].scores[key], strict=True) if s > -math.inf
        ]
        for step in steps:
            texts = step.ids[key][step.scores[key] > -math.inf]
            same = int((texts == texts[:1]).all(dim=0).long().cumprod(dim=0).sum())
            assert all(ids[:same] == texts[0, :same].tolist() for ids in final)


def test_wrong_settings() -> None:
    for config, wrong in (
        (GreedyConfig, {"max_new_tokens": 0}),
        (BeamSearchConfig, {"beam_size": 0}),
        (BeamSearchConfig, {"num_texts": 5}),
        (BeamSearchConfig, {"length_penalty": math.nan}),
        (SamplingConfig, {"temperature": -0.1}),
        (SamplingConfig, {"temperature": math.nan}),
        (SamplingConfig, {"top_k": 0}),
        (SamplingConfig, {"top_p": 0.0}),
        (SamplingConfig, {"top_p": 1.1}),
        (SamplingConfig, {"num_texts": 0}),
        (RankingConfig, {"num_texts": 0}),
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            config(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'caption' has none; train with"):
        RankingConfig().build(target())
