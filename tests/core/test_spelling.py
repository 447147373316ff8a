"""Several names as a sentence has them."""

from __future__ import annotations

from polysense.core.spelling import enumerated


def test_names_are_enumerated_and_of_many_the_rest_is_counted() -> None:
    assert [enumerated(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert enumerated(["a", "b", "c"], 3) == "a, b and c"
    assert enumerated(["a", "b", "c", "d"], 3) == "a, b and 2 more"
    assert enumerated([str(i) for i in range(2000)], 2) == "0 and 1,999 more"
