"""Samplers: each class's share of an epoch, and that nothing but (seed, epoch, position) decides who is drawn."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysense.config.base import members
from polysense.config.codec import from_dict, to_dict
from polysense.data.batches.batching import RowBatchingConfig, TokenBatchingConfig
from polysense.data.batches.collate import FILLER
from polysense.data.batches.sampler import StepSampler
from polysense.data.batches.sampling import (
    ClassBalancedConfig,
    ClassSampler,
    RowClasses,
    SamplerConfig,
    ShuffleConfig,
    SquareRootConfig,
    draw_numbers,
    row_classes,
)
from polysense.data.batches.token_counts import RowLengths
from polysense.data.tables.sources import Table
from polysense.errors import ConfigError
from polysense.tasks.classification.target import ClassificationTargetConfig
from polysense.tasks.multilabel.target import MultilabelTargetConfig
from polysense.tasks.regression.target import RegressionTargetConfig

CONFIGS = (ShuffleConfig(), ClassBalancedConfig(), SquareRootConfig())


def of_labels(labels: list[list[int] | None], num_classes: int) -> RowClasses:
    """None: the row's label is missing."""
    return RowClasses(
        names=[f"class {k}" for k in range(num_classes)],
        ids=np.array([k for own in labels for k in own or ()], dtype=np.int64),
        sizes=np.array([len(own or ()) for own in labels], dtype=np.int64),
        known=np.array([own is not None for own in labels]),
    )


single = st.lists(st.none() | st.integers(0, 3).map(lambda k: [k]), min_size=1, max_size=60)
several = st.lists(st.none() | st.sets(st.integers(0, 4)).map(sorted), min_size=1, max_size=60)


def test_every_sampler_is_tested_here() -> None:
    assert {config.type for config in CONFIGS} == set(members("sampler"))
    for config in CONFIGS:
        assert from_dict(SamplerConfig, to_dict(config), where="here") == config  # type: ignore[type-abstract]


@given(labels=single, power=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 2**63), epoch=st.integers(0, 99))
def test_each_class_has_its_share_of_every_epoch(
    labels: list[list[int] | None], power: float, seed: int, epoch: int
) -> None:
    drawn = Counter(
        tuple(labels[row] or ()) for row in ClassSampler(of_labels(labels, 4), power).order(seed, epoch).tolist()
    )
    counts = Counter(tuple(own) for own in labels if own is not None)
    total = sum(counts.values())
    assert sum(drawn.values()) == len(labels)
    for own, count in counts.items():
        share = total * count**power / sum(other**power for other in counts.values())
        assert abs(drawn[own] - share) < 1 + 1e-9, own


@given(labels=several, power=st.sampled_from([0.0, 0.5]), seed=st.integers(0, 99))
def test_each_row_is_drawn_as_often_as_expected(labels: list[list[int] | None], power: float, seed: int) -> None:
    sampler = ClassSampler(of_labels(labels, 5), power)
    assert sampler.expected.sum() == pytest.approx(len(labels))
    drawn = np.bincount(sampler.order(seed, 0), minlength=len(labels))
    assert (np.abs(drawn - sampler.expected) < 1 + 1e-9).all()


@given(labels=several)
def test_power_1_is_the_table_as_it_is_and_missing_labels_are_drawn_once(labels: list[list[int] | None]) -> None:
    assert sorted(ClassSampler(of_labels(labels, 5), 1.0).order(0, 0).tolist()) == list(range(len(labels)))
    expected = ClassSampler(of_labels(labels, 5), 0.0).expected
    assert all(expected[i] == 1.0 for i, own in enumerate(labels) if own is None)


def test_a_row_of_several_labels_follows_its_rarest() -> None:
    labels: list[list[int] | None] = [[0], [0], [0], [0, 1], []]
    expected = ClassSampler(of_labels(labels, 2), 0.0).expected
    # Classes of 4 and 1 rows, and one row without labels: weights 1/4, 1/4, 1/4, 1, 1 of five draws.
    assert expected == pytest.approx(np.array([0.25, 0.25, 0.25, 1.0, 1.0]) * 5 / 2.75)


def test_over_epochs_every_row_is_drawn_alike_within_its_class() -> None:
    labels: list[list[int] | None] = [[0]] * 45 + [[1]] * 5
    sampler = ClassSampler(of_labels(labels, 2), 0.0)
    drawn = sum(np.bincount(sampler.order(3, epoch), minlength=50) for epoch in range(300)) / 300
    assert drawn == pytest.approx(sampler.expected, rel=0.2)
    assert drawn[45:] == pytest.approx(5.0)


