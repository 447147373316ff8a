"""Which simple models a recipe has beside its network."""

from __future__ import annotations

from polysense.presets.estimators import default_estimators


def columns_of(inputs: list[tuple[str, str]], features: list[str]) -> dict[str, tuple[str, ...] | None]:
    return {name: each.columns for name, each in default_estimators(inputs, features).items()}


def test_one_of_each_column_of_the_numbers_together_and_of_all() -> None:
    inputs = [("photo", "image"), ("note", "text"), ("age", "number"), ("city", "category")]
    assert columns_of(inputs, ["photo", "note", "age", "city"]) == {
        "linear photo": ("photo",),
        "linear note": ("note",),
        "linear tabular": ("age", "city"),
        "boosting tabular": ("age", "city"),
        "linear all": None,
        "forest all": None,
    }


def test_no_two_are_the_same() -> None:
    assert columns_of([("photo", "image")], ["photo"]) == {"linear photo": ("photo",), "forest all": None}
    assert columns_of([("age", "number")], ["age"]) == {
        "linear age": ("age",),
        "boosting age": ("age",),
        "forest all": None,
    }
    assert columns_of([("photo", "image")], []) == {}
