"""Splits are disjoint, whole, the same each time, in proportion, and never tear a group."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysense.config import base, codec
from polysense.data.split import (
    ColumnSplitConfig,
    FractionSplitConfig,
    GroupSplitConfig,
    SplitConfig,
    split,
    split_name,
)
from polysense.data.tables.sources import Table, read_table
from polysense.errors import ConfigError, SplitError, TableError


def table_of(**columns: list[object]) -> Table:
    return read_table(columns, name="t")


def numbered(num_rows: int) -> Table:
    return table_of(x=list(range(num_rows)))


def check_partition(parts: dict[str, np.ndarray], num_rows: int) -> None:
    assert list(parts) == ["train", "validation", "test"]
    joined = np.concatenate(list(parts.values()))
    assert sorted(joined.tolist()) == list(range(num_rows))
    for positions in parts.values():
        assert positions.dtype == np.int64
        assert np.all(np.diff(positions) > 0)


fractions = st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45])


@given(st.integers(4, 300), fractions, fractions, st.integers(0, 5))
@settings(deadline=None, max_examples=50)
def test_fraction_partitions(num_rows: int, validation: float, test: float, seed: int) -> None:
    config = FractionSplitConfig(validation=validation, test=test)
    parts = split(numbered(num_rows), config, seed=seed)
    check_partition(parts, num_rows)
    for name, fraction in (("validation", validation), ("test", test)):
        assert (len(parts[name]) > 0) == (fraction > 0)
        assert abs(len(parts[name]) - max(1, fraction * num_rows) * (fraction > 0)) <= 1
    again = split(numbered(num_rows), config, seed=seed)
    assert all(np.array_equal(parts[name], again[name]) for name in parts)


def test_seeds_differ_and_are_unbiased() -> None:
    chosen = [split(numbered(100), FractionSplitConfig(), seed=seed)["test"] for seed in range(200)]
    assert len({tuple(part.tolist()) for part in chosen}) == 200
    counts = np.bincount(np.concatenate(chosen), minlength=100)
    assert counts.min() >= 12  # mean 30, standard deviation 5
    assert counts.max() <= 50


def test_a_row_keeps_its_place_in_the_random_order() -> None:
    """The order hashes the original row, so a table without its unlabeled rows is split almost the same."""
    table = numbered(200)
    whole = set(split(table, FractionSplitConfig())["test"].tolist())
    retained = np.array([i for i in range(200) if i % 10])
    part = split(table.select(retained), FractionSplitConfig())["test"]
    assert len(whole & set(retained[part].tolist())) >= 0.75 * len(part)


@given(st.lists(st.integers(0, 6), min_size=60, max_size=200), fractions, fractions, st.integers(0, 3))
@settings(deadline=None, max_examples=50)
def test_stratified_within_one_row(labels: list[int], validation: float, test: float, seed: int) -> None:
    config = FractionSplitConfig(validation=validation, test=test)
    parts = split(numbered(len(labels)), config, labels=labels, seed=seed)
    check_partition(parts, len(labels))
    counts = Counter(labels)
    for name, fraction in (("validation", validation), ("test", test)):
        here = Counter(labels[i] for i in parts[name])
        for label, count in counts.items():
            assert abs(here[label] - fraction * count) < 1 + 1e-6
    train = {labels[i] for i in parts["train"]}
    assert train == set(labels)


def test_tiny_classes() -> None:
    labels = ["a"] * 500 + ["b"] * 480 + ["c"] * 3 + ["d"] * 4 + ["e"] * 7 + ["once"] + ["twice"] * 2
    for seed in range(20):
        parts = split(numbered(len(labels)), FractionSplitConfig(), labels=labels, seed=seed)
        names = {name: Counter(labels[i] for i in positions) for name, positions in parts.items()}
        assert names["train"]["once"] == 1
        assert names["train"]["twice"] >= 1
        for label in "abcde":
            assert all(names[part][label] > 0 for part in names)
        assert abs(len(parts["test"]) - 0.15 * len(labels)) < 1


def test_too_many_classes_fall_back_to_chance(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parts = split(numbered(60), FractionSplitConfig(), labels=list(range(60)))
    assert (len(parts["validation"]), len(parts["test"])) == (9, 9)
    assert "60 classes in 60 rows" in caplog.text


def test_labels_may_be_lists_or_missing() -> None:
    labels: list[object] = [["a"], ["a", "b"], None, []] * 25
    parts = split(numbered(100), FractionSplitConfig(), labels=labels)
    for kind in range(4):
        assert sum(i % 4 == kind for i in parts["test"]) in (3, 4)


@pytest.mark.parametrize("num_rows", [0, 1, 2])
def test_too_few_rows(num_rows: int) -> None:
    with pytest.raises(SplitError, match=f"t: {num_rows} rows can't be split into 3 parts"):
        split(numbered(num_rows), FractionSplitConfig())
    assert len(split(numbered(3), FractionSplitConfig())["train"]) == 1


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.1), (0.5, 0.5), (1.0, 0.0), (float("nan"), 0.1)])
def test_bad_fractions(validation: float, test: float) -> None:
    for make in (FractionSplitConfig, lambda **f: GroupSplitConfig(column="g", **f)):
        with pytest.raises(ConfigError, match="below 1"):
            make(validation=validation, test=test)


group_names = st.one_of(st.none(), st.integers(0, 12), st.sampled_from(["Ann", "Bob ", "bob"]))


@given(st.lists(group_names, min_size=1, max_size=120), fractions, fractions, st.integers(0, 3))
@settings(deadline=None, max_examples=50)
def test_groups_never_straddle(groups: list[object], validation: float, test: float, seed: int) -> None:
    table = table_of(g=[group if group is None else str(group) for group in groups])
    config = GroupSplitConfig(column="g", validation=validation, test=test)
    try:
        parts = split(table, config, seed=seed)
    except SplitError as error:
        num_groups = len({str(g).strip().lower() for g in groups if g is not None}) + groups.count(None)
        assert num_groups < 3
        assert f"{num_groups} groups" in str(error)  # noqa: PT017
        return
    check_partition(parts, len(groups))
    seen: dict[str, set[str]] = {}
    for name, positions in parts.items():
        for i in positions:
            if groups[i] is not None:
                seen.setdefault(str(groups[i]).strip().lower(), set()).add(name)
    assert all(len(names) == 1 for names in seen.values())
    assert all((len(parts[n]) > 0) == (f > 0) for n, f in (("validation", validation), ("test", test)))
    again = split(table, config, seed=seed)
    assert all(np.array_equal(parts[name], again[name]) for name in parts)


def test_groups_come_close_to_the_fractions() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 100, 2000).tolist()
    for seed in range(10):
        parts = split(table_of(g=groups), GroupSplitConfig(column="g"), seed=seed)
        assert abs(len(parts["test"]) - 300) <= 20
        assert abs(len(parts["validation"]) - 300) <= 20


def test_a_group_bigger_than_asked_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    groups = ["a"] * 50 + ["b"] * 40 + ["c"] * 10
    with caplog.at_level(logging.WARNING):
        parts = split(table_of(g=groups), GroupSplitConfig(column="g"))
    assert {groups[i] for i in parts["test"]} == {"c"}
    assert {groups[i] for i in parts["validation"]} == {"b"}
    assert "validation got 40 rows where 15 were asked for" in caplog.text
    assert "largest of 3 has 50 rows" in caplog.text


def test_group_errors() -> None:
    with pytest.raises(SplitError, match="2 groups can't be split into 3 parts"):
        split(table_of(g=["a", "a", "b", "b"]), GroupSplitConfig(column="g"))
    with pytest.raises(TableError, match="no group column 'h'"):
        split(table_of(g=["a"]), GroupSplitConfig(column="h"))
    parts = split(table_of(g=["a", "a", "b"]), GroupSplitConfig(column="g", validation=0.3, test=0.0))
    assert parts["validation"].tolist() == [2]


def test_column_spellings(caplog: pytest.LogCaptureFixture) -> None:
    values = ["train", "Training ", "VAL", "valid", "dev", "validation", "Test", "testing", "test_seen", None]
    with caplog.at_level(logging.WARNING):
        parts = split(table_of(s=values), ColumnSplitConfig(column="s"))
    assert {name: rows.tolist() for name, rows in parts.items()} == {
        "train": [0, 1], "validation": [2, 3, 4, 5], "test": [6, 7],
    }  # fmt: skip
    assert "2 rows are in no split: 'test_seen' (1), '(missing)' (1)" in caplog.text


def test_column_values_may_be_named() -> None:
    folds = [0.0, 1.0, 2.0, 3.0, None]
    config = ColumnSplitConfig(column="s", train=(0, 1), validation=(2,), test=(3,))
    parts = split(table_of(s=folds), config)
    assert [rows.tolist() for rows in parts.values()] == [[0, 1], [2], [3]]
    seen = ColumnSplitConfig(column="s", test=("test_seen",))
    parts = split(table_of(s=["train", "val", "test", "test_seen"]), seen)
    assert parts["test"].tolist() == [3]


def test_validation_is_carved_from_training() -> None:
    labels = (["a"] * 9 + ["b"]) * 20
    table = table_of(s=["train"] * 180 + ["test"] * 20)
    parts = split(table, ColumnSplitConfig(column="s", fraction=0.1), labels=labels)
    check_partition(parts, 200)
    assert parts["test"].tolist() == list(range(180, 200))
    assert Counter(labels[i] for i in parts["validation"]) == {"a": 16, "b": 2}
    assert len(split(table, ColumnSplitConfig(column="s", fraction=0.0))["validation"]) == 0


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ColumnSplitConfig(column="s", train=("a",)), "did you mean 'aa'?"),
        (ColumnSplitConfig(column="s"), "no row is for training: found 'aa' (2 rows), 'test' (1 rows)"),
        (ColumnSplitConfig(column="s", train=("test",), fraction=0.1), "1 rows can't be split into 2 parts"),
    ],
)
def test_column_errors(config: ColumnSplitConfig, expected: str) -> None:
    with pytest.raises(SplitError) as error:
        split(table_of(s=["aa", "aa", "test"]), config)
    assert expected in str(error.value)


def test_column_value_named_twice() -> None:
    with pytest.raises(ConfigError, match="'a' stands for two parts"):
        ColumnSplitConfig(column="s", train=("a",), test=("A ",))


def test_labels_must_fit() -> None:
    with pytest.raises(SplitError, match="2 labels for 3 rows"):
        split(numbered(3), FractionSplitConfig(), labels=[1, 2])


def test_family_reads_yaml() -> None:
    assert list(base.members("split")) == ["column", "fraction", "group", "last_of_group", "time"]
    config = codec.from_dict(SplitConfig, {"type": "column", "column": "s", "train": [0, "a"]})
    assert config == ColumnSplitConfig(column="s", train=(0, "a"))
    assert codec.from_dict(SplitConfig, codec.to_dict(config)) == config
    for member in base.members("split").values():
        summary, texts = base.describe(member)
        assert summary
        assert {"column", "validation", "group"} & texts.keys()


def test_split_name() -> None:
    assert [split_name(v) for v in ("TRAIN", " dev", "Testing", "x", 0)] == ["train", "validation", "test", None, None]


def test_rows_set_aside_of_a_split_column_keep_groups_whole() -> None:
    groups = [f"speaker {i // 10}" for i in range(200)]
    table = table_of(s=["train"] * 150 + ["test"] * 50, speaker=groups)
    parts = split(table, ColumnSplitConfig(column="s", fraction=0.2, group="speaker"))
    check_partition(parts, 200)
    frozen = {name: {groups[i] for i in rows} for name, rows in parts.items()}
    assert frozen["validation"]
    assert not frozen["validation"] & frozen["train"]
    assert 20 <= len(parts["validation"]) <= 40
    torn = split(table, ColumnSplitConfig(column="s", fraction=0.2))
    assert {groups[i] for i in torn["validation"]} & {groups[i] for i in torn["train"]}