class TestSteps:
    """Through `StepSampler`: ranks, micro-batches, resumption, token budgets."""

    classes = of_labels([[int(i % 9 == 0)] for i in range(60)], 2)

    def steps(self, epoch: int = 0, start: int = 0, tokens: bool = False, **more: int) -> list[tuple[list[int], ...]]:
        lengths = RowLengths(np.ones((60, 1), dtype=np.int64), (1 + np.arange(60)[:, None] % 7).astype(np.int64))
        config = TokenBatchingConfig(max_tokens=40, pool=3) if tokens else RowBatchingConfig()
        sampler = StepSampler(
            60, 8, 5, batching=config.build(8, lengths), sampler=ClassSampler(self.classes, 0.0), **more
        )
        pairs = zip(sampler.batches(epoch, start), sampler.draws(epoch, start), strict=True)
        return [(rows, draws) for rows, draws in pairs]

    @pytest.mark.parametrize("tokens", [False, True])
    @pytest.mark.parametrize("epoch", [0, 3])
    def test_ranks_and_micro_batches_share_the_draws_of_one_process(self, tokens: bool, epoch: int) -> None:
        alone = [Counter(zip(*batch, strict=True)) for batch in self.steps(epoch, tokens=tokens)]
        assert max(draw for batch in alone for _, draw in batch) > 0
        for world_size, accumulate in ((2, 1), (1, 4), (3, 2)):
            steps = [Counter[tuple[int, int]]() for _ in alone]
            for rank in range(world_size):
                parts = self.steps(epoch, tokens=tokens, rank=rank, world_size=world_size, accumulate=accumulate)
                for index, part in enumerate(parts):
                    steps[index // accumulate] += Counter(pair for pair in zip(*part, strict=True) if pair[0] != FILLER)
            assert steps == alone

    @pytest.mark.parametrize("tokens", [False, True])
    def test_starting_at_a_step_is_the_rest_of_the_epoch(self, tokens: bool) -> None:
        every = self.steps(2, tokens=tokens)
        for start in range(len(every) + 1):
            assert self.steps(2, start, tokens=tokens) == every[start:]

    def test_epochs_differ(self) -> None:
        assert self.steps(0) != self.steps(1)

    def test_a_rows_draws_are_numbered(self) -> None:
        seen = Counter[int]()
        for rows, draws in self.steps(tokens=True):
            for row, draw in zip(rows, draws, strict=True):
                assert draw == seen[row]
                seen[row] += 1


def test_no_steps_have_no_draws() -> None:
    assert draw_numbers([]) == []
    assert [each.tolist() for each in draw_numbers([np.array([3, 3]), np.array([1, 3])])] == [[0, 1], [0, 2]]


def test_a_row_that_is_drawn_a_hundred_times_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    labels: list[list[int] | None] = [[0]] * 300 + [[1]]
    with caplog.at_level(logging.WARNING, logger="polysense"):
        ClassSampler(of_labels(labels, 2), 0.0)
    assert "each of the 1 rows of 'class 1' 150 times" in caplog.text
    assert "take square_root" in caplog.text


def test_classes_are_read_from_the_target() -> None:
    frame = pl.DataFrame({"y": ["a", "b", None, "a"], "tags": ["u|v", "", None, "v"], "z": [1.0, 2.0, 3.0, 4.0]})
    table = Table(name="t", frame=frame, root=Path(), rows=np.arange(4))
    one = ClassificationTargetConfig().build("y")
    one.fit(table)
    result = row_classes(table, one)
    assert (result.ids.tolist(), result.sizes.tolist()) == ([0, 1, 0], [1, 1, 0, 1])
    many = MultilabelTargetConfig().build("tags")
    many.fit(table)
    result = row_classes(table, many)
    assert (result.names, result.ids.tolist()) == (("u", "v"), [0, 1, 1])
    assert result.sizes.tolist() == [2, 0, 0, 1]
    number = RegressionTargetConfig().build("z")
    number.fit(table)
    with pytest.raises(ConfigError, match="target 'z' is of type 'regression', whose rows have no classes"):
        row_classes(table, number)


def test_which_target_counts() -> None:
    assert ClassBalancedConfig().resolved(["y"]) == "y"
    assert ClassBalancedConfig(target="z").resolved(["y", "z"]) == "z"
    with pytest.raises(ConfigError, match=r"several targets \(y, z\)"):
        ClassBalancedConfig().resolved(["y", "z"])
    with pytest.raises(ConfigError, match="there is no target 'x'"):
        ClassBalancedConfig(target="x").resolved(["y"])
