"""A comparison claims what the seeds bear out, selects on validation alone, and says so in text, JSON and HTML."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from polysense.evaluation.comparison import (
    Comparison,
    Entry,
    Kind,
    Measure,
    compare_entries,
    measures_of,
    overall,
)
from polysense.evaluation.significance import Outcome
from polysense.reports.comparison import render_comparison
from polysense.reports.comparison_terminal import comparison_text
from polysense.tasks.classification.record import ClassificationTarget
from polysense.tasks.regression.record import RegressionTarget

ACCURACY = Measure(key="label/accuracy", bounds=(0.0, 1.0))
LOSS = Measure(key="label/log_loss", higher_is_better=False, bounds=(0.0, math.inf))
LABEL = ClassificationTarget(name="label", columns=("label",), classes=("a", "b"), class_counts=(5, 5))
PRICE = RegressionTarget(name="price", columns=("price",), mean=(0.0,), std=(1.0,))


def entry(
    name: str, test: list[float], validation: list[float] | None = None, kind: Kind = Kind.VARIANT, **more: object
) -> Entry:
    """An entry whose log loss is 1 - accuracy."""

    def by_seed(values: list[float]) -> dict[int, dict[str, float]]:
        return {seed: {"label/accuracy": value, "label/log_loss": 1 - value} for seed, value in enumerate(values)}

    values = {"test": by_seed(test)} | ({} if validation is None else {"validation": by_seed(validation)})
    return Entry(name=name, kind=kind, values=values, **more)  # type: ignore[arg-type]


def compared(*entries: Entry, split: str = "test", seeds: int = 5) -> Comparison:
    return compare_entries(entries, [ACCURACY, LOSS], split=split, seeds=range(seeds), title="t")


NOISE = [0.03, -0.02, 0.01, -0.03, 0.01]


def test_validation_selects_and_test_ranks() -> None:
    found = compared(
        entry("good on validation", [0.70] * 5, [0.9] * 5),
        entry("good on test", [0.90] * 5, [0.7] * 5),
    )
    assert found.reference == "good on validation"
    assert [row.entry.name for row in found.rows] == ["good on test", "good on validation"]
    assert [row.selected for row in found.rows] == [False, True]
    assert any("chose nothing" in note for note in found.notes)


def test_a_tie_on_validation_is_broken_by_the_loss() -> None:
    values = {"label/accuracy": 0.8, "label/log_loss": 0.5}
    worse = Entry(name="first", values={"validation": {0: values}, "test": {0: values}})
    values = values | {"label/log_loss": 0.4}
    better = Entry(name="second", values={"validation": {0: values}, "test": {0: values}})
    assert compared(worse, better).reference == "second"


def test_pairing_by_seed_finds_a_small_steady_difference() -> None:
    # Seeds differ by 0.05, variants by 0.02 in every seed: unpaired intervals overlap, paired ones do not hold 0.
    base = [0.70, 0.75, 0.80, 0.65, 0.72]
    better = [value + 0.02 + 0.001 * i for i, value in enumerate(base)]
    found = compared(entry("a", better, base), entry("b", base, [v - 0.1 for v in base]))
    a, b = found.row("a"), found.row("b")
    assert a.means["label/accuracy"].low < b.means["label/accuracy"].high
    difference = b.differences["label/accuracy"]
    assert difference.mean.high < 0
    assert difference.outcome is Outcome.WORSE
    assert b.differences["label/log_loss"].outcome is Outcome.WORSE  # a higher loss is worse
    assert b.differences["label/log_loss"].mean.value > 0


def test_an_interval_that_holds_0_is_no_difference() -> None:
    base = np.full(5, 0.8)
    found = compared(entry("a", base.tolist(), [0.9] * 5), entry("b", (base + NOISE).tolist(), [0.8] * 5))
    difference = found.row("b").differences["label/accuracy"]
    assert difference.mean.low < 0 < difference.mean.high
    assert difference.outcome is Outcome.NONE
    assert "no significant" in comparison_text(found)
    assert "no significant difference" in render_comparison(found)


def test_many_variants_are_corrected_for_their_number() -> None:
    base = np.full(5, 0.8)
    slight = (base + np.array(NOISE) - 0.033).tolist()  # p of about 0.04 alone
    alone = compared(entry("a", base.tolist(), [0.9] * 5), entry("b", slight, [0.5] * 5))
    assert alone.row("b").differences["label/accuracy"].outcome is Outcome.WORSE
    others = [entry(f"c{i}", (base + NOISE).tolist(), [0.5] * 5) for i in range(5)]
    crowded = compared(entry("a", base.tolist(), [0.9] * 5), entry("b", slight, [0.5] * 5), *others)
    found = crowded.row("b").differences["label/accuracy"]
    assert found.p < 0.05 < found.p_holm
    assert found.outcome is Outcome.CORRECTED
    # Baselines are another question: they do not make the variants' one harder.
    baselines = [entry(f"c{i}", (base + NOISE).tolist(), kind=Kind.UNIMODAL) for i in range(5)]
    apart = compared(entry("a", base.tolist(), [0.9] * 5), entry("b", slight, [0.5] * 5), *baselines)
    assert apart.row("b").differences["label/accuracy"].p_holm == pytest.approx(found.p)


def test_chance_is_called_a_difference_in_at_most_one_comparison_of_twenty() -> None:
    draws = np.random.default_rng(0)
    false = 0
    for _ in range(100):
        values = draws.normal(0.7, 0.02, (5, 5))
        entries = [
            Entry(name=str(i), values={"test": {s: {"label/accuracy": v} for s, v in enumerate(row.tolist())}})
            for i, row in enumerate(values)
        ]
        rows = compare_entries(entries, [ACCURACY], split="test", seeds=range(5)).rows
        outcomes = {row.differences["label/accuracy"].outcome for row in rows if row.differences}
        false += bool(outcomes & {Outcome.BETTER, Outcome.WORSE})
    assert false <= 9  # 5 of 100 but for the noise of 100 draws; without the correction it is about 14


def test_one_seed_bears_no_claim() -> None:
    found = compared(entry("a", [0.9], [0.9]), entry("b", [0.1], [0.1]), seeds=1)
    difference = found.row("b").differences["label/accuracy"]
    assert difference.outcome is Outcome.NO_CLAIM
    assert not difference.mean.has_bounds
    assert any("no claim can be made" in note for note in found.notes)
    assert not any(word in comparison_text(found) for word in ("better and worse", "worse\n"))


def test_what_failed_comes_last_and_stops_nothing() -> None:
    broken = Entry(name="broken", failures={0: "ConfigError: width 7 has no 4 heads", 1: "ConfigError: the same"})
    partly = entry("partly", [0.99], [0.99], failures={1: "TrainingError: the loss is not finite"})
    found = compared(broken, partly, entry("a", [0.7, 0.8], [0.7, 0.8]), seeds=2)
    assert found.rows[-1].entry.name == "broken"
    assert found.reference == "a", "a variant that failed with a seed is not selected"
    assert found.row("broken").failure == "failed: ConfigError: width 7 has no 4 heads"
    assert found.row("partly").differences["label/accuracy"].outcome is Outcome.NO_CLAIM
    for listed in (comparison_text(found), render_comparison(found)):
        assert "failed: ConfigError: width 7 has no 4 heads" in listed
        assert "the loss is not finite" in listed


def test_without_validation_the_first_variant_is_the_reference() -> None:
    found = compared(entry("a", [0.7, 0.8]), entry("b", [0.9, 0.8]), seeds=2)
    assert found.reference == "a"
    assert not any(row.selected for row in found.rows)
    assert any("nothing was selected" in note for note in found.notes)


def test_judging_on_validation_is_said_to_be_too_good() -> None:
    found = compared(entry("a", [], [0.7, 0.8]), entry("b", [], [0.9, 0.8]), split="validation", seeds=2)
    assert any("too good" in note for note in found.notes)


def test_an_interval_ends_where_the_metric_does() -> None:
    found = compared(entry("a", [0.99, 0.5, 0.98], [0.9] * 3), seeds=3).row("a").means["label/accuracy"]
    assert found.high == 1.0
    assert found.low > 0.0


def test_measures_are_what_each_target_is_selected_by_and_a_finer_one() -> None:
    assert [one.key for one in measures_of([LABEL])] == ["label/accuracy", "label/log_loss"]
    assert [one.key for one in measures_of([LABEL, PRICE])] == [
        "score", "label/accuracy", "label/log_loss", "price/r2", "price/mae",
    ]  # fmt: skip
    values = {"label/accuracy": 0.8, "label/log_loss": 0.5, "price/r2": 0.4, "price/mae": 2.0, "price/rmse": 3.0}
    assert overall(values, [LABEL, PRICE])["score"] == pytest.approx(0.6)
    assert set(overall(values, [LABEL, PRICE])) == {one.key for one in measures_of([LABEL, PRICE])}


def test_json_has_every_seed_and_no_nan() -> None:
    found = compared(
        entry("a", [0.7, 0.8], [0.7, 0.8], facts={"parameters": 10.0, "seconds": 1.5}),
        entry("b", [0.9, 0.9], [0.1, 0.1]),
        Entry(name="broken", failures={0: "no"}),
        seeds=2,
    )
    plain = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert [row["name"] for row in plain["rows"]] == ["b", "a", "broken"]
    b, a, broken = plain["rows"]
    assert a["selected"]
    assert a["measures"]["label/accuracy"]["seeds"] == {"0": 0.7, "1": 0.8}
    assert a["parameters"] == 10.0
    assert a["samples_per_second"] is None
    assert a["measures"]["label/accuracy"]["difference"] is None
    assert b["measures"]["label/accuracy"]["difference"]["outcome"] == "no significant difference"
    assert b["measures"]["label/accuracy"]["low"] is None  # the same in both seeds
    assert (broken["rank"], broken["failure"]) == (None, "failed: no")
    assert plain["selected_on"] == "validation"
