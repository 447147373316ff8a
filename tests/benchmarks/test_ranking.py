"""The benchmark of rankings: its tables and splits, and preferences that pictures alone tell of."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import ModuleType

import pytest
from benchmark_scripts import load


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load("ranking")


def cells(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_the_parts_are_the_same_rows_for_all(benchmark: ModuleType, tmp_path: Path) -> None:
    for kind, lines in {
        "inter": ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
        + [f"{i % 3}\t{i}\t4\t{100 + i}" for i in range(30)],
        "item": ["item_id:token\tmovie_title:token_seq"] + [f"{i}\tFilm {i}" for i in range(30)],
        "user": ["user_id:token\tage:token"] + [f"{i}\t{20 + i}" for i in range(3)],
    }.items():
        (tmp_path / f"ml-100k.{kind}").write_text("\n".join(lines), encoding="utf-8")
    split = benchmark.write_movielens(tmp_path, tmp_path, "last")
    assert split.group == "user_id"
    sizes = {name: cells(tmp_path / "peers" / f"peers.{name}.inter", "\t") for name in ("train", "validation", "test")}
    assert {name: len(rows) for name, rows in sizes.items()} == {"train": 24, "validation": 3, "test": 3}
    assert [row["item_id:token"] for row in sizes["test"]] == ["27", "28", "29"]
    assert cells(tmp_path / "item.csv")[2] == {"item_id": "2", "movie_title": "Film 2"}


def test_users_choose_what_they_like_and_new_pictures_later(benchmark: ModuleType, tmp_path: Path) -> None:
    rows = [
        {"id": f"{i}/{style}", "image": f"{i}.png", "group": "abcd"[i % 4], "style": style}
        for i in range(80)
        for style in ("one", "two", "wide")
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert benchmark.write_preferences(tmp_path, tmp_path, 5, 0) == 240
    groups = {row["id"]: row["group"] for row in rows}
    choices = cells(tmp_path / "choices.csv")
    assert len(choices) == 5 * 30
    for user in range(5):
        own = [row for row in choices if row["user_id"] == f"u{user}"]
        assert len({groups[row["item_id"]] for row in own}) <= 2
        assert all(("wide" in row["item_id"]) == (float(row["time"]) >= 1000) for row in own)
