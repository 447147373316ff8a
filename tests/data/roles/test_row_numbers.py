"""Columns that number rows as data frames write them (in order, drawn, sorted, cut out, joined), and quantities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polysense.core.role import Role
from polysense.data.roles.infer import infer
from polysense.data.tables.sources import read_table

RNG = np.random.default_rng(3)
NOISE = RNG.normal(size=200).tolist()


def role(name: str, cells: list[object]) -> tuple[Role, str]:
    guess = infer(read_table({name: cells, "noise": NOISE[: len(cells)]}), [])[0]
    return guess.role, guess.reason


@pytest.mark.parametrize(
    "name", ["Unnamed: 0", "unnamed: 0.1", "index", "level_0", "__index_level_0__", "row_id", "Zeile Nr"]
)
@pytest.mark.parametrize(
    "cells",
    [
        list(range(120)),
        sorted(RNG.permutation(300)[:120].tolist()),
        RNG.permutation(10_000)[:120].tolist(),
        [*range(60), *range(60)],
        [float(i) for i in range(40, 160)],
    ],
    ids=["all", "drawn and sorted", "drawn", "joined", "cut out"],
)
def test_names_of_an_index(name: str, cells: list[object]) -> None:
    found, reason = role(name, cells)
    assert found is Role.IGNORED
    assert "numbers the rows" in reason or "an index by its name" in reason


@pytest.mark.parametrize(
    "cells",
    [
        list(range(1, 121)),
        RNG.permutation(120).tolist(),
        sorted(RNG.permutation(300)[:200].tolist()),
        sorted(RNG.permutation(300)[:200].tolist(), reverse=True),
        RNG.permutation(300)[:200].tolist(),
        list(range(700, 820)),
    ],
    ids=["from one", "shuffled", "drawn and sorted", "sorted downwards", "drawn", "cut out"],
)
def test_values_that_number_rows_whatever_the_name(cells: list[object]) -> None:
    found, reason = role("nr_x", cells)
    assert found is Role.IGNORED, reason
    assert "numbers the rows" in reason


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("count", RNG.integers(0, 300, 200).tolist()),
        ("price", (RNG.permutation(10_000)[:200] * 37).tolist()),
        ("year", list(range(1950, 2020))),
        ("dose", list(range(0, 1000, 10))),
        ("height", sorted(RNG.integers(1500, 2000, 200).tolist())),
        ("signed", (RNG.permutation(200) - 100).tolist()),
        ("code of few", [1, 2, 3, 4, 5, 6]),
    ],
)
def test_quantities_stay(name: str, cells: list[object]) -> None:
    assert role(name, cells)[0] is Role.INPUT


def test_a_first_column_without_a_name(tmp_path: Path) -> None:
    rows = sorted(RNG.permutation(5_000)[:100].tolist())
    lines = [",noise,label", *(f"{i},{x:.3f},{'ab'[k % 2]}" for k, (i, x) in enumerate(zip(rows, NOISE, strict=False)))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    guesses = {guess.name: guess for guess in infer(read_table(tmp_path / "t.csv"), ["label"])}
    assert guesses["column_1"].role is Role.IGNORED
    assert guesses["noise"].role is Role.INPUT
