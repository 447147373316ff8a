"""Keys as tables spell them."""

from __future__ import annotations

import pytest

from polysense.errors import DecodeError
from polysense.tasks.ranking.keys import key_of, number_of


@pytest.mark.parametrize(("cell", "key"), [(7, "7"), (7.0, "7"), ("7", "7"), (" a ", "a"), ("", None), (None, None)])
def test_a_key_is_the_same_in_every_container(cell: object, key: str | None) -> None:
    assert key_of(cell) == key


def test_what_is_no_key_is_refused_in_a_sentence() -> None:
    with pytest.raises(DecodeError, match="expected text or a number"):
        key_of(["a"])
    with pytest.raises(DecodeError, match="expected a number"):
        number_of("many")
    assert number_of(" 4.5") == 4.5
