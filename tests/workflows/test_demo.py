"""What the demo says of its four models."""

from __future__ import annotations

from polysense.workflows.demo import DemoSummary, _table


def summary(fused: float) -> DemoSummary:
    accuracy = {"image": 0.6, "audio": 0.5, "note": 0.4, "ensemble": 0.8, "majority": 0.1, "fused": fused}
    return DemoSummary(
        test_accuracy=accuracy,
        interval={name: [value, value] for name, value in accuracy.items()},
        gain_over_best_single=fused - 0.6,
        gain_over_ensemble=fused - 0.8,
        seconds=50.0,
        folder="runs/demo",
    )


def test_it_says_what_fusion_is_worth() -> None:
    assert "beats the best single column by 25.0 pp, and beats the ensemble of the single ones by 5.0 pp." in _table(
        summary(0.85)
    )


def test_it_says_where_fusion_is_worth_nothing() -> None:
    text = _table(summary(0.79))
    assert (
        "beats the best single column by 19.0 pp, and does not beat the ensemble of the single ones (-1.0 pp)" in text
    )
    assert "does not beat the best single column (+0.0 pp)" in _table(summary(0.6))
