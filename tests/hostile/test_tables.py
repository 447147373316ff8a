"""No table file ends the process, hangs it or takes its memory: each is read, or refused in one message.

Run in a process of its own, with limits; the bounded tests with a lower one of memory. `make test-slow` tries the
sizes that were met, and ten times as many damaged files; another seed tries others: HOSTILE_SEED=7.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import broken_tables
import pytest

READER = Path(__file__).parent / "helpers" / "read_tables.py"
ADDRESS_SPACE = 12 << 30  # polars and pyarrow reserve far more than they use
MEMORY = 1 << 30
SECONDS = 30.0  # of one processor


def outcomes(folder: Path, tables: Iterable[tuple[str, bytes]], **settings: str) -> list[dict[str, Any]]:
    """What each table's reading came to; one that ends the process is told by its exit code."""
    names = []
    for name, content in tables:
        (folder / name).write_bytes(content)
        names.append(str(folder / name))
    results: list[dict[str, Any]] = []
    while len(results) < len(names):
        done = subprocess.run(
            [sys.executable, str(READER), str(ADDRESS_SPACE)],
            input="\n".join(names[len(results) :]),
            capture_output=True,
            text=True,
            env={**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", **settings},
            timeout=1_500,
        )
        results += map(json.loads, done.stdout.splitlines())
        if done.returncode:
            last = names[len(results)]
            ended = f"ended the process with {done.returncode}: {done.stderr[-500:]}"
            results.append({"name": last, "outcome": ended, "seconds": 0.0, "peak": 0})
        assert done.returncode or len(results) == len(names), done.stderr[-500:]
    return results


def check(results: list[dict[str, Any]]) -> None:
    bad = [one for one in results if one["outcome"] not in ("read", "refused") or one["seconds"] > SECONDS]
    assert bad == []
    peak = max(results, key=lambda one: one["peak"])
    assert peak["peak"] < MEMORY, peak


def test_tables_that_are_broken_on_purpose(tmp_path: Path) -> None:
    results = outcomes(tmp_path, broken_tables.by_hand(), POLYSENSE_TABLE_MEMORY="32MB")
    check(results)
    refused = {Path(one["name"]).name for one in results if one["outcome"] == "refused"}
    assert {name for name in refused if name.startswith("bomb")} == {
        Path(one["name"]).name for one in results if Path(one["name"]).name.startswith("bomb")
    }
    assert {"one_long_text.parquet", "nulls.parquet", "zeros.arrow", "keys_of_its_own.jsonl"} <= refused
    assert not refused & {"utf16.csv", "two_members.csv.gz", "deep_50_1.json", "half_characters.json", "one_row.csv"}


def test_damaged_tables(tmp_path: Path) -> None:
    check(outcomes(tmp_path, broken_tables.by_chance(300, seed=int(os.environ.get("HOSTILE_SEED", "0")))))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_tables_of_the_sizes_that_were_met(tmp_path: Path) -> None:
    check(outcomes(tmp_path, broken_tables.by_hand(10)))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_damaged_tables(tmp_path: Path) -> None:
    check(outcomes(tmp_path, broken_tables.by_chance(4_000, seed=int(os.environ.get("HOSTILE_SEED", "1")))))
