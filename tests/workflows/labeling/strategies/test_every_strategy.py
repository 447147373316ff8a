from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.config.base import members
from polysense.errors import ConfigError, TableError
from polysense.workflows.labeling.learner import Learner
from polysense.workflows.labeling.row_features import RowFeatures
from polysense.workflows.labeling.strategies.base import strategy_named

NAMES = sorted(members("strategy"))


@functools.cache
def _features(num: int, copies: bool) -> RowFeatures:
    values = np.random.default_rng(num).normal(size=(num, 3))
    if copies:
        values[num // 2 :] = values[num // 2]
    return RowFeatures(values)


def test_there_are_the_strategies_of_the_literature() -> None:
    assert NAMES == ["badge", "entropy", "k_center", "margin", "random", "typical"]


@settings(max_examples=40)
@given(
    name=st.sampled_from(NAMES), num=st.integers(2, 30), num_labeled=st.integers(0, 20), count=st.integers(0, 40),
    copies=st.booleans(), kind=st.sampled_from(["choice", "labels"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_chosen_rows_are_unique_unlabeled_as_many_as_asked_for_and_the_same_by_seed(
    name: str, num: int, num_labeled: int, count: int, copies: bool, kind: str, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    learner = Learner(_features(num, copies), num_outputs=2, kind=kind)  # type: ignore[arg-type]
    labeled = generator.permutation(num)[: min(num_labeled, num - 1)]
    learner.update(labeled, generator.integers(0, 2, (len(labeled), 1 if kind == "choice" else 2)))
    offered = np.flatnonzero(~learner.is_labeled)[::2]
    chosen, again = (
        strategy_named(name).choose(learner, offered, count, np.random.default_rng(seed)) for _ in range(2)
    )
    assert chosen.tolist() == again.tolist()
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(offered))
    assert set(chosen.tolist()) <= set(offered.tolist())


@pytest.mark.parametrize("name", NAMES)
def test_of_rows_with_the_same_features_one_is_chosen_while_there_are_others(name: str) -> None:
    values = np.random.default_rng(0).normal(size=(12, 2))
    values[4:] = values[4]  # and one of them has a label
    learner = Learner(values, num_outputs=2)
    learner.update([0, 11], [0, 1])
    chosen = strategy_named(name).choose(learner, range(1, 11), 5, np.random.default_rng(1))
    assert set(chosen[:3].tolist()) == {1, 2, 3}


@pytest.mark.parametrize("name", ["entropy", "margin", "badge"])
def test_without_probabilities_a_strategy_chooses_as_the_start_does_or_refuses(name: str) -> None:
    values = np.random.default_rng(0).normal(size=(40, 2))
    learner = Learner(values, num_outputs=3)
    start = strategy_named("typical")
    own, starts = (s.choose(learner, range(40), 6, np.random.default_rng(3)) for s in (strategy_named(name), start))
    assert own.tolist() == starts.tolist()
    learner.update([0, 1], [2, 2])  # labels that do not differ
    own, starts = (s.choose(learner, range(2, 40), 6, np.random.default_rng(3)) for s in (strategy_named(name), start))
    assert own.tolist() == starts.tolist()
    numbers = Learner(values, num_outputs=1, kind="numbers")
    with pytest.raises(ConfigError, match=f"{name}.*needs probabilities.*expected one of k_center, random, typical"):
        strategy_named(name).choose(numbers, range(40), 6, np.random.default_rng(3))


@pytest.mark.parametrize("name", ["k_center", "random", "typical"])
def test_the_others_choose_rows_for_numbers_too(name: str) -> None:
    learner = Learner(np.random.default_rng(0).normal(size=(20, 2)), num_outputs=1, kind="numbers")
    learner.update([0, 1], [0.5, -3.0])
    assert len(strategy_named(name).choose(learner, range(2, 20), 5, np.random.default_rng(0))) == 5


def test_what_can_not_be_chosen_from_is_refused() -> None:
    learner = Learner(np.random.default_rng(0).normal(size=(5, 2)), num_outputs=2)
    learner.update([3], [1])
    strategy, generator = strategy_named("random"), np.random.default_rng(0)
    with pytest.raises(TableError, match="3 has a label already"):
        strategy.choose(learner, [2, 3], 1, generator)
    with pytest.raises(TableError, match="found 5, expected numbers from 0 to 4"):
        strategy.choose(learner, [5], 1, generator)
    with pytest.raises(ConfigError, match="count: found -1"):
        strategy.choose(learner, [1], -1, generator)
    with pytest.raises(ConfigError, match="no strategy is named 'entrpy'; did you mean 'entropy'"):
        strategy_named("entrpy")


@pytest.mark.parametrize("name", ["badge", "k_center", "typical"])
def test_of_a_large_pool_a_sample_of_stated_size_is_looked_at(name: str) -> None:
    learner = Learner(np.random.default_rng(0).normal(size=(300, 2)), num_outputs=2)
    learner.update([0, 1], [0, 1])
    small = members("strategy")[name](type=name, pool=10)  # type: ignore[call-arg]
    chosen = small.choose(learner, range(2, 300), 5, np.random.default_rng(5))  # type: ignore[attr-defined]
    assert set(chosen) <= set(np.random.default_rng(5).permutation(np.arange(2, 300))[:10])
    assert len(small.choose(learner, range(2, 300), 30, np.random.default_rng(5))) == 30  # type: ignore[attr-defined]
