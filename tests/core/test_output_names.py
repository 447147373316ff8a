"""Names of output columns: none is lost, and what the training table named keeps its name."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from polysense.core.output_names import free_name, output_columns

NAMES = st.sampled_from(
    [
        "missing",
        "no_input",
        "imputed",
        "row",
        "p",
        "p_",
        "p_probability",
        "p_probability[a]",
        "p_score",
        "missing_",
        "a",
    ]
) | st.text(string.ascii_lowercase + "_[]", min_size=1, max_size=3)
MADE = ("_probability", "_probability[a]", "_score", "_log_probability", "_")


def _parts(targets: list[str]) -> list[tuple[tuple[str, ...], dict[str, str]]]:
    own = [
        ((name,), {name: f"the prediction of {name}"} | {name + end: f"{name}{end}" for end in MADE})
        for name in targets
    ]
    return [*own, ((), {name: f"the rows' {name}" for name in ("no_input", "missing", "imputed")})]


@given(st.lists(NAMES, min_size=1, max_size=5, unique=True))
def test_nothing_is_lost_and_targets_keep_their_names(targets: list[str]) -> None:
    parts = _parts(targets)
    columns = output_columns(parts)
    assert list(columns.values()) == [value for _, made in parts for value in made.values()]
    for name in targets:
        assert columns[name] == f"the prediction of {name}"
    for name in columns:
        assert any(name.rstrip("_") == made.rstrip("_") for _, each in parts for made in each)


def test_plain_names_stay() -> None:
    parts = _parts(["label"])
    assert list(output_columns(parts)) == [name for _, made in parts for name in made]


def test_two_targets_of_one_column() -> None:
    columns = output_columns([(("y",), {"y": 1}), (("y",), {"y": 2}), ((), {"missing": 3})])
    assert columns == {"y": 1, "y_": 2, "missing": 3}


def test_a_displaced_name_takes_none_that_the_table_has() -> None:
    columns = output_columns([(("y",), {"y": 1, "y_p": 2}), (("y", "y_", "y_p"), {"y": 3, "y_": 4, "y_p": 5})])
    assert columns == {"y": 1, "y_p_": 2, "y__": 3, "y_": 4, "y_p": 5}


def test_free_name() -> None:
    assert free_name("missing", {"missing", "missing_"}) == "missing__"
    assert free_name("missing", set()) == "missing"
