"""Which simple models a recipe has beside its network."""

from __future__ import annotations

from polysense.presets.estimators import default_baselines, default_estimators


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


def test_a_report_has_one_of_each_number_too_but_not_of_many() -> None:
    inputs = [("photo", "image"), ("age", "number"), ("city", "category")]
    models = default_baselines(inputs, ["photo", "age", "city"])
    assert dict(models.joint) == default_estimators(inputs, ["photo", "age", "city"])
    assert {name: each.columns for name, each in models.single.items()} == {
        "linear age": ("age",),
        "linear city": ("city",),
    }
    assert models.left_out == ()
    many = [(f"n{i}", "number") for i in range(13)]
    models = default_baselines([*many, ("note", "text")], [name for name, _ in many])
    assert models.single == {}
    assert models.left_out == (
        "note: has no features",
        "each of the 13 numbers, categories and dates alone: more than 12",
    )


def test_columns_that_are_called_like_several_are_no_others() -> None:
    inputs = [("all", "text"), ("tabular", "image"), ("a", "number"), ("b", "number")]
    found = default_estimators(inputs, ["all", "tabular", "a", "b"])
    assert [each.columns for each in found.values()] == [
        ("all",), ("tabular",), ("a", "b"), ("a", "b"), None, None,
    ]  # fmt: skip
