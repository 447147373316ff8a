"""Persons on both sides of a split: said by check, and refused where they are patients, unless the recipe allows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import polysense
from polysense.errors import SplitError


def rows(name: str) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [{name: f"p{i % 12:02d}", "x": float(rng.normal()), "y": "ab"[int(rng.random() < 0.5)]} for i in range(120)]


def test_an_automatic_split_shares_nobody() -> None:
    found = polysense.check(rows("speaker"), target="y")
    assert not found.warnings
    assert found.ok


def test_a_given_split_that_shares_persons_is_warned_of() -> None:
    found = polysense.check(rows("speaker"), target="y", overrides=["data.split={type: fraction}"])
    assert found.ok
    assert any("names persons, and rows of 1" in warning for warning in found.warnings)
    assert any("data.split.column=speaker" in warning for warning in found.warnings)


def test_shared_patients_are_an_error_unless_allowed(tmp_path: Any) -> None:
    found = polysense.check(rows("patient_id"), target="y", overrides=["data.split={type: fraction}"])
    assert not found.ok
    assert "data.allow_shared_patients=true" in found.problems[0]
    with pytest.raises(SplitError, match="a score on known patients says little of new ones"):
        polysense.fit(
            rows("patient_id"), target="y", output=tmp_path / "run", overrides=["data.split={type: fraction}"]
        )
    allowed = ["data.split={type: fraction}", "data.allow_shared_patients=true"]
    found = polysense.check(rows("patient_id"), target="y", overrides=allowed)
    assert found.ok
    assert found.warnings
