"""Curves of missing, mismatched and damaged cells: numbers against a computation by hand, and sentences that claim no
more than their intervals allow."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from polysense.core.json import json_text
from polysense.core.task_spec import Measure
from polysense.evaluation.audit.corruptions import CLEAN, NOTHING, DamageKey, corruptions
from polysense.evaluation.audit.mismatches import AS_IT_IS, WITHOUT, mismatches
from polysense.evaluation.audit.missing_rates import (
    BEST_COLUMN,
    MODEL,
    NO_COLUMN,
    RATES,
    MissingRates,
    missing_rates,
)
from polysense.evaluation.audit.wording import UNTOLD
from polysense.evaluation.variant_scores import VariantScores

ACCURACY = Measure("accuracy", "accuracy", "pp")
ROWS = 400


def scores(shares: dict[Any, float], *, num_rows: int = ROWS, bootstrap: int = 300) -> Any:
    """Rows that are right by chance, so many of each variant; the same rows first, so that differences are paired."""
    draws = np.random.default_rng(0).random(num_rows)
    right = np.stack([draws < share for share in shares.values()], axis=1)[None].astype(float)
    return VariantScores.of_rows((ACCURACY,), list(shares), right, bootstrap, 0)


def rates(model: float, slope: float, best: float, nothing: float = 0.5, **options: int) -> MissingRates:
    shares: dict[Any, float] = {(MODEL, rate): model - slope * rate for rate in RATES}
    shares |= {(BEST_COLUMN, rate): best for rate in RATES}
    shares[NO_COLUMN, 0.0] = nothing
    num_rows = options.get("num_rows", ROWS)
    return missing_rates("label", scores(shares, **options), num_rows, columns=["a", "b"])


def test_the_area_is_the_mean_over_the_rates() -> None:
    part = rates(0.9, 0.4, 0.6)
    values = [each.value for each in part.model]
    expected = sum(0.1 * (values[i] + values[i + 1]) / 2 for i in range(9)) / 0.9
    assert part.area.value == pytest.approx(expected)
    assert part.area.low < part.area.value < part.area.high
    assert part.losses[0].value == 0.0


def test_a_loss_and_a_better_column_are_said_with_their_intervals() -> None:
    loss, behind = rates(0.9, 0.5, 0.85).findings()
    assert loss.startswith("With half of the cells missing at random the accuracy is 0.")
    assert "pp accuracy (−" in loss
    assert behind.startswith("Where 90% of the cells are missing the best column that is left does better alone")
    assert "modality_dropout" in behind


def test_where_nothing_is_lost_nothing_is_claimed() -> None:
    loss, ahead = rates(0.8, 0.0, 0.7).findings()
    assert loss == "With half of the cells missing at random no loss can be told: 0.0 pp accuracy (−0.9 to +0.9)."
    assert ahead.startswith("At no rate does the best column that is left do measurably better alone")


def test_of_a_model_that_guesses_and_of_few_rows_nothing_is_said() -> None:
    assert rates(0.5, 0.2, 0.6).findings() == [UNTOLD]
    assert rates(0.9, 0.5, 0.6, num_rows=9).findings() == []
    assert rates(0.9, 0.5, 0.6, bootstrap=0).findings() == [UNTOLD]


def test_mismatches_are_told_from_columns_that_do_not_matter() -> None:
    known = scores({AS_IT_IS: 0.9, WITHOUT: 0.5, "a": 0.6, "b": 0.895})
    part = mismatches("label", known, ROWS, {"a": 400, "b": 390})
    lost, same = part.findings()
    assert lost.startswith("With another row's a: −")
    assert same == "Whether b comes from the same row makes no difference that can be told."
    assert [each.column for each in part.ranked] == ["a", "b"]
    record = json.loads(json_text(part.record()))
    assert [each["num_exchanged"] for each in record["columns"]] == [400, 390]
    assert set(record["columns"][0]["loss"]) == {"value", "low", "high"}
    guessing = mismatches("label", scores({AS_IT_IS: 0.5, WITHOUT: 0.5, "a": 0.3}), ROWS, {"a": 400})
    assert guessing.findings() == [UNTOLD]


def test_corruptions_name_the_worst_of_each_column() -> None:
    known = scores(
        {
            CLEAN: 0.9,
            NOTHING: 0.5,
            DamageKey("photo", "blur", 5): 0.6,
            DamageKey("photo", "blur", 1): 0.88,
            DamageKey("photo", "noise", 5): 0.7,
            DamageKey("age", "noise", 5): 0.9,
        }
    )
    part = corruptions("label", known, ROWS, refused={"game": "nobody has said what damages games"})
    worst, quiet = part.findings()
    assert worst.startswith("photo damaged by blur (severity 5): −")
    assert quiet == "Damage to age makes no difference that can be told."
    blur, noise, _ = part.damages
    assert (blur.severities, noise.severities) == ((1, 5), (5,))
    record = json.loads(json_text(part.record()))
    assert record["refused"] == {"game": "nobody has said what damages games"}
    assert [each["name"] for each in record["columns"]] == ["photo", "age"]
