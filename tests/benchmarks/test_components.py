"""The benchmark of components runs, compares, and says what is over its limit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "components.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    file = tmp_path_factory.mktemp("components") / "rows.json"
    done = run("--quick", "--only", "embedding_bag", "concat", "auto", "--json", str(file))
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text("utf-8"))


@pytest.mark.slow
def test_a_component_is_measured_beside_its_reference(measured: tuple[str, dict[str, Any]]) -> None:
    found = {row["component"]: row for row in measured[1]["rows"]}
    assert set(found) == {"embedding_bag", "fusion concat"}
    bag = found["embedding_bag"]
    assert bag["parameters"] == bag["reference_parameters"] == 4001 * 128
    assert bag["ratio_min"] <= bag["ratio_median"] <= bag["ratio_max"]
    assert bag["over"] == (bag["ratio_median"] > 1.1)
    assert all(row["samples_per_second"] > 0 for row in found.values())
    # Three columns' summaries side by side through one matrix, and the means over 49 + 60 + 1 tokens.
    expected = (2 * 3 * 128**2 + 2 * 110 * 128) / 1e6
    assert found["fusion concat"]["mflops_per_sample"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_the_table_has_a_line_for_each_and_says_what_is_left_out(measured: tuple[str, dict[str, Any]]) -> None:
    listed, results = measured
    lines = [line for line in listed.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(results["rows"])
    assert len({line.count("|") for line in lines}) == 1
    assert results["left_out"] == {"auto": "a choice among the others"}
    assert "Not measured: auto" in listed


def test_an_unknown_name_is_refused() -> None:
    done = run("--only", "no_such_thing")
    assert done.returncode == 2
    assert "no_such_thing" in done.stderr
